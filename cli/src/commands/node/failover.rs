//! `gnt-node failover`.

use super::affected;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::jobs::{self, NamedJob};
use crate::submit::PriorityOption;
use crate::verb::Verb;
use crate::{confirm, say};
use clap::Args;
use roost_proto::opcodes::InstanceFailover;

/// `failover`.
#[derive(Args, Debug)]
pub struct Failover {
    #[command(flatten)]
    job: PriorityOption,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Even if mirrors are not in sync or the node cannot be reached
    #[arg(long)]
    ignore_consistency: bool,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Failover {
    const NAME: &'static str = "failover";
    const ABOUT: &'static str = "Stops the primary instances on a node and starts them elsewhere";

    async fn run(self, cx: &Cx) -> Outcome {
        let (node, instances) = affected::instances(cx, &self.node, true, false).await?;
        if instances.is_empty() {
            cx.note(format_args!("No primary instances on node {node}, exiting."));
            return Ok(());
        }
        if !self.force {
            let question = format!("Fail over instance(s) '{}'?", instances.join("', '"));
            confirm::require(cx, &question, 2)?;
        }
        let jobs = instances
            .into_iter()
            .map(|name| {
                let op = InstanceFailover {
                    ignore_consistency: self.ignore_consistency,
                    iallocator: self.iallocator.clone(),
                    ..InstanceFailover::new(name.clone())
                };
                NamedJob::new(name, op)
            })
            .collect();
        let ended = jobs::run(cx, jobs, &self.job.how(), true).await?;
        match jobs::failures(&ended) {
            0 => {
                say!(cx, "All {} instance(s) failed over successfully.", ended.len());
                Ok(())
            }
            bad => {
                say!(
                    cx,
                    "There were errors during the failover:\n{bad} error(s) out of {} instance(s).",
                    ended.len()
                );
                // Ganeti exits with 0 here, which hides the failure from scripts.
                Err(Failure::Exit(1))
            }
        }
    }
}
