//! `gnt-cluster repair-disk-sizes`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, DryRunPriority};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::ClusterRepairDiskSizes;

/// `repair-disk-sizes`.
#[derive(Args, Debug)]
pub struct RepairDiskSizes {
    #[command(flatten)]
    job: DryRunPriority,
    /// The instances; all of them if none is given
    #[arg(value_name = "INSTANCE")]
    names: Vec<String>,
}

impl Verb for RepairDiskSizes {
    const NAME: &'static str = "repair-disk-sizes";
    const ABOUT: &'static str = "Records the sizes that disks really have";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = ClusterRepairDiskSizes { instances: self.names };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
