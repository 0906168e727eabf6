//! mond as its clients see it: over real sockets, in this process and as the real program.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod client;
mod daemon;
mod fakes;
mod limits;
mod paths;
mod plugins;
mod prometheus;
mod settings;
mod tls;
