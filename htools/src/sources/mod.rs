//! Clusters from elsewhere than text files, and what instances use: formats in, model out.
//!
//! ```text
//!   --simulate ─► simulate ───────────────────────────────────────┐
//!   -L  answers of the master ─► this_cluster ─► records ─┐       ▼
//!   -m  documents of the API ──► rapi ─────────► records ─┴─► Known ─► model::Cluster ◄─ utilisation (-U)
//!                                                                                     ◄─ monitoring (--mond)
//! ```
//!
//! Pure: whoever has the text reads it from somewhere. What is malformed is an error that names the
//! document, the place in it and the field; nothing here panics. Source: Ganeti's reference on
//! htools, sources.

pub mod monitoring;
mod objects;
pub mod policy;
pub mod rapi;
mod record;
pub mod simulate;
pub mod this_cluster;
pub mod units;
pub mod utilisation;

#[cfg(test)]
mod tests;

pub use record::Malformed;

use crate::model::Cluster;

/// A cluster, and what its source knows that the model has no place for.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub cluster: Cluster,
    /// By node: whether its hypervisor is KVM.
    pub kvm: Vec<bool>,
    /// By node: whether it is marked as offline, and not only drained or unable to have instances, as the model's
    /// offline nodes may be, too.
    pub down: Vec<bool>,
}

impl Known {
    /// The cluster, with what KVM nodes use themselves set to `memory` MiB instead of what they
    /// report, which there includes what guests have not touched yet. 0 and less: as reported.
    pub fn with_kvm_memory(mut self, memory: i64) -> Cluster {
        if memory > 0 {
            for (node, kvm) in self.cluster.nodes.iter_mut().zip(self.kvm) {
                if kvm {
                    node.node_memory = memory;
                }
            }
        }
        self.cluster
    }
}
