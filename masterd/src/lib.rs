//! The one writer of cluster state. See `ARCHITECTURE.md`.

pub mod clock;
pub mod config;
pub mod files;
pub mod jobs;
pub mod nodes;
pub mod ops;
pub mod pki;
pub mod state;
pub mod store;
