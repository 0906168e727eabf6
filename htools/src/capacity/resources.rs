//! What a cluster has, and what of it is used.

use crate::model::{InstanceIdx, NodeIdx};
use crate::score::Score;
use crate::state::Placement;

/// Sums over all nodes. Memory and disk in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    pub free_memory: i64,
    pub free_disk: i64,
    pub free_spindles: i64,
    /// Free and not reserved.
    pub available_memory: i64,
    pub available_disk: i64,
    /// Of the node that has most of it.
    pub largest_memory: i64,
    pub largest_disk: i64,
    pub used_memory: i64,
    pub used_disk: i64,
    pub used_spindles: i64,
    pub used_vcpus: i64,
    /// In units of real CPUs.
    pub used_cpus: f64,
    pub total_memory: f64,
    pub total_disk: f64,
    pub total_spindles: f64,
    pub total_cpus: f64,
    pub total_vcpus: i64,
    /// Memory that nobody accounts for, and that of the nodes themselves.
    pub overhead_memory: i64,
    pub instances: usize,
    pub score: f64,
}

impl Resources {
    /// Of a placement.
    pub fn of(placement: &Placement) -> Resources {
        let cluster = placement.cluster();
        let count = cluster.nodes.len();
        let (mut given, mut now) = (vec![0; count], vec![0; count]);
        let mut touched = vec![false; count];
        for (at, instance) in cluster.instances.iter().enumerate() {
            let index = InstanceIdx::of(at);
            let (primary, secondary) = (placement.primary(index), placement.secondary(index));
            if (primary, secondary) != (instance.primary, instance.secondary) {
                for node in [Some(primary), secondary].into_iter().flatten() {
                    if node != NodeIdx::NONE {
                        touched[node.at()] = true;
                    }
                }
            }
            let memory = if instance.uses_memory() { instance.memory } else { 0 };
            for (sums, node) in [(&mut given, instance.primary), (&mut now, primary)] {
                if node != NodeIdx::NONE {
                    sums[node.at()] += memory;
                }
            }
        }
        let mut sums = Resources::default();
        for (at, node) in cluster.nodes.iter().enumerate() {
            let index = NodeIdx::of(at);
            let (state, limits) = (placement.node(index), placement.limits(index));
            let available = (state.unallocated - state.reserved).max(0);
            let disk = (state.free_disk - limits.disk).max(0);
            let spindles = node.spindles;
            // Spindles that are shared are not free any more as soon as anybody comes.
            let shared = touched[at] && !node.exclusive_storage;
            let free_spindles = if shared { 0 } else { state.free_spindles };
            sums.free_memory += state.unallocated;
            sums.free_disk += state.free_disk;
            sums.free_spindles += free_spindles;
            sums.available_memory += available;
            sums.available_disk += disk;
            sums.largest_memory = sums.largest_memory.max(available);
            sums.largest_disk = sums.largest_disk.max(disk);
            sums.used_memory += now[at];
            sums.used_disk += node.total_disk as i64 - state.free_disk;
            sums.used_spindles += spindles - free_spindles;
            sums.used_vcpus += state.used_vcpus;
            sums.used_cpus += state.used_vcpus as f64 / limits.vcpu_ratio;
            sums.total_memory += node.total_memory;
            sums.total_disk += node.total_disk;
            sums.total_spindles += spindles as f64;
            sums.total_cpus += node.total_cpus;
            sums.total_vcpus += (limits.vcpu_ratio * node.total_cpus).floor() as i64;
            let recorded = node.total_memory as i64 - node.node_memory - given[at];
            sums.overhead_memory += recorded - node.free_memory + node.node_memory;
            sums.instances += state.primaries as usize;
        }
        let all: Vec<NodeIdx> = (0..count).map(NodeIdx::of).collect();
        sums.score = Score::of(placement, &all).total;
        sums
    }

    /// The share of memory that instances use.
    pub fn memory_efficiency(&self) -> f64 {
        self.used_memory as f64 / self.total_memory
    }

    /// The share of disk.
    pub fn disk_efficiency(&self) -> f64 {
        self.used_disk as f64 / self.total_disk
    }

    /// The share of virtual CPUs.
    pub fn vcpu_efficiency(&self) -> f64 {
        self.used_vcpus as f64 / self.total_vcpus as f64
    }

    /// The share of spindles.
    pub fn spindle_efficiency(&self) -> f64 {
        self.used_spindles as f64 / self.total_spindles
    }

    /// What is used here, what was added since, what is left of it then.
    pub fn delta(&self, after: &Resources) -> [Delta; 3] {
        let used = |sums: &Resources| Delta {
            vcpus: sums.used_vcpus,
            cpus: sums.used_cpus,
            memory: sums.used_memory,
            disk: sums.used_disk,
            spindles: sums.used_spindles,
        };
        let all = Delta {
            vcpus: after.total_vcpus,
            cpus: after.total_cpus,
            memory: after.total_memory as i64,
            disk: after.total_disk as i64,
            spindles: after.total_spindles as i64,
        };
        let less = |one: Delta, other: Delta| Delta {
            vcpus: one.vcpus - other.vcpus,
            cpus: one.cpus - other.cpus,
            memory: one.memory - other.memory,
            disk: one.disk - other.disk,
            spindles: one.spindles - other.spindles,
        };
        [used(self), less(used(after), used(self)), less(all, used(after))]
    }
}

/// An amount of everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delta {
    pub vcpus: i64,
    pub cpus: f64,
    pub memory: i64,
    pub disk: i64,
    pub spindles: i64,
}
