//! Nodes whose storage belongs to one instance each: what counts there is what can be placed afterwards.
//!
//! For the smallest instance of every range of the policy: how many fewer of them fit on the node. Then how much
//! disk is left, the less the better. Source: Ganeti's reference on htools, dedicated allocation.

use crate::model::{AllocPolicy, Cluster, GroupIdx, InstanceSpec, Node, Policy};
use crate::state::{Limits, NodeState};

/// Whether an allocation in this group, or in all that can be allocated in, is about exclusive storage alone.
pub fn is_dedicated(cluster: &Cluster, group: Option<GroupIdx>) -> bool {
    let asked = |node: &Node| match group {
        Some(group) => node.group == group,
        None => cluster.groups[node.group.at()].alloc_policy != AllocPolicy::Unallocable,
    };
    cluster.nodes.iter().all(|node| node.exclusive_storage || !asked(node))
}

/// The smallest instances of a policy, the one with the largest disk first.
pub(super) fn smallest(policy: &Policy) -> Vec<InstanceSpec> {
    let mut specs: Vec<InstanceSpec> = policy.ranges.iter().map(|range| range.min).collect();
    specs.sort_by_key(|spec| std::cmp::Reverse(spec.disk));
    specs
}

/// How many of each fit on a node.
pub(super) fn fitting(
    specs: &[InstanceSpec],
    node: &Node,
    limits: &Limits,
    state: &NodeState,
) -> Vec<i64> {
    specs.iter().map(|spec| fits(spec, node, limits, state)).collect()
}

/// How many plain instances of a size pass all checks, one after the other.
fn fits(spec: &InstanceSpec, node: &Node, limits: &Limits, state: &NodeState) -> i64 {
    // A node that fails with its memory already cannot begin to.
    let reserved = if state.n1_fails { 0 } else { state.reserved };
    let disk = limits.disk.saturating_sub(1).max(0);
    let vcpus = match limits.vcpu_ratio < 0.0 {
        true => i64::MAX,
        false => (limits.vcpu_ratio * node.total_cpus).floor() as i64,
    };
    let spindles = match node.exclusive_storage {
        true => times(state.free_spindles.min(state.forth.free_spindles), 0),
        false => {
            let used = state.used_spindles.max(state.forth.used_spindles);
            times(limits.spindles.floor() as i64 - used, spec.spindles)
        }
    };
    [
        times(state.unallocated - reserved - 1, spec.memory),
        times(state.forth.free_memory - 1, spec.memory),
        times(state.free_disk.min(state.forth.free_disk) - disk - 1, spec.disk),
        times(vcpus - state.used_vcpus.max(state.forth.used_vcpus), spec.cpus),
        spindles,
    ]
    .into_iter()
    .fold(i64::MAX, i64::min)
}

/// How often a size fits into what is left; something without a size fits for ever, if anything does.
fn times(left: i64, size: i64) -> i64 {
    match (left < 0, size) {
        (true, _) => 0,
        (false, ..=0) => i64::MAX,
        (false, size) => left / size,
    }
}
