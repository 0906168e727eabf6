//! Figures of a group, and of a whole cluster as their sums.

use super::bad_nodes;
use crate::model::{GroupIdx, InstanceIdx, NodeIdx};
use crate::redundancy;
use crate::score::Score;
use crate::state::Placement;

/// How a node group is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupHealth {
    /// Nodes without the memory to take over from another.
    pub n1_fails: usize,
    /// Nodes with instances that should not be together.
    pub conflicts: usize,
    /// Instances whose primary is offline.
    pub offline_primaries: usize,
    /// [Q] Nodes that are offline: the reference's figure of instances whose secondary is.
    pub offline_secondaries: usize,
    /// Nodes whose instances would not all find a place if they failed.
    pub not_redundant: usize,
    pub score: f64,
}

/// How a cluster is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    pub groups: Vec<(GroupIdx, GroupHealth)>,
}

impl GroupHealth {
    /// Of a group. Without `capacity` nobody asks what could fail.
    pub fn of(placement: &Placement, group: GroupIdx, capacity: bool) -> GroupHealth {
        let cluster = placement.cluster();
        let nodes: Vec<NodeIdx> = cluster.nodes_of(group).collect();
        let offline = |node: NodeIdx| cluster.nodes[node.at()].offline;
        let all = (0..cluster.instances.len()).map(InstanceIdx::of);
        let left = all.map(|instance| placement.primary(instance));
        let left = left.filter(|node| nodes.contains(node) && offline(*node));
        let options = redundancy::Options::default();
        let not_redundant = match capacity {
            true => redundancy::non_redundant(placement, &nodes, &options).len(),
            false => 0,
        };
        GroupHealth {
            n1_fails: bad_nodes(placement, &nodes).len(),
            conflicts: nodes.iter().filter(|node| placement.node(**node).conflicts > 0).count(),
            offline_primaries: left.count(),
            offline_secondaries: nodes.iter().filter(|node| offline(**node)).count(),
            not_redundant,
            score: Score::of(placement, &nodes).total,
        }
    }

    /// What is counted, in the order in which it is shown.
    pub fn counts(&self) -> [usize; 5] {
        [
            self.n1_fails,
            self.conflicts,
            self.offline_primaries,
            self.offline_secondaries,
            self.not_redundant,
        ]
    }
}

impl Health {
    /// Of all groups. Without `capacity` nobody asks what could fail.
    pub fn of(placement: &Placement, capacity: bool) -> Health {
        let groups = (0..placement.cluster().groups.len()).map(GroupIdx::of);
        let health = |group| (group, GroupHealth::of(placement, group, capacity));
        Health { groups: groups.map(health).collect() }
    }

    /// The sums over all groups.
    pub fn counts(&self) -> [usize; 5] {
        let mut sums = [0; 5];
        for (_, group) in &self.groups {
            sums.iter_mut().zip(group.counts()).for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// Whether something is wrong that moves may put right.
    pub fn needs_balancing(&self) -> bool {
        self.counts().iter().any(|count| *count > 0)
    }
}
