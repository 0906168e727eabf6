//! An instance as nodes must see it: all parameters filled.

use crate::config::Config;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{GuestDisk, GuestNic, GuestSpec, InstanceRef, NetworkInfo};
use roost_proto::objects::{Disk, Instance, Nic};
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

/// Disks with the parameters of their template on a node's group below their own.
pub fn filled_disks(config: &Config, node: NodeId, disks: &[Disk]) -> Result<Vec<Disk>> {
    let node = config.node_by_id(node)?;
    let group = config
        .groups
        .get(&node.group)
        .ok_or_else(|| Error::internal(format!("Node {} is in no group", node.name)))?;
    fn filled(config: &Config, group: &roost_proto::objects::NodeGroup, disk: &Disk) -> Disk {
        let mut disk = disk.clone();
        let base = fill::diskparams(&config.cluster, group, disk.dev_type);
        disk.params = fill::layers(base, [Some(&disk.params)]);
        disk.children = disk.children.iter().map(|child| filled(config, group, child)).collect();
        disk
    }
    Ok(disks.iter().map(|disk| filled(config, group, disk)).collect())
}

/// The stored disks of an instance, filled.
pub fn disks(config: &Config, instance: &Instance) -> Result<Vec<Disk>> {
    let stored: Vec<Arc<Disk>> = config.disks_of(instance);
    let stored: Vec<Disk> = stored.iter().map(|d| (**d).clone()).collect();
    filled_disks(config, instance.primary_node, &stored)
}
