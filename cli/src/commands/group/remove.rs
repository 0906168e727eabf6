//! `gnt-group remove`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::GroupRemove;

/// `remove`.
#[derive(Args, Debug)]
pub struct Remove {
    #[command(flatten)]
    job: JobOptions,
    /// The group
    #[arg(value_name = "GROUP")]
    name: String,
}

impl Verb for Remove {
    const NAME: &'static str = "remove";
    const ABOUT: &'static str = "Removes an empty node group from the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        submit::run(cx, GroupRemove::new(self.name), &self.job.how()).await?;
        Ok(())
    }
}
