//! Locks that many opcodes take.

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use roost_proto::ids::{GroupId, NodeId};

/// The cluster alone: nothing else is under way.
pub fn alone() -> LockSet {
    LockSet::default().with(LockName::cluster(), Mode::Exclusive)
}

/// The cluster object, for opcodes that change it while others are under way: two of them would
/// only find each other's changes when it is too late.
pub fn cluster_object() -> LockName {
    LockName::new(Level::Cluster, "object")
}

/// A node.
pub fn node(id: NodeId) -> LockName {
    LockName::new(Level::Node, id)
}

/// A node group.
pub fn group(id: GroupId) -> LockName {
    LockName::new(Level::NodeGroup, id)
}

/// Adds every node.
pub fn add_all_nodes(locks: &mut LockSet, config: &Config, mode: Mode) {
    for id in config.nodes.keys() {
        locks.add(node(*id), mode);
    }
}

/// Adds the nodes of these names; every node if there are none.
pub fn add_nodes(
    locks: &mut LockSet,
    config: &Config,
    names: &[String],
    mode: Mode,
) -> roost_proto::error::Result<()> {
    for id in super::node::named(config, names)? {
        locks.add(node(id), mode);
    }
    Ok(())
}
