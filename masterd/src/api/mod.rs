//! What clients can ask: gRPC on a unix socket. Who asks is told by the kernel.

mod command;
pub mod failover;
mod filters;
mod jobs;
mod join;
mod peer;
mod port;
mod role;
mod server;
mod watch_config;

pub use join::Tokens;
pub use port::serve_port;
pub use role::{FailoverEvent, FailoverRequest, Leading, Role};
pub use server::{Api, serve};
