//! The node daemon: the only program that touches a host.
//!
//! ```text
//!   masterd ── mTLS gRPC ──► server ── fence: who is obeyed
//!                              │
//!                  Run ► steps ► actions ─┐          what was done is remembered
//!                  Ask ► questions ───────┤
//!                  Watch ► watch ─────────┼─► hypervisor/ block/ net/ os/ hooks/ facts/ ssconf
//!                  Tunnel, Copy ──────────┴─► migrate/, block/
//! ```
//!
//! It decides nothing: every action says in full what is to be, and may be repeated.

pub mod actions;
pub mod ask_confd;
pub mod block;
pub mod blocking;
pub mod budget;
pub mod clock;
pub mod credentials;
pub mod crypto;
pub mod daemon;
pub mod durable;
pub mod exec;
pub mod expiry;
pub mod export;
pub mod facts;
pub mod failpoint;
pub mod fence;
mod gone_on;
pub mod hooks;
pub mod host;
pub mod hypervisor;
mod iallocator;
pub mod join;
pub mod leftover;
pub mod listener;
pub mod migrate;
pub mod net;
mod oob;
pub mod os;
pub mod peer;
pub mod power;
pub mod questions;
pub mod renewal;
pub mod secrets;
pub mod server;
pub mod ssconf;
pub mod steps;
pub mod watch;

pub use daemon::{Handle, Noded, Options};
