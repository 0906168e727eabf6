//! Instance policies: what sizes are allowed, and how far nodes may be overcommitted.

use super::DiskTemplate;

/// A size of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    /// MiB.
    pub memory: i64,
    pub cpus: i64,
    /// MiB, of one disk.
    pub disk: i64,
    pub disks: i64,
    pub nics: i64,
    pub spindles: i64,
}

/// An allowed range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinMax {
    pub min: InstanceSpec,
    pub max: InstanceSpec,
}

/// A policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What capacity questions ask for.
    pub standard: InstanceSpec,
    /// An instance has to be within one of them.
    pub ranges: Vec<MinMax>,
    pub templates: Vec<DiskTemplate>,
    /// Virtual CPUs for each CPU, at most.
    pub vcpu_ratio: f64,
    /// Spindles of instances for each spindle, at most.
    pub spindle_ratio: f64,
}

/// Ganeti's smallest, which is also its standard.
const SMALLEST: InstanceSpec =
    InstanceSpec { memory: 128, cpus: 1, disk: 1024, disks: 1, nics: 1, spindles: 1 };
const LARGEST: InstanceSpec =
    InstanceSpec { memory: 32_768, cpus: 8, disk: 1_048_576, disks: 16, nics: 8, spindles: 12 };

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            standard: SMALLEST,
            ranges: vec![MinMax { min: SMALLEST, max: LARGEST }],
            templates: DiskTemplate::ALL.to_vec(),
            vcpu_ratio: 4.0,
            spindle_ratio: 32.0,
        }
    }
}
