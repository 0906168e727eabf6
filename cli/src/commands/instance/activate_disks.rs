//! `gnt-instance activate-disks`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::submit::{self, SubmitPriority};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::InstanceActivateDisks;
use roost_proto::query::pyrepr;
use serde_json::Value;

/// `activate-disks`.
#[derive(Args, Debug)]
pub struct ActivateDisks {
    #[command(flatten)]
    job: SubmitPriority,
    /// Do not check the recorded sizes
    #[arg(long)]
    ignore_size: bool,
    /// Return when mirrors are in sync
    #[arg(long)]
    wait_for_sync: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Verb for ActivateDisks {
    const NAME: &'static str = "activate-disks";
    const ABOUT: &'static str = "Activates an instance's disks";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = InstanceActivateDisks {
            ignore_size: self.ignore_size,
            wait_for_sync: self.wait_for_sync,
            ..InstanceActivateDisks::new(self.name)
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        for disk in result.as_array().into_iter().flatten() {
            let part = |i: usize| pyrepr::str(disk.get(i).unwrap_or(&Value::Null));
            say!(cx, "{}:{}:{}", part(0), part(1), part(2));
        }
        Ok(())
    }
}
