//! Nodes as they are given.

use super::GroupIdx;

/// A node. Memory and disk in MiB.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    pub group: GroupIdx,
    pub total_memory: f64,
    /// Used by the node itself.
    pub node_memory: i64,
    /// As it reports it.
    pub free_memory: i64,
    /// 0: it has no storage of its own.
    pub total_disk: f64,
    pub free_disk: i64,
    pub total_cpus: f64,
    /// Used by the node itself.
    pub node_cpus: i64,
    /// Relative to others.
    pub cpu_speed: f64,
    pub spindles: i64,
    pub free_spindles: i64,
    /// Whole disks belong to one instance each.
    pub exclusive_storage: bool,
    /// Instances are to leave it, and none go there.
    pub offline: bool,
    pub master: bool,
    pub tags: Vec<String>,
}
