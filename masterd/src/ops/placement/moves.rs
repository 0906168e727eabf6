//! Moves that an allocator found, and the jobs that make them.

use super::cluster::Snapshot;
use crate::config::Config;
use crate::ops::Context;
use roost_htools::model::NodeIdx;
use roost_htools::moves::Kind;
use roost_proto::choices::{AdminState, MigrationMode, ReplaceDisksMode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{InstanceId, NodeId};
use roost_proto::objects::Instance;
use roost_proto::opcodes::{
    InstanceFailover, InstanceMigrate, InstanceReplaceDisks, OpCode, OpInput,
};
use serde_json::Value;

/// What is the same for all jobs.
#[derive(Clone, Debug, Default)]
pub struct How {
    pub mode: Option<MigrationMode>,
    pub live: Option<bool>,
    pub allow_runtime_changes: bool,
    pub ignore_ipolicy: bool,
    pub early_release: bool,
}

/// An instance that goes.
#[derive(Clone, Debug)]
pub struct Moved {
    pub instance: InstanceId,
    /// The name of its group then.
    pub group: String,
    /// Its nodes then, the primary first.
    pub nodes: Vec<NodeId>,
    pub steps: Vec<Kind>,
}

/// What becomes of instances that are to go.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// Instance, its group then, its nodes then.
    pub moved: Vec<(String, String, Vec<String>)>,
    /// Instances that stay, and why.
    pub failed: Vec<(String, String)>,
    pub jobs: Vec<Vec<OpInput>>,
}

impl Moves {
    pub(super) fn of(
        config: &Config,
        snapshot: &Snapshot,
        all: Vec<Moved>,
        failed: Vec<(String, String)>,
        how: &How,
    ) -> Result<Moves> {
        let mut moves = Moves { failed, ..Moves::default() };
        for Moved { instance, group, nodes, steps } in all {
            let instance = config.instances.get(&instance);
            let instance = instance.ok_or_else(|| Error::internal("An instance has gone"))?;
            let names = nodes.iter().map(|id| config.node_name(*id)).collect();
            moves.moved.push((instance.name.to_string(), group, names));
            let name = |node: NodeIdx| config.node_name(snapshot.node_id(node));
            moves.jobs.push(job(config, instance, &steps, name, how));
        }
        Ok(moves)
    }

    /// The mirrors of an instance go to a node.
    pub fn mirror_to(&mut self, config: &Config, instance: &Instance, to: NodeId, how: &How) {
        let nodes = vec![config.node_name(instance.primary_node), config.node_name(to)];
        let group = config.nodes.get(&to).map(|node| config.group_name(node.group));
        self.jobs.push(vec![mirror_op(instance, config.node_name(to), how)]);
        self.moved.push((instance.name.to_string(), group.unwrap_or_default(), nodes));
    }

    /// Says what goes and what stays. Errors: something stays, and that is not all right.
    pub fn say(&self, cx: &mut Context<'_, '_>, but_some: bool) -> Result<()> {
        if !self.failed.is_empty() {
            let each = self.failed.iter().map(|(name, why)| match why.is_empty() {
                true => name.clone(),
                false => format!("{name} ({})", why.trim_end_matches(';')),
            });
            let text =
                format!("Unable to evacuate instances {}", each.collect::<Vec<_>>().join(", "));
            if !but_some {
                return Err(Error::exec(text));
            }
            cx.warn(text);
        }
        if !self.moved.is_empty() {
            let to = |(name, _, nodes): &(String, String, Vec<String>)| {
                format!("{name} (to {})", nodes.join(", "))
            };
            let each: Vec<_> = self.moved.iter().map(to).collect();
            cx.info(format!("Instances to be moved: {}", each.join(", ")));
        }
        Ok(())
    }

    /// The jobs for a plan's pivot.
    pub fn to_json(&self) -> Vec<Vec<Value>> {
        self.jobs.iter().map(|job| job.iter().map(OpInput::to_json).collect()).collect()
    }
}

/// The opcodes that make an instance's steps.
fn job(
    config: &Config,
    instance: &Instance,
    steps: &[Kind],
    name: impl Fn(NodeIdx) -> String,
    how: &How,
) -> Vec<OpInput> {
    // From where it goes first; later it comes from where it was brought.
    let mut lost = config.nodes.get(&instance.primary_node).is_none_or(|node| node.offline);
    let mut job = Vec::new();
    let mut go = |job: &mut Vec<OpInput>, to: Option<String>| {
        job.push(move_op(instance, to, lost, how));
        lost = false;
    };
    for step in steps {
        match *step {
            Kind::Failover => go(&mut job, None),
            Kind::FailoverToAny(to) => go(&mut job, Some(name(to))),
            Kind::ReplaceSecondary(to) => job.push(mirror_op(instance, name(to), how)),
            Kind::ReplacePrimary(to) => {
                go(&mut job, None);
                job.push(mirror_op(instance, name(to), how));
                go(&mut job, None);
            }
            Kind::ReplaceAndFailover(to) => {
                job.push(mirror_op(instance, name(to), how));
                go(&mut job, None);
            }
            Kind::FailoverAndReplace(to) => {
                go(&mut job, None);
                job.push(mirror_op(instance, name(to), how));
            }
        }
    }
    job
}

/// Brings an instance to another node, or to its secondary one: a migration; a failover, if the node it is on
/// is `lost`.
pub fn move_op(instance: &Instance, to: Option<String>, lost: bool, how: &How) -> OpInput {
    if lost {
        return OpInput::from(InstanceFailover {
            target_node: to,
            ignore_ipolicy: how.ignore_ipolicy,
            ..InstanceFailover::new(instance.name.as_str())
        });
    }
    OpInput::from(InstanceMigrate {
        mode: how.mode,
        live: how.live,
        target_node: to,
        allow_runtime_changes: how.allow_runtime_changes,
        ignore_ipolicy: how.ignore_ipolicy,
        // One that does not run cannot migrate, but it can go.
        allow_failover: instance.admin_state != AdminState::Up,
        ..InstanceMigrate::new(instance.name.as_str())
    })
}

/// Makes the mirrors of an instance again on another node.
pub fn mirror_op(instance: &Instance, to: String, how: &How) -> OpInput {
    OpInput::from(InstanceReplaceDisks {
        remote_node: Some(to),
        early_release: how.early_release,
        ignore_ipolicy: how.ignore_ipolicy,
        ..InstanceReplaceDisks::new(instance.name.as_str(), ReplaceDisksMode::NewSecondary)
    })
}

/// What was found by others, done the way that is wanted here.
pub fn adapt(op: &mut OpInput, how: &How) {
    if let OpCode::InstanceReplaceDisks(op) = &mut op.op {
        op.early_release |= how.early_release;
    }
}
