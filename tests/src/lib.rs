//! What the tests share: whole clusters on one machine. See [`lab`].
pub mod bench;
pub mod bench_peers;
pub mod generate_cluster;
pub mod generate_config;
pub mod guest;
pub mod lab;
pub mod master;
pub mod soak;
pub mod tour;
