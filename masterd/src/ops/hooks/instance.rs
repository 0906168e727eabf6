//! What scripts are told about an instance.

use super::env::{Vars, joined, text};
use crate::config::Config;
use roost_proto::choices::DiskTemplate;
use roost_proto::choices::NicMode;
use roost_proto::objects::{Disk, Instance, LogicalId, Nic};
use roost_proto::params::fill;

/// All variables about an instance. `config` is the one that has its disks.
pub fn vars(config: &Config, instance: &Instance) -> Vars {
    let cluster = &config.cluster;
    let template = config.disk_template(instance).map_or("mixed", DiskTemplate::as_str);
    let secondaries: Vec<_> =
        config.secondaries(instance).into_iter().map(|node| config.node_name(node)).collect();
    let mut vars = super::env::vars([
        ("OP_TARGET", instance.name.to_string()),
        ("INSTANCE_NAME", instance.name.to_string()),
        ("INSTANCE_PRIMARY", config.node_name(instance.primary_node)),
        ("INSTANCE_SECONDARIES", secondaries.join(" ")),
        ("INSTANCE_OS_TYPE", instance.os.clone()),
        ("INSTANCE_STATUS", instance.admin_state.to_string()),
        ("INSTANCE_DISK_TEMPLATE", template.to_owned()),
        ("INSTANCE_HYPERVISOR", instance.hypervisor.to_string()),
        ("INSTANCE_TAGS", joined(&instance.tags)),
    ]);
    sizes(&mut vars, config, instance);
    nics(&mut vars, config, &instance.nics);
    let disks = config.disks_of(instance);
    vars.insert("INSTANCE_DISK_COUNT".into(), disks.len().to_string());
    for (index, disk) in disks.iter().enumerate() {
        for (name, value) in disk_vars(config, disk) {
            vars.insert(format!("INSTANCE_DISK{index}_{name}"), value);
        }
    }
    let beparams = fill::beparams_map(cluster, &instance.beparams);
    vars.extend(beparams.iter().map(|(name, v)| (format!("INSTANCE_BE_{name}"), text(v))));
    let hvparams = fill::instance_hvparams(cluster, instance);
    vars.extend(hvparams.iter().map(|(name, v)| (format!("INSTANCE_HV_{name}"), text(v))));
    vars
}

/// Memory and CPUs. `INSTANCE_MEMORY` is for scripts older than minimum and maximum.
pub fn sizes(vars: &mut Vars, config: &Config, instance: &Instance) {
    let be = fill::instance_beparams(&config.cluster, instance);
    for (name, value) in [
        ("INSTANCE_MINMEM", be.minmem),
        ("INSTANCE_MAXMEM", be.maxmem),
        ("INSTANCE_MEMORY", be.maxmem),
        ("INSTANCE_VCPUS", be.vcpus.into()),
    ] {
        vars.insert(name.into(), value.to_string());
    }
}

/// Network cards, instead of those in `vars`.
pub fn nics(vars: &mut Vars, config: &Config, nics: &[Nic]) {
    vars.retain(|name, _| !name.starts_with("INSTANCE_NIC"));
    vars.insert("INSTANCE_NIC_COUNT".into(), nics.len().to_string());
    for (index, nic) in nics.iter().enumerate() {
        for (name, value) in nic_vars(config, nic) {
            vars.insert(format!("INSTANCE_NIC{index}_{name}"), value);
        }
    }
}

fn nic_vars(config: &Config, nic: &Nic) -> Vec<(&'static str, String)> {
    let params = fill::nic_params(&config.cluster, nic);
    let mut vars = vec![
        ("UUID", nic.uuid.to_string()),
        ("IP", nic.ip.clone().unwrap_or_default()),
        ("MAC", nic.mac.clone()),
        ("MODE", params.mode.to_string()),
        ("LINK", params.link.clone()),
        ("VLAN", params.vlan.clone()),
    ];
    vars.extend(nic.name.clone().map(|name| ("NAME", name)));
    if params.mode == NicMode::Bridged {
        vars.push(("BRIDGE", params.link));
    }
    if let Some(network) = nic.network.and_then(|id| config.networks.get(&id)) {
        vars.push(("NETWORK_NAME", network.name.to_string()));
        vars.push(("NETWORK_UUID", network.uuid.to_string()));
        vars.push(("NETWORK_TAGS", joined(&network.tags)));
        let optional = [
            ("NETWORK_SUBNET", Some(network.network.clone())),
            ("NETWORK_GATEWAY", network.gateway.clone()),
            ("NETWORK_SUBNET6", network.network6.clone()),
            ("NETWORK_GATEWAY6", network.gateway6.clone()),
            ("NETWORK_MAC_PREFIX", network.mac_prefix.clone()),
        ];
        vars.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    }
    vars
}

fn disk_vars(config: &Config, disk: &Disk) -> Vec<(&'static str, String)> {
    let mut vars = vec![
        ("UUID", disk.uuid.to_string()),
        ("SIZE", disk.size.to_string()),
        ("MODE", disk.mode.to_string()),
        ("DEV_TYPE", disk.dev_type.to_string()),
    ];
    vars.extend(disk.name.clone().map(|name| ("NAME", name)));
    match &disk.logical_id {
        LogicalId::Pair(first, id) => {
            let name = match disk.dev_type {
                DiskTemplate::Plain => "VG",
                DiskTemplate::Ext => "PROVIDER",
                _ => "DRIVER",
            };
            vars.extend([(name, first.clone()), ("ID", id.clone())]);
        }
        LogicalId::Drbd(primary, secondary, port, minor, other_minor, _) => {
            vars.extend([
                ("PRIMARY_NODE", config.node_name(*primary)),
                ("PRIMARY_MINOR", minor.to_string()),
                ("SECONDARY_NODE", config.node_name(*secondary)),
                ("SECONDARY_MINOR", other_minor.to_string()),
                ("PORT", port.to_string()),
            ]);
            let volumes = [("DATA_VG", "DATA_ID"), ("META_VG", "META_ID")];
            for ((group, id), child) in volumes.into_iter().zip(&disk.children) {
                if let LogicalId::Pair(vg, volume) = &child.logical_id {
                    vars.extend([(group, vg.clone()), (id, volume.clone())]);
                }
            }
        }
        LogicalId::Other(_) => {}
    }
    vars
}
