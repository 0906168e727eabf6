//! Finding things: by the names people type, and by what belongs together.

use super::Config;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, InstanceId, NodeId};
use roost_proto::names::{NoMatch, match_name};
use roost_proto::objects::{Disk, Instance, Network, Node, NodeGroup};
use std::sync::Arc;

fn not_found(kind: &str, name: &str, why: NoMatch) -> Error {
    match why {
        NoMatch::None => Error::unknown(format!("{kind} '{name}' not known")),
        NoMatch::Several => Error::unknown(format!(
            "{kind} '{name}' not known: several names start so, give more of the name"
        )),
    }
}

impl Config {
    /// The instance of a full or unambiguous short name, or of a UUID.
    pub fn instance(&self, name: &str) -> Result<&Arc<Instance>> {
        if let Some(id) = self.index.instance_by_name.get(name) {
            return Ok(self.instance_at(*id));
        }
        if let Some(instance) = name.parse().ok().and_then(|id| self.instances.get(&id)) {
            return Ok(instance);
        }
        let names = self.index.instance_by_name.keys().map(String::as_str);
        match match_name(name, names) {
            Ok(full) => Ok(self.instance_at(self.index.instance_by_name[full])),
            Err(why) => Err(not_found("Instance", name, why)),
        }
    }

    fn instance_at(&self, id: InstanceId) -> &Arc<Instance> {
        self.instances.get(&id).expect("the index names only what exists")
    }

    /// The node of a full or unambiguous short name, or of a UUID.
    pub fn node(&self, name: &str) -> Result<&Arc<Node>> {
        if let Some(id) = self.index.node_by_name.get(name) {
            return Ok(self.node_at(*id));
        }
        if let Some(node) = name.parse().ok().and_then(|id| self.nodes.get(&id)) {
            return Ok(node);
        }
        match match_name(name, self.index.node_by_name.keys().map(String::as_str)) {
            Ok(full) => Ok(self.node_at(self.index.node_by_name[full])),
            Err(why) => Err(not_found("Node", name, why)),
        }
    }

    fn node_at(&self, id: NodeId) -> &Arc<Node> {
        self.nodes.get(&id).expect("the index names only what exists")
    }

    /// The node of an identifier that something in the configuration names.
    pub fn node_by_id(&self, id: NodeId) -> Result<&Arc<Node>> {
        self.nodes.get(&id).ok_or_else(|| Error::internal(format!("Node {id} does not exist")))
    }

    /// The node group of a name or UUID.
    pub fn group(&self, name: &str) -> Result<&Arc<NodeGroup>> {
        let by_name = self.index.group_by_name.get(name).copied();
        by_name
            .or_else(|| name.parse().ok())
            .and_then(|id| self.groups.get(&id))
            .ok_or_else(|| Error::unknown(format!("Node group '{name}' not known")))
    }

    /// The network of a name or UUID.
    pub fn network(&self, name: &str) -> Result<&Arc<Network>> {
        let by_name = self.index.network_by_name.get(name).copied();
        by_name
            .or_else(|| name.parse().ok())
            .and_then(|id| self.networks.get(&id))
            .ok_or_else(|| Error::unknown(format!("Network '{name}' not known")))
    }

    /// The name of a node, for messages.
    pub fn node_name(&self, id: NodeId) -> String {
        self.nodes.get(&id).map_or_else(|| id.to_string(), |n| n.name.to_string())
    }

    /// The name of a group, for messages.
    pub fn group_name(&self, id: GroupId) -> String {
        self.groups.get(&id).map_or_else(|| id.to_string(), |g| g.name.to_string())
    }

    /// The master's node.
    pub fn master(&self) -> NodeId {
        self.cluster.master_node
    }

    /// Instances whose primary node this is.
    pub fn instances_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Instance>> {
        let least = InstanceId(uuid::Uuid::nil());
        self.index
            .instances_on
            .range((node, least)..)
            .map(|(key, ())| *key)
            .take_while(move |(on, _)| *on == node)
            .map(|(_, id)| self.instance_at(id))
    }

    /// The disks of an instance, in order.
    pub fn disks_of(&self, instance: &Instance) -> Vec<Arc<Disk>> {
        instance.disks.iter().filter_map(|id| self.disks.get(id).cloned()).collect()
    }

    /// Nodes besides the primary that hold data of the instance's disks.
    pub fn secondaries(&self, instance: &Instance) -> Vec<NodeId> {
        let mut found = Vec::new();
        for disk in self.disks_of(instance) {
            if disk.dev_type == DiskTemplate::Drbd {
                for node in &disk.nodes {
                    if *node != instance.primary_node && !found.contains(node) {
                        found.push(*node);
                    }
                }
            }
        }
        found
    }

    /// Instances whose secondary node this is.
    pub fn secondary_instances(&self, node: NodeId) -> Vec<&Arc<Instance>> {
        self.instances.values().filter(|i| self.secondaries(i).contains(&node)).collect()
    }

    /// The disk template of an instance: of its disks if they agree, `diskless` without any,
    /// nothing when they differ.
    pub fn disk_template(&self, instance: &Instance) -> Option<DiskTemplate> {
        let mut template = None;
        for id in &instance.disks {
            let found = self.disks.get(id).map(|d| d.dev_type)?;
            if *template.get_or_insert(found) != found {
                return None;
            }
        }
        Some(template.unwrap_or(DiskTemplate::Diskless))
    }

    /// Nodes that may be contacted.
    pub fn online_nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter(|n| !n.offline)
    }

    /// Members of a group.
    pub fn members(&self, group: GroupId) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values().filter(move |n| n.group == group)
    }
}
