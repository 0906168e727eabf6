//! Opcodes for the master.

use super::{Act, acts, runs};
use crate::balance::Step;
use crate::model::{Cluster, NodeIdx};
use roost_proto::choices::ReplaceDisksMode;
use roost_proto::opcodes::{InstanceFailover, InstanceMigrate, InstanceReplaceDisks, OpCode};

/// The opcodes of one job that makes a step.
pub fn opcodes(cluster: &Cluster, step: &Step) -> Vec<OpCode> {
    let instance = || cluster.instances[step.what.instance.at()].name.clone();
    let node = |node: NodeIdx| cluster.nodes[node.at()].name.clone();
    let runs = runs(cluster, step.what);
    let opcode = |act: Act| match act {
        Act::Move(to) if runs => InstanceMigrate {
            target_node: to.map(node),
            // An instance that is found stopped goes all the same.
            allow_failover: true,
            ignore_hvversions: true,
            ..InstanceMigrate::new(instance())
        }
        .into(),
        Act::Move(to) => {
            InstanceFailover { target_node: to.map(node), ..InstanceFailover::new(instance()) }
                .into()
        }
        Act::Replace(to) => InstanceReplaceDisks {
            remote_node: Some(node(to)),
            ..InstanceReplaceDisks::new(instance(), ReplaceDisksMode::NewSecondary)
        }
        .into(),
    };
    acts(step.what.kind).into_iter().map(opcode).collect()
}
