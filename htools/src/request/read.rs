//! Reading a request.

use super::fields::{Fields, Malformed};
use super::json::Json;
use super::{Asked, Request, Wanted};
use crate::model::{Cluster, Disk, Group, GroupIdx, Instance, Node, NodeIdx, Status, Utilisation};
use crate::sources::{Known, policy};
use std::collections::{HashMap, HashSet};

type Result<T> = std::result::Result<T, Malformed>;

/// A request of its text. Errors: the first thing that is wrong, with its object and key.
pub fn read(text: &str) -> Result<Request> {
    let document = parse(text)?;
    let top = Fields::of("invalid iallocator message".into(), &document)?;
    let request = Fields::of("invalid request dict".into(), top.value("request")?)?;
    let known = known(&top)?;
    Ok(Request { known, wanted: wanted(&request)? })
}

/// The cluster of a request, whatever is wanted of it. Errors: the first thing that is wrong with it.
pub fn cluster(text: &str) -> Result<Known> {
    known(&Fields::of("invalid iallocator message".into(), &parse(text)?)?)
}

fn parse(text: &str) -> Result<Json> {
    serde_json::from_str(text).map_err(|error| Malformed {
        about: "Parsing input IAllocator message".into(),
        key: String::new(),
        message: error.to_string(),
    })
}

fn known(top: &Fields<'_>) -> Result<Known> {
    let mut cluster = Cluster::default();
    let mut groups = HashMap::new();
    for (uuid, value) in top.entries("nodegroups")? {
        let fields = Fields::of(format!("invalid data for group '{uuid}'"), value)?;
        if groups.insert(uuid.as_str(), GroupIdx::of(cluster.groups.len())).is_some() {
            return Err(top.error("nodegroups", format!("has '{uuid}' twice")));
        }
        cluster.groups.push(group(uuid, &fields)?);
    }
    let (mut nodes, mut down) = (HashMap::new(), vec![]);
    for (name, value) in top.entries("nodes")? {
        let fields = Fields::of(format!("invalid data for node '{name}'"), value)?;
        if nodes.insert(name.as_str(), NodeIdx::of(cluster.nodes.len())).is_some() {
            return Err(top.error("nodes", format!("has '{name}' twice")));
        }
        cluster.nodes.push(node(name, &fields, &groups)?);
        down.push(fields.truth("offline")?);
    }
    let mut names = HashSet::new();
    for (name, value) in top.entries("instances")? {
        let fields = Fields::of(format!("invalid data for instance '{name}'"), value)?;
        if !names.insert(name.as_str()) {
            return Err(top.error("instances", format!("has '{name}' twice")));
        }
        let mut instance = instance(name, &fields)?;
        (instance.primary, instance.secondary) = seat(name, &fields, &nodes)?;
        cluster.instances.push(instance);
    }
    cluster.tags = top.texts("cluster_tags")?;
    if let Some(value) = top.find("ipolicy") {
        let wrong = |why| top.error("ipolicy", format!("is wrong: {why}"));
        cluster.policy = policy::read(&value.to_value()).map_err(wrong)?;
    }
    // The protocol does not say which hypervisor a node has: the first that is enabled counts for all.
    let hypervisors = top.texts("enabled_hypervisors")?;
    let kvm = hypervisors.first().is_some_and(|name| name == "kvm");
    Ok(Known { kvm: vec![kvm; cluster.nodes.len()], down, cluster })
}

fn group(uuid: &str, fields: &Fields<'_>) -> Result<Group> {
    let wrong = |why| fields.error("ipolicy", format!("is wrong: {why}"));
    Ok(Group {
        name: fields.text("name")?.to_owned(),
        uuid: uuid.to_owned(),
        alloc_policy: fields.word("alloc_policy")?,
        networks: fields.texts("networks")?,
        policy: policy::read(&fields.value("ipolicy")?.to_value()).map_err(wrong)?,
        tags: fields.texts("tags")?,
        own_policy: true,
    })
}

/// A node that is offline or cannot have instances has no figures. Storage may be unknown: then there is none.
fn node(name: &str, fields: &Fields<'_>, groups: &HashMap<&str, GroupIdx>) -> Result<Node> {
    let uuid = fields.text("group")?;
    let unknown =
        || fields.error("group", format!("is wrong: Unknown group '{uuid}' for node {name}"));
    let group = *groups.get(uuid).ok_or_else(unknown)?;
    let vm_capable = fields.find("vm_capable").is_none() || fields.truth("vm_capable")?;
    let (offline, drained) = (fields.truth("offline")?, fields.truth("drained")?);
    let live = !offline && vm_capable;
    let parameters = fields.object("ndparams")?;
    let exclusive_storage = parameters.truth("exclusive_storage")?;
    let amount = |key| if live { fields.amount(key) } else { Ok(0) };
    let real = |key| if live { fields.real(key) } else { Ok(0.0) };
    let unknown = |key| fields.value(key).is_ok_and(|value| *value == Json::Null);
    let stored = |key| if unknown(key) { Ok(0) } else { amount(key) };
    Ok(Node {
        name: name.to_owned(),
        group,
        total_memory: real("total_memory")?,
        node_memory: amount("reserved_memory")?,
        free_memory: amount("free_memory")?,
        total_disk: if unknown("total_disk") { 0.0 } else { real("total_disk")? },
        free_disk: stored("free_disk")?,
        total_cpus: real("total_cpus")?,
        node_cpus: amount("reserved_cpus")?,
        cpu_speed: 1.0,
        spindles: match exclusive_storage {
            true => stored("total_spindles")?,
            false => parameters.amount("spindle_count")?,
        },
        free_spindles: stored("free_spindles")?,
        exclusive_storage,
        offline: !live || drained,
        master: false,
        tags: if fields.find("tags").is_some() { fields.texts("tags")? } else { vec![] },
    })
}

/// An instance without its place.
fn instance(name: &str, fields: &Fields<'_>) -> Result<Instance> {
    let mut disks = vec![];
    for value in fields.list("disks")? {
        let disk = Fields::of(format!("invalid data for instance '{name}': key 'disks'"), value)?;
        let (size, spindles) = (disk.amount("size")?, disk.optional_amount("spindles")?);
        disks.push(Disk { size, spindles });
    }
    let mut networks = vec![];
    for value in fields.list("nics")? {
        let nic = Fields::of(format!("invalid data for instance '{name}': key 'nics'"), value)?;
        networks.extend(nic.optional_text("network")?.map(str::to_owned));
    }
    let status = match fields.optional_text("admin_state") {
        Ok(Some("down")) => Status::AdminDown,
        Ok(Some("offline")) => Status::AdminOffline,
        _ => Status::Running,
    };
    Ok(Instance {
        name: name.to_owned(),
        memory: fields.amount("memory")?,
        disk: fields.amount("disk_space_total")?,
        disks,
        vcpus: fields.amount("vcpus")?,
        status,
        auto_balance: true,
        primary: NodeIdx::NONE,
        secondary: None,
        template: fields.word("disk_template")?,
        tags: fields.texts("tags")?,
        spindle_use: fields.amount("spindle_use")?,
        forthcoming: fields.find("forthcoming").is_some() && fields.truth("forthcoming")?,
        utilisation: Utilisation::ONE,
        networks,
    })
}

/// Where an instance is.
fn seat(
    name: &str,
    fields: &Fields<'_>,
    nodes: &HashMap<&str, NodeIdx>,
) -> Result<(NodeIdx, Option<NodeIdx>)> {
    let names = fields.texts("nodes")?;
    let find = |node: &String| {
        let unknown = || format!("is wrong: Unknown node '{node}' for instance {name}");
        nodes.get(node.as_str()).copied().ok_or_else(|| fields.error("nodes", unknown()))
    };
    let Some(primary) = names.first() else { return Err(fields.error("nodes", "is empty")) };
    let (primary, secondary) = (find(primary)?, names.get(1).map(find).transpose()?);
    if secondary == Some(primary) {
        return Err(fields.error("nodes", "is wrong: the secondary node is the primary node"));
    }
    Ok((primary, secondary))
}

fn wanted(request: &Fields<'_>) -> Result<Wanted> {
    Ok(match request.text("type")? {
        "allocate" => Wanted::Allocate(Box::new(asked(request)?)),
        "multi-allocate" => {
            let mut all = vec![];
            for value in request.list("instances")? {
                all.push(asked(&Fields::of("invalid request dict".into(), value)?)?);
            }
            Wanted::MultiAllocate(all)
        }
        "allocate-secondary" => {
            Wanted::AllocateSecondary { instance: request.text("name")?.to_owned() }
        }
        "relocate" => Wanted::Relocate {
            instance: request.text("name")?.to_owned(),
            nodes: request.amount("required_nodes")?,
            from: request.texts("relocate_from")?,
        },
        "node-evacuate" => Wanted::NodeEvacuate {
            instances: request.texts("instances")?,
            mode: request.word("evac_mode")?,
        },
        "change-group" => Wanted::ChangeGroup {
            instances: request.texts("instances")?,
            groups: request.texts("target_groups")?,
        },
        other => {
            return Err(Malformed {
                about: String::new(),
                key: String::new(),
                message: format!("Invalid request type '{other}'"),
            });
        }
    })
}

fn asked(request: &Fields<'_>) -> Result<Asked> {
    let name = request.text("name")?;
    let nodes = request.amount("required_nodes")?;
    Ok(Asked {
        instance: instance(name, request)?,
        nodes: usize::try_from(nodes).unwrap_or(0),
        group: request.optional_text("group_name")?.map(str::to_owned),
        restrict_to: match request.find("restrict-to-nodes") {
            Some(_) => Some(request.texts("restrict-to-nodes")?),
            None => None,
        },
    })
}
