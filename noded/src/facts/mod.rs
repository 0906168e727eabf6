//! What this machine is, has, and is able to do.

mod network;
mod proc;
mod storage;
mod verify;

pub use network::missing_bridges;
pub use proc::boot_id;
pub use storage::{modify as modify_unit, repair as repair_unit, units};
pub use verify::verify;

use crate::block;
use crate::clock;
use crate::hooks;
use crate::host::Host;
use roost_proto::choices::Hypervisor;
use roost_proto::node::{GuestReport, NodeReport};

/// The node as it is now, with these guests on it.
pub async fn node(host: &Host, guests: &[GuestReport]) -> NodeReport {
    let memory = proc::memory();
    let cpus = proc::cpus();
    let running = || guests.iter().filter(|g| g.state.is_running());
    let used: u64 = running().map(|g| g.memory).sum();
    // Simulated guests have no memory of the machine; for planning they shall.
    let simulated: u64 =
        running().filter(|g| g.hypervisor == Hypervisor::Fake).map(|g| g.memory).sum();
    let free = memory.free.saturating_sub(simulated);
    let paths = host.paths.clone();
    let storage = block::allowed_directories(&paths)
        .into_iter()
        .filter_map(|dir| {
            let local = paths.absolute(&dir);
            let space = if local.is_dir() { block::space(&local) } else { None };
            Some((dir, space?))
        })
        .collect();
    let lvm = block::lvm::lvm().figures().await;
    NodeReport {
        boot_id: boot_id(),
        time: clock::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        memory_total: memory.total,
        memory_dom0: memory.total.saturating_sub(free).saturating_sub(used),
        memory_free: free,
        cpu_nodes: cpus.nodes,
        cpu_sockets: cpus.sockets,
        cpu_total: cpus.total,
        // All of them: the node and its guests share them.
        cpu_dom0: cpus.total,
        storage,
        volume_groups: lvm.space,
        spindles: lvm.spindles,
        hypervisors: host.hypervisors.accelerations().await,
        hooks: hooks::directories(&host.paths).await,
        exports: crate::export::list(&host.paths),
        crypto: Some(crate::crypto::report(&host.paths)),
    }
}
