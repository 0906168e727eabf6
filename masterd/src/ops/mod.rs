//! What opcodes need and do: one file for each.
//!
//! An opcode is three pure functions ([`Operate`]): the locks it needs, the questions it has for
//! nodes, and the plan it makes from their answers. Order, durability and undoing are the job
//! engine's.

mod backup;
mod cluster;
mod context;
mod disks;
mod ext_storage;
mod group;
mod guest;
mod hooks;
mod instance;
mod locking;
mod node;
mod os;
pub mod placement;
mod placement_rule;
mod policy;
mod tags;
mod test;
mod test_allocator;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod under_way;

pub use context::Context;

use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::jobs::{PlanInput, Planner};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::opcodes::{OpCode, OpInput};

/// An opcode's behaviour. Pure: no clock, no randomness, no I/O.
pub trait Operate {
    /// The locks it needs, as far as this configuration tells.
    fn locks(&self, config: &Config) -> Result<LockSet>;

    /// What must be asked of nodes.
    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let _ = config;
        Ok(Vec::new())
    }

    /// What must be asked besides, now that the answers are there: what an allocator's script shall find
    /// ([`placement`]).
    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        let _ = cx;
        Ok(Vec::new())
    }

    /// What it will do, or why it must not.
    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan>;
}

macro_rules! operations {
    ($($name:ident),+ $(,)?) => {
        /// The behaviour of an opcode. Errors: it has none in this version.
        fn operation(op: &OpCode) -> Result<&dyn Operate> {
            match op {
                $(OpCode::$name(op) => Ok(op),)+
                other => Err(Error::wrong_input(format!(
                    "{} is not available in this version",
                    other.op_id()
                ))),
            }
        }
    };
}

operations! {
    BackupExport,
    BackupPrepare,
    BackupRemove,
    ClusterActivateMasterIp,
    ClusterConfigQuery,
    ClusterDeactivateMasterIp,
    ClusterDestroy,
    ClusterPostInit,
    ClusterQuery,
    ClusterRedistConf,
    ClusterRename,
    ClusterRenewCrypto,
    ClusterRepairDiskSizes,
    ClusterSetBalancer,
    ClusterSetParams,
    ClusterVerify,
    ClusterVerifyConfig,
    ClusterVerifyDisks,
    ClusterVerifyGroup,
    ExtStorageDiagnose,
    GroupAdd,
    GroupAssignNodes,
    GroupEvacuate,
    GroupRemove,
    GroupRename,
    GroupSetParams,
    GroupVerifyDisks,
    InstanceActivateDisks,
    InstanceChangeGroup,
    InstanceConsole,
    InstanceCreate,
    InstanceDeactivateDisks,
    InstanceFailover,
    InstanceGrowDisk,
    InstanceMigrate,
    InstanceMove,
    InstanceMultiAlloc,
    InstanceQueryData,
    InstanceReboot,
    InstanceRecreateDisks,
    InstanceReinstall,
    InstanceRemove,
    InstanceRename,
    InstanceRepairMirror,
    InstanceReplaceDisks,
    InstanceSetParams,
    InstanceShutdown,
    InstanceStartup,
    NodeAdd,
    NodeEvacuate,
    NodeMigrate,
    NodeModifyStorage,
    NodePowercycle,
    NodeQueryStorage,
    NodeQueryvols,
    NodeRemove,
    NodeSetParams,
    OobCommand,
    OsDiagnose,
    PlacementRuleAdd,
    PlacementRuleModify,
    PlacementRuleRemove,
    RepairNodeStorage,
    TagsDel,
    TagsGet,
    TagsSearch,
    TagsSet,
    TestAllocator,
    TestDelay,
}

/// All opcodes, for the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operations;

impl Operations {
    /// Refuses what could only fail later. Called when a job is submitted.
    pub fn check(op: &OpInput) -> Result<()> {
        operation(&op.op).map(|_| ())
    }
}

impl Planner for Operations {
    fn locks(&self, op: &OpInput, config: &Config) -> Result<LockSet> {
        operation(&op.op)?.locks(config)
    }

    fn questions(&self, op: &OpInput, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        operation(&op.op)?.questions(config)
    }

    fn further(&self, input: &mut PlanInput<'_>) -> Result<Vec<(NodeId, Question)>> {
        let op = input.op;
        operation(&op.op)?.further(&mut Context::new(input))
    }

    fn plan(&self, input: &mut PlanInput<'_>) -> Result<Plan> {
        let op = input.op;
        let mut plan = operation(&op.op)?.plan(&mut Context::new(input))?;
        placement_rule::tell(&mut plan, input.config);
        hooks::around(plan, input)
    }

    fn is_opportunistic(&self, op: &OpInput) -> bool {
        match &op.op {
            OpCode::InstanceCreate(op) => op.opportunistic_locking,
            OpCode::InstanceMultiAlloc(op) => op.opportunistic_locking,
            _ => false,
        }
    }

    fn max_running(&self, config: &Config) -> usize {
        // A job that runs is tracked, so both limit the same.
        config.cluster.max_running_jobs.min(config.cluster.max_tracked_jobs) as usize
    }
}
