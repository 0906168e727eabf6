//! What is given: groups, nodes, instances, policies, tags. Nothing here changes while planning.

mod group;
mod instance;
mod node;
mod policy;
mod status;
mod tags;

use crate::rules::Rule;
pub use group::Group;
pub use instance::{Disk, Instance, Utilisation};
pub use node::Node;
pub use policy::{InstanceSpec, MinMax, Policy};
pub use roost_proto::choices::{AllocPolicy, DiskTemplate};
pub use status::Status;
pub use tags::{TagRules, Tags, missing, shared};

/// The position of a group in [`Cluster::groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIdx(pub u32);

/// The position of a node in [`Cluster::nodes`]. Ties are broken by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIdx(pub u32);

/// The position of an instance in [`Cluster::instances`]. Ties are broken by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceIdx(pub u32);

macro_rules! index {
    ($($type:ty),*) => {$(
        impl $type {
            /// As an index into a slice.
            pub fn at(self) -> usize {
                self.0 as usize
            }

            /// Of a position in a slice, which has fewer than 2^32 elements.
            pub fn of(at: usize) -> $type {
                Self(u32::try_from(at).unwrap_or(u32::MAX))
            }
        }
    )*};
}
index!(GroupIdx, NodeIdx, InstanceIdx);

impl NodeIdx {
    /// No node: where an instance is that has no place yet.
    pub const NONE: NodeIdx = NodeIdx(u32::MAX);
}

/// A cluster as it is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    pub groups: Vec<Group>,
    pub nodes: Vec<Node>,
    pub instances: Vec<Instance>,
    /// Cluster tags.
    pub tags: Vec<String>,
    /// The cluster's own policy: for capacity questions; nodes have their group's.
    pub policy: Policy,
    /// By node: processor load that is seen there and that no instance accounts for, in CPUs. Shorter: 0.
    pub own_cpu_load: Vec<f64>,
    /// Placement rules, resolved for these nodes and instances.
    pub rules: Vec<Rule>,
}

impl Cluster {
    /// The group of a node.
    pub fn group_of(&self, node: NodeIdx) -> &Group {
        &self.groups[self.nodes[node.at()].group.at()]
    }

    /// The nodes of a group, in order.
    pub fn nodes_of(&self, group: GroupIdx) -> impl Iterator<Item = NodeIdx> + '_ {
        let all = self.nodes.iter().enumerate();
        all.filter(move |(_, node)| node.group == group).map(|(at, _)| NodeIdx::of(at))
    }

    /// The node of a name, whole or short of its domain if that is only one.
    pub fn find_node(&self, wanted: &str) -> Option<NodeIdx> {
        find(self.nodes.iter().map(|node| node.name.as_str()), wanted).map(NodeIdx::of)
    }

    /// The instance of a name, whole or short of its domain if that is only one.
    pub fn find_instance(&self, wanted: &str) -> Option<InstanceIdx> {
        let names = self.instances.iter().map(|instance| instance.name.as_str());
        find(names, wanted).map(InstanceIdx::of)
    }

    /// The group of a name or UUID.
    pub fn find_group(&self, wanted: &str) -> Option<GroupIdx> {
        let found = |group: &Group| group.name == wanted || group.uuid == wanted;
        self.groups.iter().position(found).map(GroupIdx::of)
    }
}

/// A whole name, or else the only one that begins with these labels.
fn find<'a>(names: impl Iterator<Item = &'a str> + Clone, wanted: &str) -> Option<usize> {
    if let Some(at) = names.clone().position(|name| name == wanted) {
        return Some(at);
    }
    let begins = |name: &str| name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'));
    let mut found = names.enumerate().filter(|(_, name)| begins(name));
    let (at, _) = found.next()?;
    found.next().is_none().then_some(at)
}
