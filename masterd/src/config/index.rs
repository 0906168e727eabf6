//! What is derived from the configuration to find things fast. Never stored.

use roost_proto::ids::{GroupId, InstanceId, NetworkId, NodeId};
use roost_proto::objects::{Instance, Node};
use rpds::RedBlackTreeMapSync;

/// Lookups by name and by place.
#[derive(Clone, Debug, Default)]
pub struct Indexes {
    pub instance_by_name: RedBlackTreeMapSync<String, InstanceId>,
    pub node_by_name: RedBlackTreeMapSync<String, NodeId>,
    pub group_by_name: RedBlackTreeMapSync<String, GroupId>,
    pub network_by_name: RedBlackTreeMapSync<String, NetworkId>,
    /// Instances by primary node, as a set of pairs.
    pub instances_on: RedBlackTreeMapSync<(NodeId, InstanceId), ()>,
    /// Who has a MAC address.
    pub mac: RedBlackTreeMapSync<String, InstanceId>,
}

impl Indexes {
    pub(super) fn add_instance(&mut self, instance: &Instance) {
        self.instance_by_name.insert_mut(instance.name.to_string(), instance.uuid);
        self.instances_on.insert_mut((instance.primary_node, instance.uuid), ());
        for nic in &instance.nics {
            self.mac.insert_mut(nic.mac.clone(), instance.uuid);
        }
    }

    pub(super) fn remove_instance(&mut self, instance: &Instance) {
        self.instance_by_name.remove_mut(instance.name.as_str());
        self.instances_on.remove_mut(&(instance.primary_node, instance.uuid));
        for nic in &instance.nics {
            self.mac.remove_mut(&nic.mac);
        }
    }

    pub(super) fn add_node(&mut self, node: &Node) {
        self.node_by_name.insert_mut(node.name.to_string(), node.uuid);
    }

    pub(super) fn remove_node(&mut self, node: &Node) {
        self.node_by_name.remove_mut(node.name.as_str());
    }
}
