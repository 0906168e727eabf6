//! An instance as nodes must see it: all parameters filled.

use crate::config::Config;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{GuestDisk, GuestNic, GuestSpec, InstanceRef, NetworkInfo};
use roost_proto::objects::{Cluster, Disk, Instance, Nic, NodeGroup};
use roost_proto::params::fill;
use std::sync::Arc;

/// Names an instance for a node.
pub fn instance_ref(instance: &Instance) -> InstanceRef {
    InstanceRef { uuid: instance.uuid, name: instance.name.clone() }
}

/// A stored instance with its stored disks.
pub fn guest(config: &Config, instance: &Instance) -> Result<GuestSpec> {
    let disks: Vec<Disk> = config.disks_of(instance).iter().map(|d| (**d).clone()).collect();
    guest_with(config, instance, &disks)
}

/// An instance that may not be stored yet, with these disks.
pub fn guest_with(config: &Config, instance: &Instance, disks: &[Disk]) -> Result<GuestSpec> {
    let primary = config.node_by_id(instance.primary_node)?;
    let disks = filled_disks(config, primary.uuid, disks)?;
    let nics = instance.nics.iter().enumerate();
    let nics = nics.map(|(index, nic)| guest_nic(config, nic, index)).collect::<Result<_>>()?;
    let secondaries = config.secondaries(instance);
    Ok(GuestSpec {
        uuid: instance.uuid,
        name: instance.name.clone(),
        hypervisor: instance.hypervisor,
        hvparams: fill::instance_hvparams(&config.cluster, instance),
        beparams: fill::beparams_map(&config.cluster, &instance.beparams),
        nics,
        disks: disks
            .into_iter()
            .enumerate()
            .map(|(index, disk)| GuestDisk { index: index as u32, disk })
            .collect(),
        network_port: instance.network_port,
        os: instance.os.clone(),
        tags: instance.tags.clone(),
        primary_node: instance.primary_node.to_string(),
        secondary_nodes: secondaries.iter().map(ToString::to_string).collect(),
        ctime: instance.ctime,
        mtime: instance.mtime,
    })
}

/// A network card with its parameters, and the network it is in.
pub fn guest_nic(config: &Config, nic: &Nic, index: usize) -> Result<GuestNic> {
    let params = fill::nic_params(&config.cluster, nic);
    let network = match &nic.network {
        None => None,
        Some(id) => {
            let network = config.networks.get(id).ok_or_else(|| {
                Error::internal(format!("Network {id} of NIC {} does not exist", nic.uuid))
            })?;
            Some(NetworkInfo {
                name: network.name.to_string(),
                uuid: network.uuid.to_string(),
                tags: network.tags.clone(),
                subnet: network.network.clone(),
                gateway: network.gateway.clone(),
                subnet6: network.network6.clone(),
                gateway6: network.gateway6.clone(),
                mac_prefix: network.mac_prefix.clone(),
            })
        }
    };
    Ok(GuestNic {
        index: index as u32,
        uuid: nic.uuid,
        mac: nic.mac.clone(),
        ip: nic.ip.clone(),
        name: nic.name.clone(),
        mode: params.mode,
        link: params.link,
        vlan: params.vlan,
        network,
    })
}

/// Disks as nodes are told of them when `node` runs their instance: with the parameters of all
/// layers below their own, devices below them, too, and where the sides of mirrors reach each
/// other.
pub fn filled_disks(config: &Config, node: NodeId, disks: &[Disk]) -> Result<Vec<Disk>> {
    let node = config.node_by_id(node)?;
    let group = config
        .groups
        .get(&node.group)
        .ok_or_else(|| Error::internal(format!("Node {} is in no group", node.name)))?;
    let exclusive = fill::ndparams(&config.cluster, group, node).exclusive_storage;
    let filled = |disk: &Disk| -> Result<Disk> {
        let mut disk = disk.clone();
        fill_disk(&config.cluster, group, exclusive, &mut disk);
        if disk.dev_type == DiskTemplate::Drbd {
            for id in disk.nodes.clone() {
                disk.addresses.insert(id, config.node_by_id(id)?.secondary_ip.clone());
            }
        }
        Ok(disk)
    };
    disks.iter().map(filled).collect()
}

fn fill_disk(cluster: &Cluster, group: &NodeGroup, exclusive: bool, disk: &mut Disk) {
    let base = fill::diskparams(cluster, group, disk.dev_type);
    disk.params = fill::layers(base, [Some(&disk.params)]);
    if exclusive && disk.dev_type == DiskTemplate::Plain {
        disk.params.insert(EXCLUSIVE_STORAGE.into(), true.into());
    }
    for (place, child) in disk.children.iter_mut().enumerate() {
        fill_disk(cluster, group, false, child);
        // The volumes below a mirror are striped as the mirror's parameters say.
        let stripes = disk.params.get(if place == 0 { "data-stripes" } else { "meta-stripes" });
        if let (DiskTemplate::Drbd, Some(stripes)) = (disk.dev_type, stripes) {
            child.params.insert("stripes".into(), stripes.clone());
            // A mirror is written in full when it is made: nothing of it would be thin.
            child.params.insert("thin-pool".into(), "".into());
        }
    }
}

/// In filled disks only: the volume gets physical volumes of its own.
const EXCLUSIVE_STORAGE: &str = "exclusive_storage";

/// The stored disks of an instance, filled.
pub fn disks(config: &Config, instance: &Instance) -> Result<Vec<Disk>> {
    let stored: Vec<Arc<Disk>> = config.disks_of(instance);
    let stored: Vec<Disk> = stored.iter().map(|d| (**d).clone()).collect();
    filled_disks(config, instance.primary_node, &stored)
}
