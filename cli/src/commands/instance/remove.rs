//! `gnt-instance remove`.

use super::exists;
use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::InstanceRemove;

/// `remove`.
#[derive(Args, Debug)]
pub struct Remove {
    #[command(flatten)]
    job: JobOptions,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Seconds the guest has to shut down
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    shutdown_timeout: u64,
    /// Remove it from the configuration even if its disks can't be removed
    #[arg(long)]
    ignore_failures: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Verb for Remove {
    const NAME: &'static str = "remove";
    const ABOUT: &'static str = "Shuts down the instance and removes it";

    async fn run(self, cx: &Cx) -> Outcome {
        if !self.force {
            exists::check(cx, &self.name).await?;
            let question = format!(
                "This will remove the volumes of the instance {} (including mirrors), thus \
                 removing all the data of the instance. Continue?",
                self.name
            );
            confirm::require(cx, &question, 1)?;
        }
        let op = InstanceRemove {
            shutdown_timeout: self.shutdown_timeout,
            ignore_failures: self.ignore_failures,
            ..InstanceRemove::new(self.name)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
