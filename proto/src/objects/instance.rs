//! Instances: the virtual machines.

use super::{Nic, ParamMap};
use crate::choices::{AdminState, AdminStateSource, Hypervisor};
use crate::ids::{DiskId, InstanceId, NodeId};
use crate::names::InstanceName;
use serde::{Deserialize, Serialize};

/// One virtual machine. Parameters are only those that differ from the cluster's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub uuid: InstanceId,
    pub name: InstanceName,
    pub primary_node: NodeId,
    /// `name` or `name+variant`.
    #[serde(default)]
    pub os: String,
    pub hypervisor: Hypervisor,
    #[serde(default)]
    pub hvparams: ParamMap,
    #[serde(default)]
    pub beparams: ParamMap,
    #[serde(default)]
    pub osparams: ParamMap,
    /// Never shown nor logged.
    #[serde(default)]
    pub osparams_private: ParamMap,
    /// What it should be doing.
    pub admin_state: AdminState,
    #[serde(default)]
    pub admin_state_source: AdminStateSource,
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// In the order the guest sees them.
    #[serde(default)]
    pub disks: Vec<DiskId>,
    /// Its disks should be usable on the primary node.
    #[serde(default)]
    pub disks_active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_port: Option<u16>,
    /// Only reserved: it has no disks yet.
    #[serde(default)]
    pub forthcoming: bool,
    pub ctime: f64,
    pub mtime: f64,
    pub serial_no: u64,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(flatten)]
    pub extra: ParamMap,
}
