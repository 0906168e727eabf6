//! What a node sees by itself.

use super::crypto::CryptoReport;
use super::question::{Acceleration, MirrorReport};
use crate::choices::Hypervisor;
use crate::ids::InstanceId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Told to whoever watches a node: first everything, then what changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "saw", rename_all = "kebab-case")]
pub enum Observation {
    /// All guests there are, and the node itself. Replaces everything known before.
    All { node: Box<NodeReport>, guests: Vec<GuestReport> },
    /// A guest appeared or changed.
    Guest { guest: GuestReport },
    /// A guest is gone.
    Gone { name: String, hypervisor: Hypervisor },
    /// The node itself, every few seconds: also the sign of life.
    Node { node: Box<NodeReport> },
    /// All mirrors of the node, when one of them has changed.
    Mirrors { mirrors: Vec<MirrorReport> },
}

/// A guest as its hypervisor sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestReport {
    pub name: String,
    /// As the hypervisor knows it; absent for guests that are not ours.
    #[serde(default)]
    pub uuid: Option<InstanceId>,
    pub hypervisor: Hypervisor,
    pub state: GuestState,
    /// MiB it has now.
    #[serde(default)]
    pub memory: u64,
    #[serde(default)]
    pub vcpus: u64,
    /// Seconds of CPU time used.
    #[serde(default)]
    pub cpu_time: f64,
}

/// What a guest is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestState {
    /// At work.
    Running,
    /// Stopped for a moment, memory kept.
    Paused,
    /// Being received: not here yet.
    Incoming,
    /// Defined, shut down from inside.
    Shutdown,
    /// Defined, died.
    Crashed,
}

impl GuestState {
    /// It holds memory here and may write to its disks.
    pub fn is_running(self) -> bool {
        matches!(self, GuestState::Running | GuestState::Paused)
    }
}

/// The state of a node. Memory and disk in MiB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Changes with every boot.
    pub boot_id: String,
    /// Seconds since 1970 on the node's clock.
    pub time: f64,
    /// Version of noded.
    pub version: String,
    pub memory_total: u64,
    /// Used by the node itself, without its guests.
    pub memory_dom0: u64,
    pub memory_free: u64,
    /// NUMA nodes, sockets, CPUs.
    pub cpu_nodes: u64,
    pub cpu_sockets: u64,
    pub cpu_total: u64,
    /// CPUs the node itself may use.
    pub cpu_dom0: u64,
    /// By storage directory: (total, free).
    #[serde(default)]
    pub storage: BTreeMap<String, (u64, u64)>,
    /// By volume group: (total, free).
    #[serde(default)]
    pub volume_groups: BTreeMap<String, (u64, u64)>,
    /// By volume group: physical volumes (total, those with nothing on them).
    #[serde(default)]
    pub spindles: BTreeMap<String, (u64, u64)>,
    /// By hypervisor: what it runs with, or why it does not work.
    #[serde(default)]
    pub hypervisors: BTreeMap<String, Acceleration>,
    /// Directories with hooks to run, as `instance-add-pre.d`.
    #[serde(default)]
    pub hooks: Vec<String>,
    /// Exports of instances that are here, by name.
    #[serde(default)]
    pub exports: Vec<String>,
    /// Its certificates and shared secrets.
    #[serde(default)]
    pub crypto: Option<CryptoReport>,
}
