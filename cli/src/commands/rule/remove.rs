//! `gnt-rule remove`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::PlacementRuleRemove;

/// `remove`.
#[derive(Args, Debug)]
pub struct Remove {
    #[command(flatten)]
    job: JobOptions,
    /// The rule
    #[arg(value_name = "NAME")]
    name: String,
}

impl Verb for Remove {
    const NAME: &'static str = "remove";
    const ABOUT: &'static str = "Removes a placement rule";

    async fn run(self, cx: &Cx) -> Outcome {
        submit::run(cx, PlacementRuleRemove::new(self.name), &self.job.how()).await?;
        Ok(())
    }
}
