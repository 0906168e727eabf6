//! `OP_INSTANCE_QUERY_DATA`: everything about instances, for `gnt-instance info`.
//!
//! Nodes are asked about guests and disks unless only static data is wanted. One that is offline or
//! does not answer costs a warning and its part of the data, not the answer.

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::guest;
use crate::ops::{Context, Operate};
use roost_proto::choices::AdminState;
use roost_proto::error::Result;
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::node::{Answer, BlockState, BlockStatus, GuestReport, GuestState, Question};
use roost_proto::objects::{Disk, Instance, LogicalId, Nic, ParamMap};
use roost_proto::opcodes::{InstanceQueryData, REDACTED};
use roost_proto::params::{fill, hypervisor};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

impl Operate for InstanceQueryData {
    /// Reading needs no locks: the configuration is a snapshot. Who asks for them waits until
    /// nobody works on the instances.
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        if self.use_locking && !self.r#static {
            for instance in wanted(self, config)? {
                locks.add(LockName::new(Level::Instance, &instance.name), Mode::Shared);
                for node in nodes(config, instance) {
                    super::check::lock_nodes(&mut locks, config, &[node]);
                }
                for network in instance.nics.iter().filter_map(|nic| nic.network) {
                    locks.add(LockName::new(Level::Network, network), Mode::Shared);
                }
            }
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instances = wanted(self, config)?;
        if self.r#static {
            return Ok(Vec::new());
        }
        let online = |id: &NodeId| config.nodes.get(id).is_some_and(|node| !node.offline);
        let mut disks = BTreeMap::<NodeId, Vec<Disk>>::new();
        let mut hosts = BTreeMap::<NodeId, ()>::new();
        for instance in instances {
            hosts.insert(instance.primary_node, ());
            let filled = guest::disks(config, instance)?;
            for node in nodes(config, instance) {
                let there = |d: &&Disk| node == instance.primary_node || d.nodes.contains(&node);
                disks.entry(node).or_default().extend(filled.iter().filter(there).cloned());
            }
        }
        let guests = hosts.into_keys().filter(online).map(|node| (node, Question::Guests));
        let disks = disks.into_iter().filter(|(node, disks)| online(node) && !disks.is_empty());
        let blocks = disks.map(|(node, disks)| (node, Question::Blocks { disks }));
        Ok(guests.chain(blocks).collect())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instances = wanted(self, config)?;
        let live = Live::new(cx, self.r#static);
        if !self.r#static {
            warn(cx, &instances);
        }
        let result: Map<String, Value> =
            instances.iter().map(|i| (i.name.to_string(), data(config, i, &live))).collect();
        let mut plan = cx.start_plan();
        plan.result = Value::Object(result);
        Ok(plan)
    }
}

/// The instances that were named; all of them if none was.
fn wanted<'a>(op: &InstanceQueryData, config: &'a Config) -> Result<Vec<&'a Arc<Instance>>> {
    match op.instances.as_slice() {
        [] => Ok(config.instances.values().collect()),
        names => names.iter().map(|name| config.instance(name)).collect(),
    }
}

/// The primary node, then the secondaries.
fn nodes(config: &Config, instance: &Instance) -> Vec<NodeId> {
    let mut nodes = vec![instance.primary_node];
    nodes.extend(config.secondaries(instance));
    nodes
}

/// Says what cannot be shown.
fn warn(cx: &mut Context<'_, '_>, instances: &[&Arc<Instance>]) {
    let config = cx.config();
    for instance in instances {
        let Some(node) = config.nodes.get(&instance.primary_node).filter(|n| n.offline) else {
            continue;
        };
        cx.warn(format!(
            "Primary node {} is marked offline, returning static information only for instance {}",
            node.name, instance.name
        ));
    }
    for (node, _, answer) in cx.answers() {
        if let Err(error) = answer {
            cx.warn(format!("Error checking node {}: {error}", config.node_name(*node)));
        }
    }
}

/// What nodes answered.
struct Live<'a> {
    guests: HashMap<(NodeId, &'a str), &'a GuestReport>,
    /// Nodes that told of their guests.
    heard: Vec<NodeId>,
    blocks: HashMap<(NodeId, DiskId), &'a BlockStatus>,
    only_static: bool,
}

impl<'a> Live<'a> {
    fn new(cx: &Context<'_, 'a>, only_static: bool) -> Live<'a> {
        let mut live =
            Live { guests: HashMap::new(), heard: Vec::new(), blocks: HashMap::new(), only_static };
        for (node, question, answer) in cx.answers() {
            match (question, answer) {
                (Question::Guests, Ok(Answer::Guests(guests))) => {
                    live.heard.push(*node);
                    live.guests.extend(guests.iter().map(|g| ((*node, g.name.as_str()), g)));
                }
                (Question::Blocks { disks }, Ok(Answer::Blocks(found))) => {
                    live.blocks.extend(disks.iter().zip(found).map(|(d, b)| ((*node, d.uuid), b)));
                }
                _ => {}
            }
        }
        live
    }

    /// What an instance is doing; null if that is not known.
    fn run_state(&self, config: &Config, instance: &Instance) -> Value {
        let node = instance.primary_node;
        if self.only_static || !self.heard.contains(&node) {
            return Value::Null;
        }
        let user_shutdown = config.cluster.enabled_user_shutdown;
        let state = self.guests.get(&(node, instance.name.as_str())).map(|g| g.state);
        match (state, instance.admin_state) {
            (Some(state), _) if state.is_running() => "up".into(),
            (Some(GuestState::Shutdown), _) if user_shutdown => "user down".into(),
            (_, AdminState::Up) => "down".into(),
            (_, other) => other.as_str().into(),
        }
    }
}

/// An instance, with Ganeti's keys.
fn data(config: &Config, instance: &Instance, live: &Live<'_>) -> Value {
    let cluster = &config.cluster;
    let group = |node: NodeId| {
        let node = config.nodes.get(&node)?;
        config.groups.get(&node.group)
    };
    let group_name = |node| group(node).map(|g| g.name.to_string());
    let group_uuid = |node| group(node).map(|g| g.uuid.to_string());
    let primary = instance.primary_node;
    let secondaries = config.secondaries(instance);
    let each = |get: &dyn Fn(NodeId) -> Option<String>| -> Value {
        secondaries.iter().map(|node| get(*node)).collect()
    };
    let mut hv_actual = fill::instance_hvparams(cluster, instance);
    hv_actual.retain(|name, _| !hypervisor::GLOBAL.contains(&name.as_str()));
    let disks = config.disks_of(instance);
    json!({
        "name": instance.name,
        "config_state": instance.admin_state.as_str(),
        "run_state": live.run_state(config, instance),
        "pnode": config.node_name(primary),
        "pnode_group_uuid": group_uuid(primary),
        "pnode_group_name": group_name(primary),
        "snodes": each(&|node| Some(config.node_name(node))),
        "snodes_group_uuids": each(&group_uuid),
        "snodes_group_names": each(&group_name),
        "os": instance.os,
        "nics": instance.nics.iter().map(|n| nic(config, n)).collect::<Value>(),
        "disk_template": config.disk_template(instance).map_or("mixed", |t| t.as_str()),
        "disks": disks.iter().map(|d| disk(config, instance, d, live)).collect::<Value>(),
        "hypervisor": instance.hypervisor.as_str(),
        "network_port": instance.network_port,
        "hv_instance": object(&instance.hvparams),
        "hv_actual": object(&hv_actual),
        "be_instance": object(&instance.beparams),
        "be_actual": object(&fill::beparams_map(cluster, &instance.beparams)),
        "os_instance": object(&instance.osparams),
        "os_actual": object(&fill::osparams(cluster, &instance.os, &instance.osparams)),
        "serial_no": instance.serial_no,
        "mtime": instance.mtime,
        "ctime": instance.ctime,
        "uuid": instance.uuid,
    })
}

fn object(params: &ParamMap) -> Value {
    params.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `[name, uuid, ip, mac, mode, link, vlan, network, network's details]`.
fn nic(config: &Config, nic: &Nic) -> Value {
    let filled = fill::nic_params(&config.cluster, nic);
    let network = nic.network.and_then(|id| config.networks.get(&id));
    json!([
        nic.name,
        nic.uuid,
        nic.ip,
        nic.mac,
        filled.mode.as_str(),
        filled.link,
        filled.vlan,
        nic.network,
        network.map(|network| json!(**network)),
    ])
}

/// A disk of an instance and all below it.
fn disk(config: &Config, instance: &Instance, disk: &Disk, live: &Live<'_>) -> Value {
    let on = |node: NodeId| live.blocks.get(&(node, disk.uuid)).copied();
    let secondary = config.secondaries(instance).into_iter().find(|node| disk.nodes.contains(node));
    let primary = on(instance.primary_node);
    device(config, instance.primary_node, disk, primary, secondary.and_then(on))
}

/// A device. The states of what is below it are in the states of what is above.
fn device(
    config: &Config,
    primary_node: NodeId,
    disk: &Disk,
    primary: Option<&BlockStatus>,
    secondary: Option<&BlockStatus>,
) -> Value {
    let below = |status: Option<&BlockStatus>, i: usize| {
        status.and_then(|status| status.children.get(i)).cloned()
    };
    let children = disk.children.iter().enumerate().map(|(i, child)| {
        let (primary, secondary) = (below(primary, i), below(secondary, i));
        device(config, primary_node, child, primary.as_ref(), secondary.as_ref())
    });
    let mut logical_id = json!(disk.logical_id);
    let mut drbd_info = Value::Null;
    if let LogicalId::Drbd(a, b, port, minor_a, minor_b, _) = &disk.logical_id {
        logical_id[5] = REDACTED.into();
        let ((here, minor), (there, other_minor)) = match *a == primary_node {
            true => ((a, minor_a), (b, minor_b)),
            false => ((b, minor_b), (a, minor_a)),
        };
        drbd_info = json!({
            "primary_node": config.node_name(*here),
            "primary_minor": minor,
            "secondary_node": config.node_name(*there),
            "secondary_minor": other_minor,
            "port": port,
        });
    }
    json!({
        "iv_name": disk.iv_name,
        "dev_type": disk.dev_type.as_str(),
        "logical_id": logical_id,
        "drbd_info": drbd_info,
        "pstatus": primary.map_or(Value::Null, block),
        "sstatus": secondary.map_or(Value::Null, block),
        "children": children.collect::<Value>(),
        "mode": disk.mode.as_str(),
        "size": disk.size,
        "spindles": disk.spindles,
        "name": disk.name,
        "uuid": disk.uuid,
    })
}

/// Ganeti's numbers for the state of this side of a disk.
const OKAY: u32 = 1;
const UNKNOWN: u32 = 2;
const FAULTY: u32 = 3;

/// `[path, major, minor, percent in sync, seconds left, degraded, state of this side]`; null for a
/// device that is not active. The percentage is null once both sides are equal.
fn block(status: &BlockStatus) -> Value {
    let side = match (status.state, &status.sync) {
        (BlockState::Inactive, _) => return Value::Null,
        (BlockState::Missing | BlockState::Faulty, _) => FAULTY,
        (BlockState::Active, Some(sync)) if !sync.local_good => UNKNOWN,
        (BlockState::Active, _) => OKAY,
    };
    let sync = status.sync.as_ref();
    let percent = sync.map(|sync| sync.percent).filter(|percent| *percent < 100.0);
    let degraded = side == FAULTY || sync.is_some_and(|sync| sync.degraded);
    json!([
        status.path,
        status.major_minor.map(|(major, _)| major),
        status.major_minor.map(|(_, minor)| minor),
        percent,
        percent.and(sync.and_then(|sync| sync.eta)),
        degraded,
        side,
    ])
}

#[cfg(test)]
#[path = "query_data_tests.rs"]
mod tests;
