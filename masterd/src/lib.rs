//! The one writer of cluster state. See `ARCHITECTURE.md`.

pub mod clock;
pub mod config;
pub mod jobs;
pub mod nodes;
pub mod ops;
pub mod state;
pub mod store;
