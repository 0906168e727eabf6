//! `gnt-node migrate`.

use super::affected;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::options::migration::MigrationOptions;
use crate::submit::{self, SubmitPriority};
use crate::verb::Verb;
use crate::{confirm, jobs, say};
use clap::Args;
use roost_proto::error::Result;
use roost_proto::opcodes::NodeMigrate;

/// `migrate`.
#[derive(Args, Debug)]
pub struct Migrate {
    #[command(flatten)]
    job: SubmitPriority,
    #[command(flatten)]
    how: MigrationOptions,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Migrate {
    fn opcode(&self, node: String) -> Result<NodeMigrate> {
        Ok(NodeMigrate {
            mode: self.how.mode()?,
            target_node: self.how.target_node.clone(),
            iallocator: self.how.iallocator.clone(),
            ignore_ipolicy: self.how.ignore_ipolicy,
            allow_runtime_changes: !self.how.no_runtime_changes,
            ..NodeMigrate::new(node)
        })
    }
}

impl Verb for Migrate {
    const NAME: &'static str = "migrate";
    const ABOUT: &'static str = "Migrates all the primary instances of a node to other nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        self.how.mode()?;
        let (node, instances) = affected::instances(cx, &self.node, true, false).await?;
        if instances.is_empty() {
            say!(cx, "No primary instances on node {node}, exiting.");
            return Ok(());
        }
        if !self.force {
            let question = format!("Migrate instance(s) '{}'?", instances.join("', '"));
            confirm::require(cx, &question, 13)?;
        }
        let result = submit::run(cx, self.opcode(node)?, &self.job.how()).await?;
        let ended = jobs::wait_for_children(cx, &result).await?;
        match jobs::failures(&ended) {
            0 => {
                say!(cx, "All instances migrated successfully.");
                Ok(())
            }
            bad => {
                say!(cx, "There were {bad} errors during the node migration.");
                Err(Failure::Exit(1))
            }
        }
    }
}
