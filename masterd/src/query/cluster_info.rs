//! The cluster's settings as one dict: what `gnt-cluster info` and `GET /2/info` show.

use super::group::{object, objects};
use crate::config::{Config, RELEASE};
use roost_proto::choices::DiskTemplate;
use roost_proto::objects::{CONFIG_VERSION, ParamMap};
use roost_proto::params::{FilledNic, fill};
use roost_proto::paths::Paths;
use serde_json::{Value, json};

/// The versions of formats and protocols.
#[derive(Debug)]
pub(super) struct Versions {
    pub protocol: u64,
    pub config: u64,
    pub os_api: u32,
    pub export: u32,
    pub vcs: &'static str,
}

/// Those of this build.
pub(super) const VERSIONS: Versions = Versions {
    protocol: CONFIG_VERSION,
    config: CONFIG_VERSION,
    os_api: 20,
    export: 0,
    vcs: concat!("(roost) version ", env!("CARGO_PKG_VERSION")),
};

/// Word size and name of the machine's architecture.
pub(super) fn architecture() -> Value {
    json!([format!("{}bits", usize::BITS), std::env::consts::ARCH])
}

/// Ganeti's cluster info. Parameters are merged with the built-in values; private OS parameters
/// are not shown.
pub fn cluster_info(config: &Config) -> Value {
    let Value::Object(mut info) = identity(config) else {
        unreachable!("written as an object below");
    };
    for part in [parameters(config), settings(config)] {
        let Value::Object(part) = part else { unreachable!("written as an object below") };
        info.extend(part);
    }
    Value::Object(info)
}

fn identity(config: &Config) -> Value {
    let c = &config.cluster;
    let paths = Paths::new(None);
    json!({
        "software_version": RELEASE,
        "protocol_version": VERSIONS.protocol,
        "config_version": VERSIONS.config,
        "os_api_version": VERSIONS.os_api,
        "export_version": VERSIONS.export,
        "vcs_version": VERSIONS.vcs,
        "architecture": architecture(),
        "name": c.cluster_name,
        "master": config.node_name(c.master_node),
        "ctime": c.ctime,
        "mtime": c.mtime,
        "uuid": c.uuid,
        "tags": c.tags,
        "os_search_path": paths.os_search_path(),
    })
}

fn parameters(config: &Config) -> Value {
    let c = &config.cluster;
    let hvparams = c.enabled_hypervisors.iter();
    let hvparams = hvparams.map(|hv| (hv.to_string(), object(fill::cluster_hvparams(c, *hv))));
    let os_hvp = c.os_hvp.iter().map(|(os, by_hv)| (os.clone(), objects(by_hv)));
    let diskparams = DiskTemplate::ALL.iter();
    let diskparams = diskparams.map(|t| (t.to_string(), object(fill::cluster_diskparams(c, *t))));
    let ndparams = fill::layers(
        roost_proto::params::value::defaults(roost_proto::params::node::TABLE),
        [Some(&c.ndparams)],
    );
    let nicparams: FilledNic = fill::nicparams(c, &ParamMap::new());
    let active = c.data_collectors.iter().map(|(name, one)| (name.clone(), one.active));
    let interval = c.data_collectors.iter().map(|(name, one)| (name.clone(), one.interval));
    json!({
        "default_hypervisor": c.default_hypervisor(),
        "enabled_hypervisors": c.enabled_hypervisors,
        "enabled_disk_templates": c.enabled_disk_templates,
        "hvparams": hvparams.collect::<Value>(),
        "os_hvp": os_hvp.collect::<Value>(),
        "beparams": {"default": object(fill::beparams_map(c, &ParamMap::new()))},
        "osparams": objects(&c.osparams),
        "ipolicy": object(fill::cluster_ipolicy(c).to_map()),
        "nicparams": {"default": object(nicparams.to_map())},
        "ndparams": object(ndparams),
        "diskparams": diskparams.collect::<Value>(),
        "enabled_data_collectors": active.collect::<Value>(),
        "data_collector_interval": interval.collect::<Value>(),
    })
}

fn settings(config: &Config) -> Value {
    let c = &config.cluster;
    json!({
        "candidate_pool_size": c.candidate_pool_size,
        "max_running_jobs": c.max_running_jobs,
        "max_tracked_jobs": c.max_tracked_jobs,
        "mac_prefix": c.mac_prefix,
        "master_netdev": c.master_netdev,
        "master_netmask": c.master_netmask,
        "use_external_mip_script": c.use_external_mip_script,
        "volume_group_name": c.volume_group_name,
        "drbd_usermode_helper": c.drbd_usermode_helper,
        "file_storage_dir": c.file_storage_dir,
        "shared_file_storage_dir": c.shared_file_storage_dir,
        "gluster_storage_dir": c.gluster_storage_dir,
        "maintain_node_health": c.maintain_node_health,
        "uid_pool": c.uid_pool,
        "default_iallocator": c.default_iallocator,
        "default_iallocator_params": object(c.default_iallocator_params.clone()),
        "reserved_lvs": c.reserved_lvs,
        // As C's address families are numbered: 2 is IPv4, 10 is IPv6.
        "primary_ip_version": if c.primary_ip_family == 10 { 6 } else { 4 },
        "prealloc_wipe_disks": c.prealloc_wipe_disks,
        "hidden_os": c.hidden_os,
        "blacklisted_os": c.blacklisted_os,
        "install_image": c.install_image,
        "instance_communication_network": c.instance_communication_network,
        "zeroing_image": c.zeroing_image,
        "compression_tools": c.compression_tools,
        "enabled_user_shutdown": c.enabled_user_shutdown,
        "modify_ssh_setup": c.modify_ssh_setup,
        "ssh_key_type": c.ssh_key_type,
        "ssh_key_bits": c.ssh_key_bits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::testing::world;

    /// Ganeti's keys.
    const KEYS: &str = "software_version protocol_version config_version os_api_version \
        export_version vcs_version architecture name master default_hypervisor enabled_hypervisors \
        hvparams os_hvp beparams osparams ipolicy nicparams ndparams diskparams \
        candidate_pool_size max_running_jobs max_tracked_jobs mac_prefix master_netdev \
        master_netmask use_external_mip_script volume_group_name drbd_usermode_helper \
        file_storage_dir shared_file_storage_dir gluster_storage_dir maintain_node_health ctime \
        mtime uuid tags uid_pool default_iallocator default_iallocator_params reserved_lvs \
        primary_ip_version prealloc_wipe_disks hidden_os blacklisted_os enabled_disk_templates \
        install_image instance_communication_network zeroing_image compression_tools \
        enabled_user_shutdown enabled_data_collectors data_collector_interval modify_ssh_setup \
        ssh_key_type ssh_key_bits";

    #[test]
    fn all_of_ganetis_keys_are_there() {
        let info = cluster_info(&world().config);
        for key in KEYS.split_whitespace() {
            assert!(info.get(key).is_some(), "{key} is missing");
        }
        assert_eq!(info.as_object().expect("a dict").len(), KEYS.split_whitespace().count() + 1);
    }

    #[test]
    fn values_are_as_recorded_from_ganeti() {
        let info = cluster_info(&world().config);
        let recorded = json!({
            "name": "clst.example.org", "master": "node1.example.org",
            "default_hypervisor": "kvm", "enabled_hypervisors": ["kvm"],
            "enabled_disk_templates": ["plain", "drbd"],
            "nicparams": {"default": {"mode": "bridged", "link": "br0", "vlan": ""}},
            "beparams": {"default": {
                "minmem": 128, "maxmem": 128, "vcpus": 1, "auto_balance": true,
                "always_failover": false, "spindle_use": 1
            }},
            "uuid": "eeeeeeee-0000-4000-8000-000000000001", "tags": ["env:test"],
            "primary_ip_version": 4, "uid_pool": [], "reserved_lvs": [],
            "volume_group_name": "vgtest", "drbd_usermode_helper": "/bin/true",
            "master_netmask": 32, "ctime": 1700000000.25, "default_iallocator": "hail",
            "compression_tools": ["gzip", "gzip-fast", "gzip-slow"],
        });
        for (key, value) in recorded.as_object().expect("a dict") {
            assert_eq!(&info[key], value, "{key}");
        }
        assert_eq!(info["enabled_data_collectors"]["lv"], false);
        assert_eq!(info["data_collector_interval"]["lv"], 60_000_000.0);
        assert_eq!(info["hvparams"].as_object().expect("a dict").len(), 1);
        assert_eq!(info["hvparams"]["kvm"]["acpi"], true, "merged with built-in values");
        assert_eq!(info["hvparams"]["kvm"]["kernel_path"], "", "the cluster's own value");
    }
}
