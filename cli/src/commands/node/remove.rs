//! `gnt-node remove`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, DryRunPriority};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::NodeRemove;

/// `remove`. As in Ganeti nothing is asked: a node with instances is refused anyway.
#[derive(Args, Debug)]
pub struct Remove {
    #[command(flatten)]
    job: DryRunPriority,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Remove {
    const NAME: &'static str = "remove";
    const ABOUT: &'static str = "Removes a node from the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        submit::run(cx, NodeRemove::new(self.node), &self.job.how()).await?;
        Ok(())
    }
}
