//! Opcodes about exports of instances.

pub mod config_ini;
mod export;
mod prepare;
mod remove;
mod snapshot;

use crate::config::Config;
use roost_proto::error::{Error, Result};

/// The tools that nodes have, whatever the cluster allows.
const BUILT_IN: [&str; 6] = ["none", "gzip", "gzip-fast", "gzip-slow", "zstd", "lz4"];

/// A compression tool that may be used between nodes.
pub fn check_tool(config: &Config, tool: &str) -> Result<()> {
    let allowed = &config.cluster.compression_tools;
    if tool != "none" && !allowed.is_empty() && !allowed.iter().any(|known| known == tool) {
        return Err(Error::wrong_input(format!(
            "Compression tool not allowed, tools allowed are [{}]; allow it with 'gnt-cluster \
             modify --compression-tools'",
            allowed.join(", ")
        )));
    }
    if BUILT_IN.contains(&tool) {
        return Ok(());
    }
    Err(Error::wrong_input(format!(
        "Compression tool '{tool}' cannot be used between nodes; there are {} (lz4 is as light as \
         lzop)",
        BUILT_IN.join(", ")
    )))
}
