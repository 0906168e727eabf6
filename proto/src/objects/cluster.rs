//! The cluster object: defaults and settings that hold for all.

use super::{Balancer, Crypto, ParamMap};
use crate::choices::{DiskTemplate, Hypervisor};
use crate::ids::{ClusterId, NodeId};
use crate::names::ClusterName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The one cluster object. Sizes in MiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub uuid: ClusterId,
    pub cluster_name: ClusterName,
    pub ctime: f64,
    pub mtime: f64,
    pub serial_no: u64,
    #[serde(default)]
    pub tags: Vec<String>,

    pub master_node: NodeId,
    pub master_ip: String,
    pub master_netdev: String,
    pub master_netmask: u32,
    #[serde(default)]
    pub use_external_mip_script: bool,
    /// 2 for IPv4, 10 for IPv6, as in C.
    pub primary_ip_family: u32,

    #[serde(default)]
    pub rsahostkeypub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dsahostkeypub: Option<String>,
    pub highest_used_port: u16,
    #[serde(default)]
    pub tcpudp_port_pool: Vec<u16>,
    pub mac_prefix: String,

    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_group_name: Option<String>,
    #[serde(default)]
    pub reserved_lvs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drbd_usermode_helper: Option<String>,
    #[serde(default)]
    pub file_storage_dir: String,
    #[serde(default)]
    pub shared_file_storage_dir: String,
    #[serde(default)]
    pub gluster_storage_dir: String,
    #[serde(default)]
    pub prealloc_wipe_disks: bool,

    /// Enabled ones; the first is the default.
    pub enabled_hypervisors: Vec<Hypervisor>,
    /// Enabled ones; the first is the default.
    pub enabled_disk_templates: Vec<DiskTemplate>,

    /// By hypervisor.
    #[serde(default)]
    pub hvparams: BTreeMap<String, ParamMap>,
    /// By OS, then by hypervisor.
    #[serde(default)]
    pub os_hvp: BTreeMap<String, BTreeMap<String, ParamMap>>,
    /// Only `default` is used.
    #[serde(default)]
    pub beparams: BTreeMap<String, ParamMap>,
    /// By OS.
    #[serde(default)]
    pub osparams: BTreeMap<String, ParamMap>,
    /// By OS. Never shown.
    #[serde(default)]
    pub osparams_private_cluster: BTreeMap<String, ParamMap>,
    /// Only `default` is used.
    #[serde(default)]
    pub nicparams: BTreeMap<String, ParamMap>,
    #[serde(default)]
    pub ndparams: ParamMap,
    /// By disk template.
    #[serde(default)]
    pub diskparams: BTreeMap<String, ParamMap>,
    #[serde(default)]
    pub ipolicy: ParamMap,
    #[serde(default)]
    pub hv_state_static: Value,
    #[serde(default)]
    pub disk_state_static: Value,

    pub candidate_pool_size: u32,
    #[serde(default)]
    pub candidate_certs: BTreeMap<NodeId, String>,
    /// Whom nodes trust, and what they share. Not in Ganeti.
    #[serde(default, skip_serializing_if = "Crypto::is_empty")]
    pub crypto: Crypto,
    /// Instances move by themselves. Not in Ganeti.
    #[serde(default, skip_serializing_if = "Balancer::is_default")]
    pub balancer: Balancer,
    #[serde(default)]
    pub modify_etc_hosts: bool,
    #[serde(default)]
    pub modify_ssh_setup: bool,
    #[serde(default)]
    pub ssh_key_type: String,
    #[serde(default)]
    pub ssh_key_bits: u32,
    #[serde(default)]
    pub maintain_node_health: bool,
    #[serde(default)]
    pub uid_pool: Vec<(u32, u32)>,
    #[serde(default)]
    pub default_iallocator: String,
    #[serde(default)]
    pub default_iallocator_params: ParamMap,
    #[serde(default)]
    pub hidden_os: Vec<String>,
    #[serde(default)]
    pub blacklisted_os: Vec<String>,
    pub max_running_jobs: u32,
    pub max_tracked_jobs: u32,
    #[serde(default)]
    pub install_image: String,
    #[serde(default)]
    pub instance_communication_network: String,
    #[serde(default)]
    pub zeroing_image: String,
    #[serde(default)]
    pub compression_tools: Vec<String>,
    #[serde(default)]
    pub enabled_user_shutdown: bool,
    #[serde(default)]
    pub data_collectors: BTreeMap<String, CollectorConfig>,

    /// Fields of other versions, kept as they are.
    #[serde(flatten)]
    pub extra: ParamMap,
}

/// One monitoring collector's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectorConfig {
    pub active: bool,
    /// Microseconds.
    pub interval: f64,
}

impl Cluster {
    /// The hypervisor of instances that name none.
    pub fn default_hypervisor(&self) -> Option<Hypervisor> {
        self.enabled_hypervisors.first().copied()
    }

    /// The disk template of instances that name none.
    pub fn default_disk_template(&self) -> Option<DiskTemplate> {
        self.enabled_disk_templates.first().copied()
    }
}
