//! Node groups.

use super::ParamMap;
use crate::choices::{AllocPolicy, NicMode};
use crate::ids::{GroupId, NetworkId};
use crate::names::GroupName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A group of nodes among which instances can move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeGroup {
    pub uuid: GroupId,
    pub name: GroupName,
    /// Always empty: members are the nodes that name the group.
    #[serde(default)]
    pub members: Vec<Value>,
    #[serde(default)]
    pub ndparams: ParamMap,
    pub alloc_policy: AllocPolicy,
    #[serde(default)]
    pub ipolicy: ParamMap,
    #[serde(default)]
    pub diskparams: BTreeMap<String, ParamMap>,
    #[serde(default)]
    pub networks: BTreeMap<NetworkId, GroupNetwork>,
    #[serde(default)]
    pub hv_state_static: Value,
    #[serde(default)]
    pub disk_state_static: Value,
    pub ctime: f64,
    pub mtime: f64,
    pub serial_no: u64,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(flatten)]
    pub extra: ParamMap,
}

/// How a network is reached on the nodes of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupNetwork {
    pub mode: NicMode,
    pub link: String,
    #[serde(default)]
    pub vlan: String,
}
