//! `gnt-backup remove`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::BackupRemove;

/// `remove`.
#[derive(Args, Debug)]
pub struct Remove {
    #[command(flatten)]
    job: JobOptions,
    /// The instance whose export it is
    #[arg(value_name = "NAME")]
    name: String,
}

impl Verb for Remove {
    const NAME: &'static str = "remove";
    const ABOUT: &'static str = "Removes the exports of an instance from all nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        submit::run(cx, BackupRemove::new(self.name.as_str()), &self.job.how()).await?;
        Ok(())
    }
}
