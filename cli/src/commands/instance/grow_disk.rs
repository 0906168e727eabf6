//! `gnt-instance grow-disk`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::size;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::opcodes::InstanceGrowDisk;

/// `grow-disk`.
#[derive(Args, Debug)]
pub struct GrowDisk {
    #[command(flatten)]
    job: JobOptions,
    /// Do not wait until mirrors are in sync
    #[arg(long)]
    no_wait_for_sync: bool,
    /// The amount is the new size, not what is added
    #[arg(long)]
    absolute: bool,
    /// Even if the instance policy is not met then
    #[arg(long)]
    ignore_ipolicy: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
    /// The number of the disk, from 0
    #[arg(value_name = "DISK")]
    disk: String,
    /// How much larger
    #[arg(value_name = "AMOUNT", value_parser = size)]
    amount: u64,
}

impl Verb for GrowDisk {
    const NAME: &'static str = "grow-disk";
    const ABOUT: &'static str = "Makes a disk larger, also while it is in use";

    async fn run(self, cx: &Cx) -> Outcome {
        let disk: u32 = self.disk.parse().map_err(|_| {
            Error::wrong_input(format!(
                "Invalid disk index '{}': it is the number of the disk, from 0",
                self.disk
            ))
        })?;
        let op = InstanceGrowDisk {
            wait_for_sync: !self.no_wait_for_sync,
            absolute: self.absolute,
            ignore_ipolicy: self.ignore_ipolicy,
            ..InstanceGrowDisk::new(self.name, disk, self.amount)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
