//! Nodes: the physical machines.

use super::ParamMap;
use crate::ids::{GroupId, NodeId};
use crate::names::NodeName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One physical machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub uuid: NodeId,
    pub name: NodeName,
    pub primary_ip: String,
    pub secondary_ip: String,
    /// Holds the whole configuration and may become master.
    pub master_candidate: bool,
    /// Not contacted at all.
    pub offline: bool,
    /// Keeps running what it has, gets nothing new.
    pub drained: bool,
    pub group: GroupId,
    pub master_capable: bool,
    pub vm_capable: bool,
    #[serde(default)]
    pub ndparams: ParamMap,
    #[serde(default = "yes")]
    pub powered: bool,
    #[serde(default)]
    pub hv_state_static: Value,
    #[serde(default)]
    pub disk_state_static: Value,
    pub ctime: f64,
    pub mtime: f64,
    pub serial_no: u64,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(flatten)]
    pub extra: ParamMap,
}

fn yes() -> bool {
    true
}

/// What a node is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    Master,
    Candidate,
    Regular,
    Drained,
    Offline,
}

impl NodeRole {
    /// Ganeti's letter: M C R D O.
    pub fn letter(self) -> &'static str {
        match self {
            NodeRole::Master => "M",
            NodeRole::Candidate => "C",
            NodeRole::Regular => "R",
            NodeRole::Drained => "D",
            NodeRole::Offline => "O",
        }
    }
}

impl Node {
    /// The node's role, given who is master.
    pub fn role(&self, master: NodeId) -> NodeRole {
        if self.uuid == master {
            NodeRole::Master
        } else if self.offline {
            NodeRole::Offline
        } else if self.drained {
            NodeRole::Drained
        } else if self.master_candidate {
            NodeRole::Candidate
        } else {
            NodeRole::Regular
        }
    }
}
