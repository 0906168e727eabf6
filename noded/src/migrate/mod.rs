//! Migration: moves running guests between nodes.
//!
//! ```text
//!    source node                                   target node
//!    MigrateRun ──────────── tunnels, TLS ───────▶ MigrateAccept, MigrateFinish
//!    libvirt ─▶ <migration dir>/ID/libvirt.sock ═▶ libvirt's socket
//!    QEMU    ─▶ <migration dir>/ID/memory.sock  ═▶ QEMU's incoming socket, same path there
//!    QEMU    ─▶ <migration dir>/ID/disks.sock   ═▶ QEMU's NBD socket, same path there
//! ```
//!
//! Both sides know a token, made by masterd for this one migration; connections of any node of the
//! cluster that name it are let in while it is accepted. A guest arrives frozen and is let go only
//! when it is gone from its source: however the migration breaks, it never runs twice. (Post-copy,
//! if asked for, is the exception: its nature is to run there while memory is still here.)
//!
//! Every call may be repeated, also by a noded that was restarted in between: what is where is
//! looked up, never remembered, and [`decide`] says what is left to do.

mod decide;
mod fake;
mod kvm;
mod run;
mod tickets;
mod tunnel;

use crate::hypervisor::{AnyHypervisor, Attachment, Hypervisors, Kvm};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{GuestSpec, GuestState, InstanceRef, MigrationMode, Progress};
use roost_proto::paths::Paths;
use roost_proto::rpc::node::TunnelData;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tickets::Tickets;
use tokio::net::UnixStream;
use tokio_stream::Stream;
use tonic::Status;
use tonic::transport::Channel;
use tunnel::{Far, Socket};

/// Connects to the noded of a node at an address, as that node: `crate::peer::connect`.
pub type Connect = Arc<
    dyn Fn(NodeId, String) -> Pin<Box<dyn Future<Output = Result<Channel>> + Send>> + Send + Sync,
>;

/// Told how far a migration is.
pub type ProgressSink<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// What a tunnel sends back.
pub type TunnelStream = Pin<Box<dyn Stream<Item = Result<TunnelData, Status>> + Send>>;

/// The migrations of this node, as source and as target. Cheap to clone.
#[derive(Clone)]
pub struct Migrations {
    hypervisors: Hypervisors,
    tickets: Tickets,
    connect: Connect,
}

impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migrations").field("tickets", &self.tickets).finish_non_exhaustive()
    }
}

impl Migrations {
    /// Migrations between this node and others reached with `connect`.
    pub fn new(paths: &Paths, hypervisors: Hypervisors, connect: Connect) -> Migrations {
        Migrations { hypervisors, tickets: Tickets::new(paths.migration_dir()), connect }
    }

    /// On the target: gets ready to receive a guest whose disks are assembled here.
    pub async fn accept(&self, guest: &GuestSpec, disks: &[Attachment], token: &str) -> Result<()> {
        let hypervisor = self.hypervisors.get(guest.hypervisor)?;
        let here = hypervisor.info(&guest.name).await?.map(|report| report.state);
        if let AnyHypervisor::Kvm(kvm) = &hypervisor
            && !here.is_some_and(GuestState::is_running)
        {
            kvm.prepare_incoming(guest, disks).await?;
        }
        self.tickets.issue(token, &reference(guest), guest.hypervisor)
    }

    /// On the source: moves the guest to `target` at `address`. On success it runs there and not
    /// here. Dropping the future aborts the move; the guest then stays here.
    #[allow(clippy::too_many_arguments, reason = "they are the fields of one action")]
    pub async fn run(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
        target: NodeId,
        address: &str,
        token: &str,
        mode: MigrationMode,
        progress: ProgressSink<'_>,
    ) -> Result<()> {
        let hypervisor = self.hypervisors.get(guest.hypervisor)?;
        let far = Far::new(self.connect.clone(), target, address, token);
        let mut mover = match hypervisor {
            AnyHypervisor::Kvm(here) => {
                let dir = self.tickets.make_dir(token)?;
                let mover = kvm::KvmMover::new(here, &far, &dir, guest, disks, mode).await;
                run::Mover::Kvm(Box::new(mover.inspect_err(|_| self.tidy(token))?))
            }
            AnyHypervisor::Fake(here) => {
                let there = fake::Remote::connect(&far).await?;
                run::Mover::Fake(fake::FakeMover::new(here, there, guest))
            }
        };
        let moved = run::run(&guest.name, &mut mover, progress).await;
        drop(mover);
        self.tidy(token);
        moved
    }

    /// Removes the sockets of a migration. What cannot be removed is replaced by the next try.
    fn tidy(&self, token: &str) {
        if let Err(error) = self.tickets.revoke(token) {
            tracing::warn!(%error, "sockets of a migration are left");
        }
    }

    /// On the target: ends what [`Migrations::accept`] began. On success the guest is left running
    /// here; otherwise what had arrived of it is removed. Errors: it runs here although the
    /// migration is said to have failed; it is left alone then.
    pub async fn finish(&self, guest: &GuestSpec, token: &str, success: bool) -> Result<()> {
        let hypervisor = self.hypervisors.get(guest.hypervisor)?;
        let instance = reference(guest);
        self.tickets.revoke(token)?;
        let state = hypervisor.info(&guest.name).await?.map(|report| report.state);
        match (success, state) {
            (true, Some(GuestState::Running | GuestState::Paused | GuestState::Incoming)) => {
                hypervisor.resume(&instance).await?;
                match &hypervisor {
                    AnyHypervisor::Kvm(kvm) => kvm.has_arrived(guest).await,
                    AnyHypervisor::Fake(_) => Ok(()),
                }
            }
            (true, _) => Err(Error::exec(format!(
                "Instance {} was migrated to this node but does not run here",
                guest.name
            ))),
            (false, Some(GuestState::Running)) => Err(Error::wrong_state(format!(
                "Instance {} runs on this node although its migration to it failed; it was left \
                 alone. If it does not run elsewhere, make this node its primary",
                guest.name
            ))),
            // Also disconnects the cards that were prepared.
            (false, _) => hypervisor.stop(&instance, Duration::ZERO).await,
        }
    }

    /// On the target: carries one connection of a source. The caller has been found to be a node
    /// of this cluster. `inbound` starts with an `open`.
    pub async fn tunnel(
        &self,
        inbound: tonic::Streaming<TunnelData>,
    ) -> Result<TunnelStream, Status> {
        let tunnel::Opened { ticket, token, socket, inbound } =
            tunnel::opened(inbound, &self.tickets).await?;
        match self.hypervisors.get(ticket.hypervisor).map_err(|e| e_status(&e))? {
            AnyHypervisor::Kvm(_) => {
                let dir = self.tickets.dir(&token);
                let path = match socket {
                    Socket::Libvirt => Kvm::libvirt_socket(),
                    Socket::Memory => dir.join("memory.sock"),
                    Socket::Disks => dir.join("disks.sock"),
                };
                let stream = UnixStream::connect(&path).await.map_err(|e| {
                    Status::unavailable(format!("cannot connect to {}: {e}", path.display()))
                })?;
                Ok(tunnel::join(inbound, stream))
            }
            AnyHypervisor::Fake(fake) if socket == Socket::Libvirt => {
                Ok(tunnel::serve(inbound, move |stream| {
                    fake::serve(fake, ticket.guest.name.to_string(), stream)
                }))
            }
            AnyHypervisor::Fake(_) => {
                Err(Status::invalid_argument("fake guests have one socket only"))
            }
        }
    }
}

fn e_status(error: &Error) -> Status {
    Status::failed_precondition(error.message.clone())
}

fn reference(guest: &GuestSpec) -> InstanceRef {
    InstanceRef { uuid: guest.uuid, name: guest.name.clone() }
}

#[cfg(test)]
mod tests;
