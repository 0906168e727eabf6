//! `gnt-group assign-nodes`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::GroupAssignNodes;

/// `assign-nodes`.
#[derive(Args, Debug)]
pub struct AssignNodes {
    #[command(flatten)]
    job: JobOptions,
    /// Even if mirrors are torn apart between groups
    #[arg(short, long)]
    force: bool,
    /// The group
    #[arg(value_name = "GROUP")]
    name: String,
    /// The nodes
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

impl Verb for AssignNodes {
    const NAME: &'static str = "assign-nodes";
    const ABOUT: &'static str = "Assigns nodes to a group";

    async fn run(self, cx: &Cx) -> Outcome {
        let op =
            GroupAssignNodes { force: self.force, ..GroupAssignNodes::new(self.name, self.nodes) };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
