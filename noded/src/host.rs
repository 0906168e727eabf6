//! What every part of noded works with: this node and its tools.

use crate::block::copy::Receivers;
use crate::budget::Budgets;
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
    /// What may be written over by another node.
    pub receivers: Receivers,
    /// How fast data of disks may move.
    pub budgets: Budgets,
    /// Cancelled when noded is to end.
    pub stop: CancellationToken,
}

impl Host {
    /// Follows what ssconf says of this node.
    pub fn follow_ssconf(&self) {
        self.enable_hypervisors();
        self.budgets.follow(&self.paths, self.identity.node);
    }

    /// Puts the hypervisors to use that the cluster has enabled.
    pub fn enable_hypervisors(&self) {
        let kinds: Vec<Hypervisor> = ssconf::lines(&self.paths, "hypervisor_list")
            .iter()
            .filter_map(|word| word.parse().ok())
            .collect();
        self.hypervisors.enable(&kinds);
    }
}
