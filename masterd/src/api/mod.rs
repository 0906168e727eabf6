//! What clients can ask: gRPC on a unix socket. Who asks is told by the kernel.

mod command;
mod jobs;
mod join;
mod peer;
mod server;
mod watch_config;

pub use join::{Tokens, serve_join};
pub use server::{Api, serve};
