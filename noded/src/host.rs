//! What every part of noded works with: this node and its tools.

use crate::block::Receivers;
use crate::hypervisor::Hypervisors;
use crate::migrate::Migrations;
use crate::ssconf;
use roost_proto::choices::Hypervisor;
use roost_proto::paths::{Identity, Paths};
use tokio_util::sync::CancellationToken;

/// This node.
#[derive(Debug)]
pub struct Host {
    pub paths: Paths,
    pub identity: Identity,
    pub hypervisors: Hypervisors,
    pub migrations: Migrations,
    /// Disks that may be written over by another node.
    pub receivers: Receivers,
    /// Cancelled when noded is to end.
    pub stop: CancellationToken,
}

impl Host {
    /// Puts the hypervisors to use that the cluster has enabled.
    pub fn enable_hypervisors(&self) {
        let kinds: Vec<Hypervisor> = ssconf::lines(&self.paths, "hypervisor_list")
            .iter()
            .filter_map(|word| word.parse().ok())
            .collect();
        self.hypervisors.enable(&kinds);
    }
}
