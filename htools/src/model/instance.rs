//! Instances as they are given.

use super::{DiskTemplate, NodeIdx, Status};
use roost_proto::capabilities::Mirroring;

/// A disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// MiB.
    pub size: i64,
    pub spindles: Option<i64>,
}

/// What an instance does with its resources, in units of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Utilisation {
    pub cpu: f64,
    pub memory: f64,
    pub disk: f64,
    pub net: f64,
}

impl Utilisation {
    /// What is assumed when nothing is known.
    pub const ONE: Utilisation = Utilisation { cpu: 1.0, memory: 1.0, disk: 1.0, net: 1.0 };
    /// Nothing.
    pub const ZERO: Utilisation = Utilisation { cpu: 0.0, memory: 0.0, disk: 0.0, net: 0.0 };
}

/// An instance. Memory and disk in MiB.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub name: String,
    pub memory: i64,
    /// Of all disks together.
    pub disk: i64,
    pub disks: Vec<Disk>,
    pub vcpus: i64,
    pub status: Status,
    pub auto_balance: bool,
    /// [`NodeIdx::NONE`]: it has no place yet.
    pub primary: NodeIdx,
    pub secondary: Option<NodeIdx>,
    pub template: DiskTemplate,
    pub tags: Vec<String>,
    pub spindle_use: i64,
    /// Reserved, and not there yet.
    pub forthcoming: bool,
    pub utilisation: Utilisation,
    /// UUIDs of the networks of its NICs.
    pub networks: Vec<String>,
}

impl Instance {
    /// Whether it takes memory of its node now.
    pub fn uses_memory(&self) -> bool {
        !self.forthcoming && self.status.uses_memory()
    }

    /// The memory its secondary has to keep for it, MiB.
    pub fn secondary_memory(&self) -> i64 {
        if self.status.online() && self.auto_balance { self.memory } else { 0 }
    }

    /// Whether it can be moved at all.
    pub fn movable(&self) -> bool {
        let template = self.template;
        template != DiskTemplate::Diskless && template.mirroring() != Mirroring::None
    }

    /// The spindles of its disks, if they are known.
    pub fn disk_spindles(&self) -> Option<i64> {
        self.disks.iter().map(|disk| disk.spindles).sum()
    }
}
