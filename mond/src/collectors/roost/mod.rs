//! The collectors that Ganeti announced and never had, and ours.
//!
//! ```text
//!   inst-status-kvm, -lxc ─┐
//!   hypervisor, kvm-memory ┼─► libvirt: one command for all of them, once a second at most
//!   daemons ───────────────┤
//!   jobs, replication ─────┼─► masterd: the file in which masterd says how it is
//!   node-os, certificates  └─► proc: what the kernel says of processes
//! ```

mod certificates;
mod daemons;
mod hypervisor;
mod inst_status;
mod jobs;
mod kvm_memory;
mod libvirt;
mod masterd;
mod node_os;
mod proc;
mod replication;
mod sockets;

use crate::collector::Collector;
use crate::world::World;
use libvirt::{Driver, Source};
use std::sync::Arc;

/// In the order in which they are listed.
pub fn all() -> Vec<Arc<dyn Collector>> {
    let (qemu, lxc) = (Source::new(Driver::Qemu), Source::new(Driver::Lxc));
    let both = vec![qemu.clone(), lxc.clone()];
    vec![
        Arc::new(inst_status::InstStatus::new(qemu.clone())),
        Arc::new(inst_status::InstStatus::new(lxc)),
        Arc::new(daemons::Daemons::new(qemu.clone())),
        Arc::new(hypervisor::Hypervisor::new(both)),
        Arc::new(node_os::NodeOs::default()),
        Arc::new(jobs::Jobs),
        Arc::new(replication::Replication),
        Arc::new(certificates::Certificates),
        Arc::new(kvm_memory::KvmMemory::new(qemu)),
    ]
}

/// Whether a hypervisor of libvirt's is to be looked at: its cluster has it enabled, or, outside a cluster, this
/// machine has it.
fn has_hypervisor(world: &World, driver: Driver) -> bool {
    let cluster = world.cluster();
    let enabled = || cluster.enabled_hypervisors.iter().any(|name| name == driver.hypervisor());
    match cluster.node {
        Some(_) => enabled(),
        // Whether it is in one that has not been heard yet: what is here is what may be enabled.
        None => driver.is_here(),
    }
}

/// The process of a running QEMU: libvirt notes it in a file that everybody may read.
fn qemu_pid(name: &str) -> Option<u32> {
    // Names come from libvirt and are file names, but one with a slash would lead elsewhere.
    if name.contains('/') {
        return None;
    }
    let text = std::fs::read_to_string(format!("/run/libvirt/qemu/{name}.pid")).ok()?;
    text.trim().parse().ok()
}
