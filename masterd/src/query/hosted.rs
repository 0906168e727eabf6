//! Which instances nodes hold: looked up once for a whole query.

use crate::config::Config;
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::objects::Instance;
use std::collections::HashMap;

/// Instances by the nodes that hold them.
#[derive(Debug, Default)]
pub(super) struct Hosted<'a> {
    /// By primary node.
    pub primary: HashMap<NodeId, Vec<&'a Instance>>,
    /// By secondary node.
    pub secondary: HashMap<NodeId, Vec<&'a Instance>>,
}

impl<'a> Hosted<'a> {
    /// Looks through all instances.
    pub fn new(config: &'a Config) -> Hosted<'a> {
        let mut hosted = Hosted::default();
        for instance in config.instances.values() {
            hosted.primary.entry(instance.primary_node).or_default().push(instance);
            for node in config.secondaries(instance) {
                hosted.secondary.entry(node).or_default().push(instance);
            }
        }
        hosted
    }
}

/// The names of instances, in nice order.
pub(super) fn names(instances: &[&Instance]) -> Vec<String> {
    let names = nicesort::sort_many(instances.to_vec(), |i| i.name.as_str());
    names.into_iter().map(|i| i.name.to_string()).collect()
}
