//! `gnt-instance move`.

use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::opcodes::InstanceMove;

/// `move`.
#[derive(Args, Debug)]
pub struct Move {
    #[command(flatten)]
    job: JobOptions,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Where to move to
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,
    /// Compress while disks are copied
    #[arg(long, value_name = "TOOL", default_value = "none")]
    compress: String,
    /// Seconds the guest has to shut down
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    shutdown_timeout: u64,
    /// Even if the source can't be stopped
    #[arg(long)]
    ignore_consistency: bool,
    /// Even if the instance policy is not met there
    #[arg(long)]
    ignore_ipolicy: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Verb for Move {
    const NAME: &'static str = "move";
    const ABOUT: &'static str = "Moves an instance to another node by copying its disks";

    async fn run(self, cx: &Cx) -> Outcome {
        let Some(target) = self.node else {
            return Err(Error::wrong_input("Name the node to move to with -n NODE").into());
        };
        if !self.force {
            let question = format!(
                "Instance {} will be moved. This requires a shutdown of the instance. Continue?",
                self.name
            );
            confirm::require(cx, &question, 1)?;
        }
        let op = InstanceMove {
            shutdown_timeout: self.shutdown_timeout,
            ignore_ipolicy: self.ignore_ipolicy,
            compress: self.compress,
            ignore_consistency: self.ignore_consistency,
            ..InstanceMove::new(self.name, target)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
