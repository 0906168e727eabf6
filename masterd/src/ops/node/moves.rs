//! The instances of a node that are to leave it: for `gnt-node migrate` and `gnt-node evacuate`.

use crate::config::Config;
use crate::ops::placement;
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::objects::{Instance, Node};
use std::sync::Arc;

/// The instances whose primary node this is, by name.
pub fn primaries<'a>(config: &'a Config, node: &Node) -> Vec<&'a Arc<Instance>> {
    let mut all: Vec<_> = config.instances_on(node.uuid).collect();
    nicesort::sort_by_key(&mut all, |i| i.name.to_string());
    all
}

/// The other nodes of its group that may get instances.
pub fn candidates(config: &Config, node: &Node) -> Vec<NodeId> {
    placement::candidates(config, Some(node.group), &[node.uuid]).map(|n| n.uuid).collect()
}

/// How much room they have.
pub fn questions(config: &Config, node: &Node) -> Vec<(NodeId, Question)> {
    candidates(config, node).into_iter().map(|id| (id, Question::Node)).collect()
}

/// The instances whose mirrors are on a node, by name.
pub fn secondaries<'a>(config: &'a Config, node: &Node) -> Vec<&'a Arc<Instance>> {
    let mut all = config.secondary_instances(node.uuid);
    nicesort::sort_by_key(&mut all, |i| i.name.to_string());
    all
}
