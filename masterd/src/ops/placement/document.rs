//! A request as the JSON that allocator scripts read. Source: Ganeti's reference on interfaces, the allocator
//! protocol.

use super::cluster::{self, Known};
use super::request::{NewInstance, Request, space_total};
use super::{Asking, candidates};
use crate::config::Config;
use crate::ops::Context;
use crate::query::storage::Storage;
use roost_proto::choices::{AdminState, DiskTemplate};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::nicesort;
use roost_proto::objects::{Instance, Node, NodeGroup};
use roost_proto::params::fill;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::sync::Arc;

/// The version of the protocol.
const VERSION: u32 = 2;

/// Named things in an order: scripts number them by it.
#[derive(Debug)]
struct Named(Vec<(String, Value)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What a script is told, in the protocol's order.
#[derive(Debug, Serialize)]
struct Document<'a> {
    version: u32,
    cluster_name: &'a str,
    cluster_tags: &'a [String],
    enabled_hypervisors: &'a [roost_proto::choices::Hypervisor],
    ipolicy: Value,
    nodegroups: Named,
    nodes: Named,
    instances: Named,
    request: Value,
}

/// The text of a request.
pub fn write(cx: &Context<'_, '_>, asking: &Asking) -> String {
    // As it is going to be: what jobs under way make is taken.
    let config = &cluster::going_to_be(cx);
    let cluster = &config.cluster;
    let known = Known::of(cx);
    let storage = asking.storage(config);
    let groups = config
        .groups
        .values()
        .map(|group| (group.name.to_string(), (group.uuid.to_string(), one_group(config, group))));
    let nodes = config.nodes.values().map(|node| {
        (node.name.to_string(), (node.name.to_string(), one_node(config, node, &known, storage)))
    });
    let instances = config.instances.values().map(|instance| {
        (instance.name.to_string(), (instance.name.to_string(), one_instance(config, instance)))
    });
    let document = Document {
        version: VERSION,
        cluster_name: cluster.cluster_name.as_str(),
        cluster_tags: &cluster.tags,
        enabled_hypervisors: &cluster.enabled_hypervisors,
        ipolicy: json!(fill::cluster_ipolicy(cluster)),
        nodegroups: sorted(groups),
        nodes: sorted(nodes),
        instances: sorted(instances),
        request: request(cx.config(), asking),
    };
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// In nice order of their names, under their keys.
fn sorted(all: impl Iterator<Item = (String, (String, Value))>) -> Named {
    let mut all: Vec<_> = all.collect();
    nicesort::sort_by_key(&mut all, |(name, _)| name.clone());
    Named(all.into_iter().map(|(_, entry)| entry).collect())
}

fn one_group(config: &Config, group: &NodeGroup) -> Value {
    json!({
        "name": group.name.as_str(),
        "alloc_policy": group.alloc_policy,
        "networks": group.networks.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "ipolicy": fill::group_ipolicy(&config.cluster, group),
        "tags": group.tags,
    })
}

/// A node: what is configured, and its figures if it is at work. One that does not answer is told as offline:
/// nothing must go there.
fn one_node(
    config: &Config,
    node: &Node,
    known: &Known<'_>,
    storage: Option<Storage<'_>>,
) -> Value {
    let params = config.groups.get(&node.group);
    let params = params.map(|group| fill::ndparams_map(&config.cluster, group, node));
    let exclusive = params.as_ref().and_then(|p| p.get("exclusive_storage")) == Some(&json!(true));
    let spindles = params.as_ref().and_then(|params| params.get("spindle_count")).cloned();
    let figures = known.figures(node).ok().filter(|_| !node.offline && node.vm_capable);
    let mute = figures.is_none() && !node.drained && node.vm_capable;
    let mut told = json!({
        "tags": node.tags,
        "primary_ip": node.primary_ip,
        "secondary_ip": node.secondary_ip,
        "offline": node.offline || mute,
        "drained": node.drained,
        "master_candidate": node.master_candidate,
        "group": node.group.to_string(),
        "master_capable": node.master_capable,
        "vm_capable": node.vm_capable,
        "ndparams": params.unwrap_or_default(),
    });
    let (Some(figures), Value::Object(told)) = (figures, &mut told) else { return told };
    let report = figures.report;
    let (mut all, mut up, mut missing) = (0, 0, 0);
    for instance in config.instances_on(node.uuid).filter(|instance| !instance.forthcoming) {
        let memory = fill::instance_beparams(&config.cluster, instance).maxmem;
        all += memory;
        if instance.admin_state == AdminState::Up {
            up += memory;
            let has = known.guest_memory(node.uuid, &instance.name);
            missing += memory.saturating_sub(has);
        }
    }
    // A guest that is about to start is among those that miss memory.
    let free = report.memory_free.saturating_sub(missing.max(figures.promised));
    let room = storage.and_then(|storage| storage.room(report));
    let (total_spindles, free_spindles) = match storage {
        Some(Storage::Group(vg)) if exclusive => {
            let (total, free) = report.spindles.get(vg).copied().unwrap_or((0, 0));
            (json!(total), json!(free))
        }
        _ => (spindles.unwrap_or(json!(1)), json!(0)),
    };
    let live = [
        ("total_memory", json!(report.memory_total)),
        ("reserved_memory", json!(report.memory_dom0)),
        ("free_memory", json!(free)),
        // 0, where there is no storage to speak of: scripts want numbers.
        ("total_disk", json!(room.map_or(0, |(total, _)| total))),
        ("free_disk", json!(room.map_or(0, |(_, free)| free))),
        ("total_spindles", total_spindles),
        ("free_spindles", free_spindles),
        ("total_cpus", json!(report.cpu_total)),
        ("reserved_cpus", json!(report.cpu_dom0)),
        ("i_pri_memory", json!(all)),
        ("i_pri_up_memory", json!(up)),
    ];
    told.extend(live.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Value::Object(std::mem::take(told))
}

fn one_instance(config: &Config, instance: &Instance) -> Value {
    let be = fill::instance_beparams(&config.cluster, instance);
    let stored = config.disks_of(instance);
    let template = config.disk_template(instance);
    let mut nodes = vec![config.node_name(instance.primary_node)];
    nodes.extend(config.secondaries(instance).into_iter().map(|id| config.node_name(id)));
    let nic = |nic: &roost_proto::objects::Nic| {
        let filled = fill::nic_params(&config.cluster, nic);
        let mut told = json!({
            "mac": nic.mac, "ip": nic.ip, "mode": filled.mode.as_str(), "link": filled.link,
        });
        if filled.mode == roost_proto::choices::NicMode::Bridged {
            told["bridge"] = json!(filled.link);
        }
        if let Some(network) = nic.network {
            told["network"] = json!(network.to_string());
        }
        told
    };
    let disks = stored.iter().map(|disk| {
        json!({
            "dev_type": disk.dev_type, "size": disk.size, "mode": disk.mode,
            "spindles": disk.spindles,
        })
    });
    let sizes = stored.iter().map(|disk| disk.size);
    json!({
        "tags": instance.tags,
        "admin_state": instance.admin_state,
        "vcpus": be.vcpus,
        "memory": be.maxmem,
        "spindle_use": be.spindle_use,
        "os": instance.os,
        "nodes": nodes,
        "nics": instance.nics.iter().map(nic).collect::<Vec<_>>(),
        "disks": disks.collect::<Vec<_>>(),
        // What differs from disk to disk stays where it is, as plain ones do.
        "disk_template": template.unwrap_or(DiskTemplate::Plain),
        "disks_active": instance.disks_active,
        "hypervisor": instance.hypervisor,
        "disk_space_total": space_total(template.unwrap_or(DiskTemplate::Plain), sizes),
        "forthcoming": instance.forthcoming,
    })
}

fn names(instances: &[Arc<Instance>]) -> Vec<&str> {
    instances.iter().map(|instance| instance.name.as_str()).collect()
}

/// What is asked.
fn request(config: &Config, asking: &Asking) -> Value {
    let mut told = match &asking.request {
        Request::Allocate(new) => new_instance(config, new, asking),
        Request::MultiAllocate(all) => {
            let all = all.iter().map(|new| new_instance(config, new, asking));
            json!({"instances": all.collect::<Vec<_>>()})
        }
        Request::AllocateSecondary(instance) => json!({"name": instance.name.as_str()}),
        Request::Relocate(instance, from) => {
            let template = config.disk_template(instance).unwrap_or(DiskTemplate::Plain);
            let sizes = config.disks_of(instance);
            let sizes = sizes.iter().map(|disk| disk.size);
            json!({
                "name": instance.name.as_str(),
                "disk_space_total": space_total(template, sizes),
                "required_nodes": 1,
                "relocate_from": [config.node_name(*from)],
            })
        }
        Request::Evacuate(instances, mode) => {
            json!({"instances": names(instances), "evac_mode": mode})
        }
        Request::ChangeGroup(instances, groups) => json!({
            "instances": names(instances),
            "target_groups": groups.iter().map(GroupId::to_string).collect::<Vec<_>>(),
        }),
    };
    told["type"] = json!(asking.request.mode());
    told
}

fn new_instance(config: &Config, new: &NewInstance, asking: &Asking) -> Value {
    let disks = new.disks.iter().map(|disk| {
        json!({
            "size": disk.size, "mode": disk.mode, "dev_type": new.template,
            "spindles": disk.spindles,
        })
    });
    let mut told = json!({
        "name": new.name,
        "disk_template": new.template,
        "group_name": new.group.map(|group| config.group_name(group)),
        "tags": new.tags,
        "os": new.os,
        "vcpus": new.be.vcpus,
        "memory": new.be.maxmem,
        "spindle_use": new.be.spindle_use,
        "disks": disks.collect::<Vec<_>>(),
        "disk_space_total": new.space(),
        "nics": new.nics,
        "required_nodes": new.nodes(),
        "hypervisor": new.hypervisor,
    });
    if let Some(only) = restriction(config, &asking.nodes) {
        told["restrict-to-nodes"] = json!(only);
    }
    told
}

/// The nodes that may be chosen, where those are not all that take instances.
fn restriction(config: &Config, nodes: &[NodeId]) -> Option<Vec<String>> {
    if candidates(config, None, &[]).all(|node| nodes.contains(&node.uuid)) {
        return None;
    }
    let mut names: Vec<String> = nodes.iter().map(|id| config.node_name(*id)).collect();
    nicesort::sort(&mut names);
    Some(names)
}

/// Options that come with a request, besides the cluster's.
pub fn arguments(asking: &Asking) -> Vec<String> {
    let soft = matches!(asking.request, Request::Evacuate(..)) && asking.ignore_soft_errors;
    if soft { vec!["--ignore-soft-errors".into()] } else { vec![] }
}
