//! What an allocator is asked.

use super::cluster::{room as cluster_room, signed, usual_storage};
use crate::config::Config;
use crate::ops::disks::space;
use crate::query::storage::Storage;
use roost_htools::model::{self, NodeIdx, Status, Utilisation};
use roost_proto::choices::{DiskMode, DiskTemplate, EvacMode, Hypervisor, IAllocatorMode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::{DiskSpec, InstanceCreate, NicSpec};
use roost_proto::params::{FilledBe, ParamMap, backend, fill};
use serde_json::{Value, json};
use std::sync::Arc;

/// MiB of metadata that each mirrored disk has.
const META: u64 = 128;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Request {
    /// Nodes for a new instance.
    Allocate(Box<NewInstance>),
    /// Nodes for several, one after the other.
    MultiAllocate(Vec<NewInstance>),
    /// A secondary node for an instance that has none.
    AllocateSecondary(Arc<Instance>),
    /// Another node instead of this one: of an instance with mirrors the secondary.
    Relocate(Arc<Instance>, NodeId),
    /// All these away from a node of theirs.
    Evacuate(Vec<Arc<Instance>>, EvacMode),
    /// All these to one of these groups; to any other, if none is named.
    ChangeGroup(Vec<Arc<Instance>>, Vec<GroupId>),
}

impl Request {
    /// Ganeti's word for its kind.
    pub fn mode(&self) -> IAllocatorMode {
        match self {
            Request::Allocate(_) => IAllocatorMode::Allocate,
            Request::MultiAllocate(_) => IAllocatorMode::MultiAllocate,
            Request::AllocateSecondary(_) => IAllocatorMode::AllocateSecondary,
            Request::Relocate(..) => IAllocatorMode::Relocate,
            Request::Evacuate(..) => IAllocatorMode::NodeEvacuate,
            Request::ChangeGroup(..) => IAllocatorMode::ChangeGroup,
        }
    }
}

/// A disk that is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDisk {
    /// MiB.
    pub size: u64,
    pub mode: DiskMode,
    pub spindles: Option<u64>,
}

/// An instance that is to be. Memory in MiB.
#[derive(Clone, Debug, PartialEq)]
pub struct NewInstance {
    pub name: String,
    pub template: DiskTemplate,
    pub be: FilledBe,
    pub disks: Vec<NewDisk>,
    /// MiB they take of the storage that is counted.
    pub room: i64,
    pub tags: Vec<String>,
    pub os: String,
    pub hypervisor: Option<Hypervisor>,
    /// As the protocol has them.
    pub nics: Vec<Value>,
    /// UUIDs of the networks it is in.
    pub networks: Vec<String>,
    /// Only there.
    pub group: Option<GroupId>,
}

impl NewInstance {
    /// Of a request to make one. Errors: something in it that does not exist.
    pub fn of(
        op: &InstanceCreate,
        config: &Config,
        template: DiskTemplate,
        hypervisor: Option<Hypervisor>,
    ) -> Result<NewInstance> {
        let beparams = backend::typed(&op.beparams)?;
        let disks = op.disks.iter().map(|spec| NewDisk {
            size: spec.size.unwrap_or(0),
            mode: spec.mode.unwrap_or_default(),
            spindles: spec.spindles,
        });
        let (nics, networks) = nics(config, &op.nics)?;
        let group = op.group_name.as_ref().map(|name| config.group(name).map(|group| group.uuid));
        Ok(NewInstance {
            name: op.instance_name.to_ascii_lowercase(),
            template,
            be: fill::beparams(&config.cluster, &beparams),
            disks: disks.collect(),
            room: room(config, template, &op.disks)?,
            tags: op.tags.clone(),
            os: op.os_type.clone().unwrap_or_default(),
            hypervisor,
            nics,
            networks,
            group: group.transpose()?,
        })
    }

    /// One like an instance that is there, with these disks of this template, in a group.
    pub fn like(
        config: &Config,
        instance: &Instance,
        (template, disks): (DiskTemplate, &[Disk]),
        group: GroupId,
    ) -> Result<NewInstance> {
        let (counted, storage) = (disks.iter(), usual_storage(config));
        let group_name = match storage {
            Some(Storage::Group(group)) => Some(group),
            _ => None,
        };
        let nic = |nic: &roost_proto::objects::Nic| {
            let filled = fill::nic_params(&config.cluster, nic);
            json!({
                "mac": nic.mac,
                "ip": nic.ip,
                "network": nic.network.map(|network| network.to_string()),
                "nicparams":
                    {"mode": filled.mode.as_str(), "link": filled.link, "vlan": filled.vlan},
                "uuid": nic.uuid,
            })
        };
        Ok(NewInstance {
            name: instance.name.to_string(),
            template,
            be: fill::instance_beparams(&config.cluster, instance),
            disks: disks
                .iter()
                .map(|disk| NewDisk {
                    size: disk.size,
                    mode: disk.mode,
                    spindles: disk.spindles.map(u64::from),
                })
                .collect(),
            room: counted.map(|disk| cluster_room(disk, group_name)).sum(),
            tags: instance.tags.clone(),
            os: instance.os.clone(),
            hypervisor: Some(instance.hypervisor),
            nics: instance.nics.iter().map(nic).collect(),
            networks: instance
                .nics
                .iter()
                .filter_map(|nic| nic.network.map(|network| network.to_string()))
                .collect(),
            group: Some(group),
        })
    }

    /// How many nodes it needs.
    pub fn nodes(&self) -> usize {
        self.template.required_nodes()
    }

    /// MiB its disks take altogether on a node, in Ganeti's way of counting.
    pub fn space(&self) -> u64 {
        space_total(self.template, self.disks.iter().map(|disk| disk.size))
    }

    /// As the library wants it: it will run.
    pub fn model(&self) -> model::Instance {
        let disk = |disk: &NewDisk| model::Disk {
            size: signed(disk.size),
            spindles: disk.spindles.map(signed),
        };
        model::Instance {
            name: self.name.clone(),
            memory: signed(self.be.maxmem),
            disk: self.room,
            disks: self.disks.iter().map(disk).collect(),
            vcpus: i64::from(self.be.vcpus),
            status: Status::Running,
            auto_balance: self.be.auto_balance,
            primary: NodeIdx::NONE,
            secondary: None,
            template: self.template,
            tags: self.tags.clone(),
            spindle_use: i64::from(self.be.spindle_use),
            forthcoming: false,
            utilisation: Utilisation::ONE,
            networks: self.networks.clone(),
        }
    }
}

/// MiB that disks of these sizes take on each of their nodes, in Ganeti's way of counting.
pub fn space_total(template: DiskTemplate, sizes: impl Iterator<Item = u64>) -> u64 {
    match template {
        DiskTemplate::Diskless => 0,
        DiskTemplate::Drbd => sizes.map(|size| size + META).sum(),
        _ => sizes.sum(),
    }
}

/// MiB that new disks take of the storage that is counted.
fn room(config: &Config, template: DiskTemplate, specs: &[DiskSpec]) -> Result<i64> {
    if !template.uses_lvm() {
        return Ok(signed(specs.iter().filter_map(|spec| spec.size).sum()));
    }
    // Where its metadata are may differ from group to group; any will do to count.
    let Some(node) = config.nodes.values().next() else { return Ok(0) };
    let wanted = space::wanted(config, node.uuid, template, specs)?;
    let counted = match usual_storage(config) {
        Some(Storage::Group(group)) => wanted.get(group).copied().unwrap_or(0),
        _ => 0,
    };
    Ok(signed(counted))
}

/// Network cards as the protocol has them, and the networks they are in.
fn nics(config: &Config, specs: &[NicSpec]) -> Result<(Vec<Value>, Vec<String>)> {
    let (mut nics, mut networks) = (Vec::new(), Vec::new());
    for spec in specs {
        let own = [("mode", &spec.mode), ("link", &spec.link), ("link", &spec.bridge)];
        let own = own.into_iter().filter_map(|(key, value)| {
            value.as_ref().map(|value| (key.to_owned(), Value::from(value.as_str())))
        });
        let filled = fill::nicparams(&config.cluster, &own.collect::<ParamMap>());
        let network = spec.network.as_deref().filter(|name| *name != "none");
        let network = network.map(|name| config.network(name).map(|n| n.uuid.to_string()));
        let network = network.transpose()?;
        networks.extend(network.clone());
        nics.push(json!({
            "mac": spec.mac.as_deref().unwrap_or("auto"),
            "ip": spec.ip.as_deref().filter(|ip| *ip != "none"),
            "network": network,
            "nicparams": {"mode": filled.mode.as_str(), "link": filled.link, "vlan": filled.vlan},
        }));
    }
    Ok((nics, networks))
}

/// Instances of these names; a request about none makes no sense.
pub fn named(config: &Config, names: &[String]) -> Result<Vec<Arc<Instance>>> {
    if names.is_empty() {
        return Err(Error::wrong_input("Name the instances that the request is about"));
    }
    names.iter().map(|name| config.instance(name).cloned()).collect()
}
