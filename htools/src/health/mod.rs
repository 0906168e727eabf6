//! Whether a cluster is well: what is not as it should be, counted.

mod group;

pub use group::{GroupHealth, Health};

use crate::fail::FailMode;
use crate::model::{InstanceIdx, NodeIdx};
use crate::state::Placement;

/// Online nodes that could not take over what they would have to if another node failed; in order.
pub fn bad_nodes(placement: &Placement, nodes: &[NodeIdx]) -> Vec<NodeIdx> {
    let offline = |node: &NodeIdx| placement.cluster().nodes[node.at()].offline;
    let bad = |node: &&NodeIdx| !offline(node) && placement.node(**node).n1_fails;
    nodes.iter().filter(bad).copied().collect()
}

/// The instances that such nodes hold or mirror; in order.
pub fn bad_instances(placement: &Placement, bad_nodes: &[NodeIdx]) -> Vec<InstanceIdx> {
    let all = (0..placement.cluster().instances.len()).map(InstanceIdx::of);
    let touches = |instance: &InstanceIdx| {
        let secondary = placement.secondary(*instance);
        [Some(placement.primary(*instance)), secondary]
            .into_iter()
            .flatten()
            .any(|node| bad_nodes.contains(&node))
    };
    all.filter(touches).collect()
}

/// Whether what a node holds is within its policy. Errors: the limit that it exceeds.
pub fn policy(placement: &Placement, node: NodeIdx) -> Result<(), FailMode> {
    let (state, limits) = (placement.node(node), placement.limits(node));
    if state.used_spindles as f64 > limits.spindles {
        return Err(FailMode::Disk);
    }
    let cpus = placement.cluster().nodes[node.at()].total_cpus;
    if limits.vcpu_ratio >= 0.0 && state.used_vcpus as f64 > limits.vcpu_ratio * cpus {
        return Err(FailMode::Cpu);
    }
    Ok(())
}
