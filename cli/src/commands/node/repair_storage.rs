//! `gnt-node repair-storage`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::StorageType;
use roost_proto::opcodes::RepairNodeStorage;

/// `repair-storage`.
#[derive(Args, Debug)]
pub struct RepairStorage {
    #[command(flatten)]
    job: JobOptions,
    /// Also where mirrors are not known to be good on other nodes
    #[arg(long)]
    ignore_consistency: bool,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    /// Type of the storage unit: lvm-vg
    #[arg(value_name = "TYPE")]
    storage_type: StorageType,
    /// The storage unit
    #[arg(value_name = "VOLUME")]
    name: String,
}

impl Verb for RepairStorage {
    const NAME: &'static str = "repair-storage";
    const ABOUT: &'static str = "Repairs a storage unit of a node: a volume group that lost a disk";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = RepairNodeStorage {
            name: Some(self.name),
            ignore_consistency: self.ignore_consistency,
            ..RepairNodeStorage::new(self.node, self.storage_type)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
