//! What is given: groups, nodes, instances, policies, tags. Nothing here changes while planning.

mod group;
mod instance;
mod node;
mod policy;
mod status;
mod tags;

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

    /// The group of a name or UUID.
    pub fn find_group(&self, wanted: &str) -> Option<GroupIdx> {
        let found = |group: &Group| group.name == wanted || group.uuid == wanted;
        self.groups.iter().position(found).map(GroupIdx::of)
    }
}
