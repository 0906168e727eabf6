//! The one writer of cluster state. See `ARCHITECTURE.md`.

pub mod api;
pub mod authority;
pub mod backup;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod expiry;
pub mod failpoint;
pub mod files;
pub mod init;
pub mod jobs;
pub mod nodes;
pub mod ops;
pub mod pki;
pub mod placement_rules;
pub mod publish;
pub mod query;
pub mod replication;
pub mod restart;
pub mod restore;
pub mod role;
pub mod secrets;
pub mod state;
pub mod store;
pub mod tls;
pub mod watch;
