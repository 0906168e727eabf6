//! Migration: moves running guests between nodes.
//!
//! ```text
//!    source node                                   target node
//!    MigrateRun ──────────── tunnels, TLS ───────▶ MigrateAccept, MigrateFinish
//!    libvirt ─▶ <migration dir>/ID/libvirt.sock ═▶ libvirt's socket
//!    QEMU    ─▶ <migration dir>/ID/memory.sock  ═▶ QEMU's incoming socket
//!    QEMU    ─▶ <migration dir>/ID/disks.sock   ═▶ QEMU's NBD socket
//! ```
//!
//! Both sides know a token, made by masterd for this one migration; connections of any node of the
//! cluster that name it are let in while it is accepted. A guest arrives frozen and is let go only
//! when it is gone from its source: however the migration breaks, it never runs twice.

use crate::hypervisor::{Attachment, Hypervisors};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{GuestSpec, MigrationMode, Progress};
use roost_proto::paths::Paths;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tonic::transport::Channel;

/// Connects to the noded of a node at an address, as that node: `crate::peer::connect`.
pub type Connect =
    Arc<dyn Fn(NodeId, String) -> Pin<Box<dyn Future<Output = Result<Channel>> + Send>> + Send + Sync>;

/// Told how far a migration is.
pub type ProgressSink<'a> = &'a (dyn Fn(Progress) + Send + Sync);
