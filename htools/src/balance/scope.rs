//! What a balancer looks at, and what it may move.

use crate::model::{Cluster, GroupIdx, InstanceIdx, NodeIdx};
use std::collections::HashSet;

/// Which instances may be moved, of those that can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these, if any are named.
    pub select: HashSet<InstanceIdx>,
    /// Not these.
    pub exclude: HashSet<InstanceIdx>,
}

/// See the module. Both in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub nodes: Vec<NodeIdx>,
    pub movable: Vec<InstanceIdx>,
    /// Instances with only one of their nodes here: they stay as they are.
    pub split: Vec<InstanceIdx>,
}

impl Scope {
    /// One node group.
    pub fn of(cluster: &Cluster, group: GroupIdx, selection: &Selection) -> Scope {
        let mut scope = Scope { nodes: cluster.nodes_of(group).collect(), ..Scope::default() };
        let inside = |node: NodeIdx| cluster.nodes[node.at()].group == group;
        for (at, instance) in cluster.instances.iter().enumerate() {
            if instance.primary == NodeIdx::NONE {
                continue;
            }
            let index = InstanceIdx::of(at);
            let primary = inside(instance.primary);
            let secondary = instance.secondary.map_or(primary, inside);
            let selected = selection.select.is_empty() || selection.select.contains(&index);
            let wanted = selected && !selection.exclude.contains(&index);
            match (primary, secondary) {
                (true, true) if wanted && instance.auto_balance && instance.movable() => {
                    scope.movable.push(index);
                }
                (true, false) | (false, true) => scope.split.push(index),
                _ => {}
            }
        }
        scope
    }
}
