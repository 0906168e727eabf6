//! What a new cluster is made from.

use crate::choices::{DiskTemplate, Hypervisor};
use crate::names::{ClusterName, NodeName};
use crate::objects::ParamMap;
use crate::store::StoreSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `gnt-cluster init` hands this to masterd, as JSON on its standard input. Only names and
/// addresses are needed; everything else has Ganeti's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitSpec {
    pub cluster_name: ClusterName,
    /// The address of the cluster's name.
    pub master_ip: String,
    pub node_name: NodeName,
    pub node_ip: String,
    #[serde(default)]
    pub secondary_ip: Option<String>,
    /// Ganeti's default is xen-pvm; ours is kvm.
    #[serde(default = "kvm")]
    pub enabled_hypervisors: Vec<Hypervisor>,
    #[serde(default = "templates")]
    pub enabled_disk_templates: Vec<DiskTemplate>,
    /// By hypervisor.
    #[serde(default)]
    pub hvparams: BTreeMap<String, ParamMap>,
    #[serde(default)]
    pub beparams: ParamMap,
    #[serde(default)]
    pub nicparams: ParamMap,
    #[serde(default)]
    pub ndparams: ParamMap,
    /// By disk template.
    #[serde(default)]
    pub diskparams: BTreeMap<String, ParamMap>,
    /// Overrides of the built-in policy.
    #[serde(default)]
    pub ipolicy: ParamMap,
    #[serde(default = "ten")]
    pub candidate_pool_size: u32,
    #[serde(default = "mac_prefix")]
    pub mac_prefix: String,
    #[serde(default = "netdev")]
    pub master_netdev: String,
    /// Prefix length; by default that of a single host.
    #[serde(default)]
    pub master_netmask: Option<u32>,
    #[serde(default = "file_dir")]
    pub file_storage_dir: String,
    #[serde(default = "shared_file_dir")]
    pub shared_file_storage_dir: String,
    #[serde(default)]
    pub gluster_storage_dir: String,
    #[serde(default)]
    pub volume_group_name: Option<String>,
    #[serde(default)]
    pub drbd_usermode_helper: Option<String>,
    #[serde(default)]
    pub maintain_node_health: bool,
    #[serde(default)]
    pub prealloc_wipe_disks: bool,
    #[serde(default)]
    pub modify_etc_hosts: bool,
    #[serde(default)]
    pub modify_ssh_setup: bool,
    #[serde(default)]
    pub use_external_mip_script: bool,
    #[serde(default)]
    pub enabled_user_shutdown: bool,
    #[serde(default)]
    pub default_iallocator: String,
    #[serde(default)]
    pub default_iallocator_params: ParamMap,
    #[serde(default)]
    pub uid_pool: Vec<(u32, u32)>,
    #[serde(default)]
    pub install_image: String,
    #[serde(default)]
    pub zeroing_image: String,
    #[serde(default)]
    pub compression_tools: Vec<String>,
    /// Where the configuration and the jobs are kept.
    #[serde(default)]
    pub store: StoreSettings,
}

fn kvm() -> Vec<Hypervisor> {
    vec![Hypervisor::Kvm]
}

fn templates() -> Vec<DiskTemplate> {
    vec![DiskTemplate::SharedFile, DiskTemplate::File, DiskTemplate::Diskless]
}

fn ten() -> u32 {
    10
}

fn mac_prefix() -> String {
    "aa:00:00".into()
}

fn netdev() -> String {
    "br0".into()
}

fn file_dir() -> String {
    "/srv/ganeti/file-storage".into()
}

fn shared_file_dir() -> String {
    "/srv/ganeti/shared-file-storage".into()
}
