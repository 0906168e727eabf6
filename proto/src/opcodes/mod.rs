//! Opcodes: what a job consists of.
//!
//! Names, fields, types and defaults are Ganeti's, so its clients' requests are ours. One file
//! per family; [`OpCode`] is any of them, [`OpInput`] adds the fields that all have in common.

mod backup;
mod cluster;
mod common;
mod define;
mod disk;
mod group;
mod instance;
mod network;
mod node;
mod placement_rule;
mod query;
mod secret;
mod spec;
mod tags;
mod test;

pub use backup::*;
pub use cluster::*;
pub use common::{Common, Depend, OpInput, ReasonEntry};
pub use define::{MAX_DISKS, MAX_NICS, Operation};
pub use disk::*;
pub use group::*;
pub use instance::*;
pub use network::*;
pub use node::*;
pub use placement_rule::*;
pub use query::*;
pub use secret::{PrivateParams, REDACTED, SecretParams, View, shown};
pub use spec::{DeviceChange, DeviceRef, DiskSpec, ExportTarget, NicSpec, RecreateDisk};
pub use tags::*;
pub use test::*;

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is known about an opcode without having one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpInfo {
    /// As `OP_INSTANCE_CREATE`.
    pub op_id: &'static str,
    /// As `InstanceCreate`.
    pub name: &'static str,
    /// Its own fields, without the common ones.
    pub fields: &'static [&'static str],
    /// Those that must be given.
    pub required: &'static [&'static str],
    /// Whether it takes instances, or their disks, to other nodes or other node groups: whoever plans placement
    /// by itself waits for its end.
    pub moves: bool,
}

macro_rules! all_opcodes {
    ($($name:ident),+ $(,)?) => {
        /// Any opcode.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "opcodes are few and live short")]
        #[allow(missing_docs, reason = "each struct says what it is")]
        pub enum OpCode {
            $($name($name),)+
        }

        impl OpCode {
            /// All opcodes.
            pub const ALL: &'static [OpInfo] = &[$(OpInfo {
                op_id: $name::OP_ID,
                name: $name::NAME,
                fields: $name::FIELDS,
                required: $name::REQUIRED,
                moves: $name::MOVES,
            },)+];

            /// Its name on the wire, as `OP_INSTANCE_CREATE`.
            pub fn op_id(&self) -> &'static str {
                match self {
                    $(OpCode::$name(_) => $name::OP_ID,)+
                }
            }

            /// Its class-style name, as `InstanceCreate`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(OpCode::$name(_) => $name::NAME,)+
                }
            }

            fn take_from(op_id: &str, fields: &mut Map<String, Value>) -> Result<OpCode> {
                match op_id {
                    $($name::OP_ID => $name::take_from(fields).map(OpCode::$name),)+
                    _ => Err(Error::wrong_input(format!("Unknown opcode '{op_id}'"))),
                }
            }

            fn put_into(&self, fields: &mut Map<String, Value>) {
                match self {
                    $(OpCode::$name(op) => op.put_into(fields),)+
                }
            }

            fn summary_value(&self) -> Option<String> {
                match self {
                    $(OpCode::$name(op) => op.summary_value(),)+
                }
            }
        }
    };
}

all_opcodes! {
    ClusterPostInit, ClusterDestroy, ClusterQuery, ClusterVerify, ClusterVerifyConfig,
    ClusterVerifyGroup, ClusterVerifyDisks, GroupVerifyDisks, ClusterRepairDiskSizes,
    ClusterConfigQuery, ClusterRename, ClusterSetParams, ClusterRedistConf,
    ClusterActivateMasterIp, ClusterDeactivateMasterIp, ClusterRenewCrypto,
    ClusterSetBalancer,
    Query, QueryFields,
    OobCommand, RestrictedCommand, NodeRemove, NodeAdd, NodeQueryvols, NodeQueryStorage,
    NodeModifyStorage, RepairNodeStorage, NodeSetParams, NodePowercycle, NodeMigrate, NodeEvacuate,
    InstanceCreate, InstanceMultiAlloc, InstanceReinstall, InstanceRemove, InstanceRename,
    InstanceStartup, InstanceShutdown, InstanceReboot, InstanceReplaceDisks, InstanceFailover,
    InstanceMigrate, InstanceMove, InstanceConsole, InstanceActivateDisks,
    InstanceDeactivateDisks, InstanceRecreateDisks, InstanceRepairMirror, InstanceQueryData, InstanceSetParams,
    InstanceGrowDisk, InstanceChangeGroup,
    GroupAdd, GroupAssignNodes, GroupSetParams, GroupRemove, GroupRename, GroupEvacuate,
    OsDiagnose, ExtStorageDiagnose,
    BackupPrepare, BackupExport, BackupRemove,
    TagsGet, TagsSearch, TagsSet, TagsDel,
    TestDelay, TestAllocator, TestJqueue, TestOsParams, TestDummy,
    NetworkAdd, NetworkRemove, NetworkRename, NetworkSetParams, NetworkConnect, NetworkDisconnect,
    PlacementRuleAdd, PlacementRuleModify, PlacementRuleRemove,
}

impl OpCode {
    /// What is known about an opcode of this name.
    pub fn info(op_id: &str) -> Option<&'static OpInfo> {
        OpCode::ALL.iter().find(|info| info.op_id == op_id)
    }

    /// Reads `{"OP_ID": …, fields…}`. Common fields are checked and dropped: [`OpInput`] keeps them.
    /// Errors: `wrong_input`, naming opcode, parameter and what would be right.
    pub fn from_json(value: &Value) -> Result<OpCode> {
        OpInput::from_json(value).map(|input| input.op)
    }

    /// The JSON form: `OP_ID` and every field that is not null. Has secrets: see [`OpCode::to_view`].
    pub fn to_json(&self) -> Value {
        self.to_view(View::Full)
    }

    /// The JSON form with no more of the secrets than a view may have.
    pub fn to_view(&self, view: View) -> Value {
        let mut fields = Map::new();
        fields.insert("OP_ID".into(), self.op_id().into());
        self.put_into(&mut fields);
        let mut value = Value::Object(fields);
        secret::redact(&mut value, view);
        value
    }

    /// The short form that lists show: `INSTANCE_CREATE(web1.example.com)`.
    pub fn summary(&self) -> String {
        let id = self.op_id();
        let short = id.strip_prefix("OP_").unwrap_or(id);
        match self.summary_value() {
            Some(value) => format!("{short}({value})"),
            None => short.to_owned(),
        }
    }

    /// Whether nothing else may run beside it: Ganeti's exclusive big cluster lock.
    pub fn is_bgl_exclusive(&self) -> bool {
        matches!(
            self,
            OpCode::ClusterActivateMasterIp(_)
                | OpCode::ClusterDeactivateMasterIp(_)
                | OpCode::ClusterDestroy(_)
                | OpCode::ClusterPostInit(_)
                | OpCode::ClusterRename(_)
                | OpCode::NodeAdd(_)
                | OpCode::NodeRemove(_)
                | OpCode::TestAllocator(_)
        )
    }
}

impl Serialize for OpCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(s)
    }
}

impl<'de> Deserialize<'de> for OpCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<OpCode, D::Error> {
        OpCode::from_json(&Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// Reads one opcode of a known kind, which may but need not carry its `OP_ID` and common fields.
fn read_alone<T: Operation>(fields: &mut Map<String, Value>) -> Result<T> {
    match fields.remove("OP_ID") {
        None => {}
        Some(Value::String(id)) if id == T::OP_ID => {}
        Some(other) => {
            return Err(Error::wrong_input(format!("{} expected, found {other}", T::OP_ID)));
        }
    }
    Common::take_from(T::OP_ID, fields)?;
    T::take_from(fields)
}

#[cfg(test)]
mod tests;
