//! Whether every node may fail: all its instances fit on others then.
//!
//! ```text
//!   a node fails: its mirrored instances ─► their secondaries, all at once
//!                 those on shared storage ─► one by one to the best other node of the group
//!                 those on its own disks  ─► made anew on the best other node, the largest first
//! ```
//!
//! Limits that are only wishes do not count then. This is stronger than the N+1 state of a node
//! ([`NodeState::n1_fails`](crate::state::NodeState)), which looks at mirrored instances alone.
//!
//! What can be seen without trying is not tried: a node is safe if more nodes have room for the largest of its
//! instances than it has instances, because each can take the room of one node away at most. Source: Ganeti's
//! reference on htools, global N+1.

mod quick;
mod residents;
mod trial;

pub use quick::Redundancy;

use crate::allocate::Failures;
use crate::fail::FailMode;
use crate::model::{Cluster, GroupIdx, InstanceIdx, NodeIdx};
use crate::state::Placement;
use residents::Residents;
use std::fmt;
use std::sync::Arc;

/// Which nodes have to be able to fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Nodes that are offline already are not looked at.
    pub accept_existing: bool,
    /// Nodes of these groups are not looked at.
    pub ignore_groups: Vec<GroupIdx>,
}

impl Options {
    /// Of some nodes those that have to be able to fail.
    fn asked<'a>(
        &'a self,
        cluster: &'a Cluster,
        nodes: &'a [NodeIdx],
    ) -> impl Iterator<Item = NodeIdx> + 'a {
        nodes.iter().copied().filter(|node| {
            let given = &cluster.nodes[node.at()];
            let left_out = self.accept_existing && given.offline;
            !left_out && !self.ignore_groups.contains(&given.group)
        })
    }
}

/// Why an instance cannot leave its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its secondary, if it has one, cannot run it.
    Secondary(Option<NodeIdx>, FailMode),
    /// No other node of the group can; how often which check failed.
    NoNode(Failures),
}

/// A node that must not fail, and the first instance that would have no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonRedundant {
    pub node: NodeIdx,
    pub instance: InstanceIdx,
    pub reason: Reason,
}

impl NonRedundant {
    /// As a sentence.
    pub fn explain<'a>(&'a self, cluster: &'a Cluster) -> impl fmt::Display + 'a {
        Explained { what: self, cluster }
    }
}

struct Explained<'a> {
    what: &'a NonRedundant,
    cluster: &'a Cluster,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |node: NodeIdx| self.cluster.nodes[node.at()].name.as_str();
        let node = name(self.what.node);
        let instance = &self.cluster.instances[self.what.instance.at()].name;
        write!(f, "if {node} fails, instance {instance} has no place: ")?;
        match &self.what.reason {
            Reason::Secondary(Some(secondary), mode) => {
                write!(f, "its secondary {} cannot run it ({mode})", name(*secondary))
            }
            Reason::Secondary(None, _) => f.write_str("it has no secondary"),
            Reason::NoNode(failures) if failures.total() == 0 => {
                f.write_str("there is no other node in the group")
            }
            Reason::NoNode(failures) => {
                write!(f, "no other node of the group can take it ({failures})")
            }
        }
    }
}

/// The nodes that must not fail, of the nodes named, which are all there are.
pub fn non_redundant(
    placement: &Placement,
    nodes: &[NodeIdx],
    options: &Options,
) -> Vec<NonRedundant> {
    let residents = Arc::new(Residents::of(placement));
    let mut found = vec![];
    let mut judge = quick::Judge::new(placement, Arc::clone(&residents));
    for node in options.asked(placement.cluster(), nodes) {
        let state = match judge.judge(node, quick::View::now(placement), 0) {
            quick::Verdict::Safe => continue,
            quick::Verdict::Stuck(stuck) => Err(stuck),
            quick::Verdict::Unclear => trial::fail(placement, nodes, node, residents.of_node(node)),
        };
        if let Err((instance, reason)) = state {
            found.push(NonRedundant { node, instance, reason });
        }
    }
    found
}

#[cfg(test)]
mod tests;
