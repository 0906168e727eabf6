//! What is left of a node, and what it may be filled to.

use super::Options;
use crate::model::{Instance, Node, NodeIdx, Policy};

/// What a node may be filled to by checks that are not forced. Does not change.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Virtual CPUs for each CPU; negative: no limit.
    pub vcpu_ratio: f64,
    /// Spindles of instances.
    pub spindles: f64,
    /// MiB of disk that stay free.
    pub disk: i64,
}

impl Limits {
    pub(super) fn of(node: &Node, policy: &Policy, options: &Options) -> Limits {
        let vcpu_ratio = options.max_cpu.unwrap_or(policy.vcpu_ratio);
        let spindles = if node.exclusive_storage {
            node.spindles as f64
        } else {
            policy.spindle_ratio * node.spindles as f64
        };
        Limits { vcpu_ratio, spindles, disk: (options.min_disk * node.total_disk) as i64 }
    }
}

/// The largest three shares of reserved memory: enough to know the largest without any two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Top([(u32, i64); 3]);

impl Top {
    /// Of memory by node.
    pub fn of(row: &[i64]) -> Top {
        let mut top = Top([(u32::MAX, 0); 3]);
        for (at, memory) in row.iter().enumerate() {
            top.insert(NodeIdx::of(at), *memory);
        }
        top
    }

    /// One of those that it was found among is another now.
    pub fn update(&mut self, node: NodeIdx, row: &[i64]) {
        let memory = row[node.at()];
        match self.0.iter().find(|(other, _)| *other == node.0) {
            None => self.insert(node, memory),
            Some((_, was)) if *was == memory => {}
            // Which is next is not known any more.
            Some(_) => *self = Top::of(row),
        }
    }

    /// One that is not among them yet.
    #[inline]
    fn insert(&mut self, node: NodeIdx, memory: i64) {
        let [first, second, third] = self.0;
        let this = (node.0, memory);
        self.0 = match memory {
            _ if memory > first.1 => [this, first, second],
            _ if memory > second.1 => [first, this, second],
            _ if memory > third.1 => [first, second, this],
            _ => return,
        };
    }

    /// The largest share of the nodes but these.
    pub fn without(&self, one: Option<NodeIdx>, other: Option<NodeIdx>) -> i64 {
        let named = |node: u32| [one, other].into_iter().flatten().any(|n| n.0 == node);
        self.0.iter().find(|(node, _)| !named(*node)).map_or(0, |(_, memory)| *memory)
    }
}

/// What is left of a node. Memory and disk in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeState {
    /// Memory that is neither used nor promised.
    pub unallocated: i64,
    pub free_disk: i64,
    pub free_spindles: i64,
    pub used_spindles: i64,
    /// With the node's own.
    pub used_vcpus: i64,
    pub cpu_load: f64,
    pub memory_load: f64,
    pub disk_load: f64,
    pub net_load: f64,
    /// Memory needed if the worst other node fails.
    pub reserved: i64,
    /// Less is left than that.
    pub n1_fails: bool,
    pub primaries: u32,
    pub secondaries: u32,
    /// How often primaries share an exclusion tag.
    pub conflicts: i64,
    /// How far primaries are from where they want to be.
    pub location: i64,
    /// The same with instances that are only reserved yet.
    pub forth: Forth,
}

/// What is left of a node when all reserved instances have come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forth {
    pub free_memory: i64,
    pub free_disk: i64,
    pub free_spindles: i64,
    pub used_spindles: i64,
    pub used_vcpus: i64,
}

impl NodeState {
    /// Without instances, but for what the node reports.
    pub(super) fn given(node: &Node) -> NodeState {
        let (disk, spindles) = (node.free_disk, node.free_spindles);
        NodeState {
            free_disk: disk,
            free_spindles: spindles,
            used_vcpus: node.node_cpus,
            forth: Forth {
                free_memory: node.free_memory,
                free_disk: disk,
                free_spindles: spindles,
                used_vcpus: node.node_cpus,
                used_spindles: 0,
            },
            ..NodeState::default()
        }
    }

    /// An instance is here already: what nodes report has its disks in it, and its memory if it runs.
    pub(super) fn found_primary(&mut self, instance: &Instance, location: i64) {
        let vcpus = if instance.status.online() { instance.vcpus } else { 0 };
        let spindles = if instance.template.uses_lvm() { instance.spindle_use } else { 0 };
        self.forth.used_vcpus += vcpus;
        self.forth.used_spindles += spindles;
        if !instance.uses_memory() {
            self.forth.free_memory -= instance.memory;
        }
        if instance.forthcoming {
            self.forth_disk(instance, -1);
            return;
        }
        self.primaries += 1;
        self.used_vcpus += vcpus;
        self.used_spindles += spindles;
        self.location += location;
        self.add_load(instance, 1.0);
        if instance.uses_memory() {
            // Until `settle` knows the total.
            self.unallocated -= instance.memory;
        }
    }

    /// The mirror of an instance is here already.
    pub(super) fn found_secondary(&mut self, instance: &Instance) {
        self.forth.used_spindles += instance.spindle_use;
        if instance.forthcoming {
            self.forth_disk(instance, -1);
            return;
        }
        self.secondaries += 1;
        self.used_spindles += instance.spindle_use;
        self.disk_load += instance.utilisation.disk;
    }

    /// All instances were found.
    pub(super) fn settle(&mut self, node: &Node, reserved: i64) {
        let recorded = node.total_memory as i64 - node.node_memory + self.unallocated;
        let unaccounted = recorded - node.free_memory;
        self.unallocated = recorded - unaccounted.max(0);
        if node.exclusive_storage {
            (self.used_spindles, self.forth.used_spindles) = (0, 0);
        }
        self.reserved = reserved;
        self.judge();
    }

    /// Whether less is left than is reserved.
    pub(super) fn judge(&mut self) {
        self.n1_fails = self.unallocated <= self.reserved;
    }

    pub(super) fn forth_disk(&mut self, instance: &Instance, sign: i64) {
        if instance.template.uses_lvm() {
            self.forth.free_disk += sign * instance.disk;
            self.forth.free_spindles += sign * instance.disk_spindles().unwrap_or(0);
        }
    }

    pub(super) fn add_load(&mut self, instance: &Instance, sign: f64) {
        let load = &instance.utilisation;
        self.cpu_load += sign * load.cpu;
        self.memory_load += sign * load.memory;
        self.disk_load += sign * load.disk;
        self.net_load += sign * load.net;
    }
}
