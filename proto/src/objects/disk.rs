//! Disks. A disk is a tree: a DRBD disk stands on two volumes on each of two nodes.

use super::ParamMap;
pub use crate::choices::DiskMode;
use crate::choices::DiskTemplate;
use crate::ids::{DiskId, NodeId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A disk of an instance, or a device below one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    pub uuid: DiskId,
    pub dev_type: DiskTemplate,
    #[serde(default)]
    pub logical_id: LogicalId,
    #[serde(default)]
    pub children: Vec<Disk>,
    /// The nodes it has data on; empty where any node reaches it.
    #[serde(default)]
    pub nodes: Vec<NodeId>,
    /// Its place in the instance: `disk/0`.
    #[serde(default)]
    pub iv_name: String,
    /// MiB.
    pub size: u64,
    #[serde(default)]
    pub mode: DiskMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spindles: Option<u32>,
    #[serde(default)]
    pub params: ParamMap,
    /// Where the sides of a mirror reach each other: the nodes' addresses for replication. Only in
    /// what a node is told, never stored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<NodeId, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forthcoming: Option<bool>,
    #[serde(default)]
    pub ctime: f64,
    #[serde(default)]
    pub mtime: f64,
    #[serde(default = "one")]
    pub serial_no: u64,
    #[serde(flatten)]
    pub extra: ParamMap,
}

fn one() -> u64 {
    1
}

/// Where a disk's data is, in the terms of its template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogicalId {
    /// DRBD: both nodes, port, minor on each, shared secret.
    Drbd(NodeId, NodeId, u16, u32, u32, String),
    /// (volume group, volume), (file driver, path), ("manual", device), ("rbd", image),
    /// (provider, volume).
    Pair(String, String),
    /// None, or one of a version we do not know.
    Other(Value),
}

impl Default for LogicalId {
    fn default() -> Self {
        LogicalId::Other(Value::Array(vec![]))
    }
}

impl Disk {
    /// The path of a disk that is a file (`file`, `sharedfile`, `gluster`) or an adopted device.
    pub fn path(&self) -> Option<&str> {
        match (&self.logical_id, self.dev_type) {
            (
                LogicalId::Pair(_, path),
                DiskTemplate::File
                | DiskTemplate::SharedFile
                | DiskTemplate::Gluster
                | DiskTemplate::BlockDev,
            ) => Some(path),
            _ => None,
        }
    }

    /// Image format of a file disk: its parameter `format`, `raw` or `qcow2`.
    pub fn format(&self) -> &str {
        self.params.get("format").and_then(Value::as_str).unwrap_or("raw")
    }
}
