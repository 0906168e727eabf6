//! How a snapshot becomes the next one.

use super::{Config, Map};
use crate::store::{Key, Space};
use roost_proto::ids::{DiskId, FilterId, GroupId, InstanceId, NetworkId, NodeId, RuleId};
use roost_proto::objects::{
    Cluster, Disk, FilterRule, Instance, Network, Node, NodeGroup, PlacementRule,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A configuration object of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    Cluster(Box<Cluster>),
    Node(Box<Node>),
    Group(NodeGroup),
    Instance(Box<Instance>),
    Disk(Box<Disk>),
    Network(Network),
    Filter(FilterRule),
    Rule(Box<PlacementRule>),
}

/// Names an object that may go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKey {
    Node(NodeId),
    Group(GroupId),
    Instance(InstanceId),
    Disk(DiskId),
    Network(NetworkId),
    Filter(FilterId),
    Rule(RuleId),
}

/// One change. A list of them happens together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Adds a new object.
    Add(Object),
    /// Replaces an object: it must still have the `serial_no` it had when the new value was made
    /// from it. Serial number and time of change are set when it happens.
    Update(Object),
    /// Removes an object.
    Remove(ObjectKey),
}

/// Why a list of changes was refused. Nothing of it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the name '{0}' is taken")]
    NameTaken(String),
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{0} exists already")]
    Exists(String),
    #[error("{0} was changed meanwhile")]
    Stale(String),
    #[error("{0} is still used by {1}")]
    Used(String, String),
    #[error("the MAC address {0} is used by another instance")]
    MacTaken(String),
}

impl Object {
    /// The document it is stored as.
    pub fn key(&self) -> Key {
        match self {
            Object::Cluster(_) => Key::new(Space::Cluster, "cluster"),
            Object::Node(o) => Key::new(Space::Node, o.uuid),
            Object::Group(o) => Key::new(Space::NodeGroup, o.uuid),
            Object::Instance(o) => Key::new(Space::Instance, o.uuid),
            Object::Disk(o) => Key::new(Space::Disk, o.uuid),
            Object::Network(o) => Key::new(Space::Network, o.uuid),
            Object::Filter(o) => Key::new(Space::Filter, o.uuid),
            Object::Rule(o) => Key::new(Space::Rule, o.uuid),
        }
    }

    fn describe(&self) -> String {
        match self {
            Object::Cluster(_) => "the cluster".into(),
            Object::Node(o) => format!("node {}", o.name),
            Object::Group(o) => format!("node group {}", o.name),
            Object::Instance(o) => format!("instance {}", o.name),
            Object::Disk(o) => format!("disk {}", o.uuid),
            Object::Network(o) => format!("network {}", o.name),
            Object::Filter(o) => format!("filter {}", o.uuid),
            Object::Rule(o) => format!("placement rule {}", o.spec.name),
        }
    }

    /// Its stored form.
    pub fn to_body(&self) -> String {
        let text = match self {
            Object::Cluster(o) => serde_json::to_string(o),
            Object::Node(o) => serde_json::to_string(o),
            Object::Group(o) => serde_json::to_string(o),
            Object::Instance(o) => serde_json::to_string(o),
            Object::Disk(o) => serde_json::to_string(o),
            Object::Network(o) => serde_json::to_string(o),
            Object::Filter(o) => serde_json::to_string(o),
            Object::Rule(o) => serde_json::to_string(o),
        };
        text.expect("configuration objects have string keys and finite numbers")
    }

    fn stamp(&mut self, serial_no: u64, ctime: f64, mtime: f64) {
        macro_rules! set {
            ($o:expr) => {{
                $o.serial_no = serial_no;
                $o.ctime = ctime;
                $o.mtime = mtime;
            }};
        }
        match self {
            Object::Cluster(o) => set!(o),
            Object::Node(o) => set!(o),
            Object::Group(o) => set!(o),
            Object::Instance(o) => set!(o),
            Object::Disk(o) => set!(o),
            Object::Network(o) => set!(o),
            Object::Rule(o) => set!(o),
            Object::Filter(_) => {}
        }
    }

    /// (serial number, creation time); filters have none.
    fn stamps(&self) -> (u64, f64) {
        match self {
            Object::Cluster(o) => (o.serial_no, o.ctime),
            Object::Node(o) => (o.serial_no, o.ctime),
            Object::Group(o) => (o.serial_no, o.ctime),
            Object::Instance(o) => (o.serial_no, o.ctime),
            Object::Disk(o) => (o.serial_no, o.ctime),
            Object::Network(o) => (o.serial_no, o.ctime),
            Object::Rule(o) => (o.serial_no, o.ctime),
            Object::Filter(_) => (0, 0.0),
        }
    }
}

impl ObjectKey {
    fn key(self) -> Key {
        match self {
            ObjectKey::Node(id) => Key::new(Space::Node, id),
            ObjectKey::Group(id) => Key::new(Space::NodeGroup, id),
            ObjectKey::Instance(id) => Key::new(Space::Instance, id),
            ObjectKey::Disk(id) => Key::new(Space::Disk, id),
            ObjectKey::Network(id) => Key::new(Space::Network, id),
            ObjectKey::Filter(id) => Key::new(Space::Filter, id),
            ObjectKey::Rule(id) => Key::new(Space::Rule, id),
        }
    }
}

/// What a list of changes writes.
#[derive(Debug, Default)]
pub struct Written {
    pub puts: Vec<(Key, String)>,
    pub deletes: Vec<Key>,
}

impl Config {
    /// The next snapshot, and what must be stored for it. `now` in seconds since 1970.
    ///
    /// Errors: [`Rejected`], with this snapshot untouched.
    pub fn apply(&self, changes: &[Change], now: f64) -> Result<(Config, Written), Rejected> {
        let mut next = self.clone();
        let mut written = Written::default();
        for change in changes {
            match change {
                Change::Add(object) => {
                    let mut object = object.clone();
                    if next.get(&object).is_some() {
                        return Err(Rejected::Exists(object.describe()));
                    }
                    object.stamp(1, now, now);
                    written.puts.push((object.key(), object.to_body()));
                    next.insert(object)?;
                }
                Change::Update(object) => {
                    let mut object = object.clone();
                    let old =
                        next.get(&object).ok_or_else(|| Rejected::Missing(object.describe()))?;
                    let (serial_no, ctime) = old.stamps();
                    if object.stamps().0 != serial_no {
                        return Err(Rejected::Stale(object.describe()));
                    }
                    object.stamp(serial_no + 1, ctime, now);
                    next.take_out(&old);
                    written.puts.push((object.key(), object.to_body()));
                    next.insert(object)?;
                }
                Change::Remove(key) => {
                    let old =
                        next.object(*key).ok_or_else(|| Rejected::Missing(format!("{:?}", key)))?;
                    next.take_out(&old);
                    next.forget(*key);
                    written.deletes.push(key.key());
                }
            }
        }
        next.check_changed(changes)?;
        Ok((next, written))
    }

    /// The stored object that has the same key as this one.
    pub(super) fn get(&self, object: &Object) -> Option<Object> {
        match object {
            Object::Cluster(_) => Some(Object::Cluster(Box::new((*self.cluster).clone()))),
            Object::Node(o) => self.object(ObjectKey::Node(o.uuid)),
            Object::Group(o) => self.object(ObjectKey::Group(o.uuid)),
            Object::Instance(o) => self.object(ObjectKey::Instance(o.uuid)),
            Object::Disk(o) => self.object(ObjectKey::Disk(o.uuid)),
            Object::Network(o) => self.object(ObjectKey::Network(o.uuid)),
            Object::Filter(o) => self.object(ObjectKey::Filter(o.uuid)),
            Object::Rule(o) => self.object(ObjectKey::Rule(o.uuid)),
        }
    }

    pub(super) fn object(&self, key: ObjectKey) -> Option<Object> {
        fn copy<K: Ord, V: Clone>(map: &Map<K, V>, key: &K) -> Option<V> {
            map.get(key).map(|v| (**v).clone())
        }
        match key {
            ObjectKey::Node(id) => copy(&self.nodes, &id).map(|o| Object::Node(Box::new(o))),
            ObjectKey::Group(id) => copy(&self.groups, &id).map(Object::Group),
            ObjectKey::Instance(id) => {
                copy(&self.instances, &id).map(|o| Object::Instance(Box::new(o)))
            }
            ObjectKey::Disk(id) => copy(&self.disks, &id).map(|o| Object::Disk(Box::new(o))),
            ObjectKey::Network(id) => copy(&self.networks, &id).map(Object::Network),
            ObjectKey::Filter(id) => copy(&self.filters, &id).map(Object::Filter),
            ObjectKey::Rule(id) => copy(&self.rules, &id).map(|o| Object::Rule(Box::new(o))),
        }
    }

    /// Takes an object's entries out of the indexes, before it changes or goes.
    pub(super) fn take_out(&mut self, old: &Object) {
        match old {
            Object::Instance(o) => self.index.remove_instance(o),
            Object::Node(o) => self.index.remove_node(o),
            Object::Group(o) => {
                self.index.group_by_name.remove_mut(o.name.as_str());
            }
            Object::Network(o) => {
                self.index.network_by_name.remove_mut(o.name.as_str());
            }
            Object::Cluster(_) | Object::Disk(_) | Object::Filter(_) | Object::Rule(_) => {}
        }
    }

    pub(super) fn forget(&mut self, key: ObjectKey) {
        match key {
            ObjectKey::Node(id) => self.nodes.remove_mut(&id),
            ObjectKey::Group(id) => self.groups.remove_mut(&id),
            ObjectKey::Instance(id) => self.instances.remove_mut(&id),
            ObjectKey::Disk(id) => self.disks.remove_mut(&id),
            ObjectKey::Network(id) => self.networks.remove_mut(&id),
            ObjectKey::Filter(id) => self.filters.remove_mut(&id),
            ObjectKey::Rule(id) => self.rules.remove_mut(&id),
        };
    }

    /// Puts an object in, with its index entries. Names and MAC addresses must be free.
    pub(super) fn insert(&mut self, object: Object) -> Result<(), Rejected> {
        match object {
            Object::Cluster(o) => self.cluster = Arc::new(*o),
            Object::Node(o) => {
                if self.index.node_by_name.contains_key(o.name.as_str()) {
                    return Err(Rejected::NameTaken(o.name.to_string()));
                }
                self.index.add_node(&o);
                self.nodes.insert_mut(o.uuid, Arc::new(*o));
            }
            Object::Group(o) => {
                if self.index.group_by_name.contains_key(o.name.as_str()) {
                    return Err(Rejected::NameTaken(o.name.to_string()));
                }
                self.index.group_by_name.insert_mut(o.name.to_string(), o.uuid);
                self.groups.insert_mut(o.uuid, Arc::new(o));
            }
            Object::Instance(o) => {
                if self.index.instance_by_name.contains_key(o.name.as_str()) {
                    return Err(Rejected::NameTaken(o.name.to_string()));
                }
                for nic in &o.nics {
                    if self.index.mac.contains_key(&nic.mac) {
                        return Err(Rejected::MacTaken(nic.mac.clone()));
                    }
                }
                self.index.add_instance(&o);
                self.instances.insert_mut(o.uuid, Arc::new(*o));
            }
            Object::Disk(o) => self.disks.insert_mut(o.uuid, Arc::new(*o)),
            Object::Network(o) => {
                if self.index.network_by_name.contains_key(o.name.as_str()) {
                    return Err(Rejected::NameTaken(o.name.to_string()));
                }
                self.index.network_by_name.insert_mut(o.name.to_string(), o.uuid);
                self.networks.insert_mut(o.uuid, Arc::new(o));
            }
            Object::Filter(o) => self.filters.insert_mut(o.uuid, Arc::new(o)),
            Object::Rule(o) => {
                let same = |other: &Arc<PlacementRule>| {
                    other.uuid != o.uuid && other.spec.name == o.spec.name
                };
                // There are few: they have no index.
                if self.rules.values().any(same) {
                    return Err(Rejected::NameTaken(o.spec.name));
                }
                self.rules.insert_mut(o.uuid, Arc::new(*o));
            }
        }
        Ok(())
    }

    /// Everything that is named exists, and nothing that was removed is still named. The cost
    /// grows with the changes, not with the cluster — except for the removal of a node, group or
    /// network, which looks at all that might name it.
    fn check_changed(&self, changes: &[Change]) -> Result<(), Rejected> {
        for change in changes {
            match change {
                Change::Add(object) | Change::Update(object) => match object {
                    Object::Instance(o) => self.check_instance(o)?,
                    Object::Node(o) => self.check_node(o)?,
                    Object::Cluster(o) => self.check_cluster(o)?,
                    _ => {}
                },
                Change::Remove(ObjectKey::Node(_) | ObjectKey::Group(_) | ObjectKey::Disk(_)) => {
                    self.check_references()?;
                }
                Change::Remove(_) => {}
            }
        }
        Ok(())
    }

    fn check_instance(&self, o: &Instance) -> Result<(), Rejected> {
        if !self.nodes.contains_key(&o.primary_node) {
            return Err(Rejected::Missing(format!(
                "the primary node {} of instance {}",
                o.primary_node, o.name
            )));
        }
        match o.disks.iter().find(|id| !self.disks.contains_key(id)) {
            Some(id) => Err(Rejected::Missing(format!("disk {id} of instance {}", o.name))),
            None => Ok(()),
        }
    }

    fn check_node(&self, o: &Node) -> Result<(), Rejected> {
        if self.groups.contains_key(&o.group) {
            return Ok(());
        }
        Err(Rejected::Missing(format!("the group {} of node {}", o.group, o.name)))
    }

    fn check_cluster(&self, o: &Cluster) -> Result<(), Rejected> {
        if self.nodes.contains_key(&o.master_node) {
            return Ok(());
        }
        Err(Rejected::Missing(format!("the master node {}", o.master_node)))
    }

    pub(super) fn check_references(&self) -> Result<(), Rejected> {
        self.check_cluster(&self.cluster)?;
        for node in self.nodes.values() {
            self.check_node(node)?;
        }
        for instance in self.instances.values() {
            self.check_instance(instance)?;
        }
        Ok(())
    }
}
