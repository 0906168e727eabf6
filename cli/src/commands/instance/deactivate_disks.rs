//! `gnt-instance deactivate-disks`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::InstanceDeactivateDisks;

/// `deactivate-disks`.
#[derive(Args, Debug)]
pub struct DeactivateDisks {
    #[command(flatten)]
    job: JobOptions,
    /// Even if the instance runs
    #[arg(short, long)]
    force: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Verb for DeactivateDisks {
    const NAME: &'static str = "deactivate-disks";
    const ABOUT: &'static str = "Deactivates an instance's disks";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = InstanceDeactivateDisks {
            force: self.force,
            ..InstanceDeactivateDisks::new(self.name)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
