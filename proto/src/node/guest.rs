//! A guest as a node must run it: every parameter filled, nothing left to look up.

use crate::choices::{Hypervisor, NicMode};
use crate::ids::{InstanceId, NicId};
use crate::names::InstanceName;
use crate::objects::{Disk, ParamMap};
use serde::{Deserialize, Serialize};

/// All a hypervisor and the OS scripts need to know of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestSpec {
    pub uuid: InstanceId,
    pub name: InstanceName,
    pub hypervisor: Hypervisor,
    /// Filled: built-in, cluster, OS and instance values.
    pub hvparams: ParamMap,
    /// Filled. `maxmem` and `minmem` in MiB, `vcpus`, …
    pub beparams: ParamMap,
    #[serde(default)]
    pub nics: Vec<GuestNic>,
    /// In the order the guest sees them; parameters of each disk filled.
    #[serde(default)]
    pub disks: Vec<GuestDisk>,
    /// The port of its graphical console.
    #[serde(default)]
    pub network_port: Option<u16>,
    /// `name` or `name+variant`.
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Primary node and secondaries, by UUID as text: OS scripts are told.
    #[serde(default)]
    pub primary_node: String,
    #[serde(default)]
    pub secondary_nodes: Vec<String>,
    #[serde(default)]
    pub ctime: f64,
    #[serde(default)]
    pub mtime: f64,
}

impl GuestSpec {
    /// Memory at start, MiB.
    pub fn maxmem(&self) -> u64 {
        self.beparams.get("maxmem").and_then(serde_json::Value::as_u64).unwrap_or(128)
    }

    /// The lower limit of ballooning, MiB.
    pub fn minmem(&self) -> u64 {
        self.beparams.get("minmem").and_then(serde_json::Value::as_u64).unwrap_or(self.maxmem())
    }

    /// Virtual CPUs.
    pub fn vcpus(&self) -> u64 {
        self.beparams.get("vcpus").and_then(serde_json::Value::as_u64).unwrap_or(1)
    }
}

/// A disk of a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestDisk {
    /// 0 for the first.
    pub index: u32,
    /// Its device tree, with filled parameters.
    pub disk: Disk,
}

/// A network card of a guest, with filled parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestNic {
    pub index: u32,
    pub uuid: NicId,
    pub mac: String,
    #[serde(default)]
    pub ip: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    pub mode: NicMode,
    #[serde(default)]
    pub link: String,
    #[serde(default)]
    pub vlan: String,
    #[serde(default)]
    pub network: Option<NetworkInfo>,
}

/// The network a card belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInfo {
    pub name: String,
    pub uuid: String,
    #[serde(default)]
    pub tags: Vec<String>,
    pub subnet: String,
    #[serde(default)]
    pub gateway: Option<String>,
    #[serde(default)]
    pub subnet6: Option<String>,
    #[serde(default)]
    pub gateway6: Option<String>,
    #[serde(default)]
    pub mac_prefix: Option<String>,
}
