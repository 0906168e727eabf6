//! `gnt-node powercycle`.

use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::NodePowercycle;

/// `powercycle`.
#[derive(Args, Debug)]
pub struct Powercycle {
    #[command(flatten)]
    job: JobOptions,
    /// Even the master
    #[arg(short, long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Powercycle {
    const NAME: &'static str = "powercycle";
    const ABOUT: &'static str = "Tries to forcefully powercycle a node";

    async fn run(self, cx: &Cx) -> Outcome {
        if !self.yes {
            let question = format!("Are you sure you want to hard powercycle node {}?", self.node);
            confirm::require(cx, &question, 2)?;
        }
        let op = NodePowercycle { force: self.force, ..NodePowercycle::new(self.node) };
        let result = submit::run(cx, op, &self.job.how()).await?;
        if let Some(text) = result.as_str() {
            cx.note(text);
        }
        Ok(())
    }
}
