//! A small cluster to ask: three instances on five nodes, as Ganeti's own answers about it were
//! recorded.

use super::{World, answer};
use crate::config::{Change, Config, Object};
use crate::nodes::NodeView;
use roost_proto::choices::Hypervisor;
use roost_proto::error::Error;
use roost_proto::ids::NodeId;
use roost_proto::node::{GuestReport, GuestState, NodeReport};
use roost_proto::objects::{Cluster, ConfigData, Instance, Node};
use roost_proto::query::filter::names_filter;
use roost_proto::query::{Cell, Resource};
use std::collections::HashMap;
use std::sync::Arc;

/// The cluster. No node has said anything. node1 is the master, node4 offline, node5 drained;
/// inst1 (plain) is on node1, inst2 (drbd) on node2 and node3, inst3 (diskless, down) on node3.
pub fn world() -> World {
    let text = include_str!("../../../proto/fixtures/config.data.json");
    let data: ConfigData = serde_json::from_str(text).expect("a configuration");
    let mut config = Config::new(data.cluster);
    let mut changes = Vec::new();
    let mut add = |object| changes.push(Change::Add(object));
    data.nodegroups.into_values().for_each(|o| add(Object::Group(o)));
    data.networks.into_values().for_each(|o| add(Object::Network(o)));
    data.nodes.into_values().for_each(|o| add(Object::Node(Box::new(o))));
    data.disks.into_values().for_each(|o| add(Object::Disk(Box::new(o))));
    data.instances.into_values().for_each(|o| add(Object::Instance(Box::new(o))));
    (config, _) = config.apply(&changes, 1_700_000_200.0).expect("it fits together");
    let config = Arc::new(config);
    World {
        config,
        seen: HashMap::new(),
        jobs: vec![],
        locks: vec![],
        drained: false,
        copies: None,
    }
}

/// Carries out changes.
pub fn change(world: &mut World, changes: &[Change]) {
    let (config, _) = world.config.apply(changes, 1_700_000_300.0).expect("changes that fit");
    world.config = Arc::new(config);
}

/// Changes the cluster.
pub fn cluster(world: &mut World, edit: impl FnOnce(&mut Cluster)) {
    let mut cluster = (*world.config.cluster).clone();
    edit(&mut cluster);
    change(world, &[Change::Update(Object::Cluster(Box::new(cluster)))]);
}

/// Changes a node.
pub fn node(world: &mut World, name: &str, edit: impl FnOnce(&mut Node)) {
    let mut node = (**world.config.node(name).expect("a node")).clone();
    edit(&mut node);
    change(world, &[Change::Update(Object::Node(Box::new(node)))]);
}

/// Changes an instance.
pub fn instance(world: &mut World, name: &str, edit: impl FnOnce(&mut Instance)) {
    let mut instance = (**world.config.instance(name).expect("an instance")).clone();
    edit(&mut instance);
    change(world, &[Change::Update(Object::Instance(Box::new(instance)))]);
}

/// A node answers, and has these guests.
pub fn up(world: &mut World, name: &str, guests: &[(&str, GuestState)]) {
    let id: NodeId = world.config.node(name).expect("a node").uuid;
    let guest = |(name, state): &(&str, GuestState)| {
        let report = GuestReport {
            name: (*name).to_owned(),
            uuid: None,
            hypervisor: Hypervisor::Kvm,
            state: *state,
            memory: 512,
            vcpus: 2,
            cpu_time: 1.5,
        };
        (report.name.clone(), report)
    };
    let report = NodeReport {
        boot_id: "boot".into(),
        memory_total: 4096,
        memory_dom0: 512,
        memory_free: 1024,
        cpu_nodes: 1,
        cpu_sockets: 2,
        cpu_total: 8,
        cpu_dom0: 8,
        storage: [("/srv/ganeti/file-storage".to_owned(), (100_000, 60_000))].into(),
        ..NodeReport::default()
    };
    let view = NodeView {
        up: true,
        problem: String::new(),
        report,
        guests: guests.iter().map(guest).collect(),
        mirrors: Default::default(),
        told: 1,
    };
    world.seen.insert(id, Arc::new(view));
}

/// The rows of a query for everything, or for these names.
pub fn cells(world: &World, what: Resource, fields: &[&str], names: &[&str]) -> Vec<Vec<Cell>> {
    query(world, what, fields, names).expect("an answer")
}

/// Why a query is refused.
pub fn error(world: &World, what: Resource, fields: &[&str], names: &[&str]) -> Error {
    query(world, what, fields, names).expect_err("it must be refused")
}

fn query(
    world: &World,
    what: Resource,
    fields: &[&str],
    names: &[&str],
) -> Result<Vec<Vec<Cell>>, Error> {
    let fields: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
    let filter = names_filter(names, what.name_field(), what == Resource::Job)?;
    answer(world, what, &fields, filter.as_ref()).map(|response| response.data)
}
