//! `gnt-node evacuate`.

use super::affected;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::options::migration::exclusive;
use crate::submit::{self, SubmitPriority};
use crate::verb::Verb;
use crate::{confirm, jobs, say};
use clap::Args;
use roost_proto::choices::EvacMode;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::NodeEvacuate;

/// `evacuate`.
#[derive(Args, Debug)]
pub struct Evacuate {
    #[command(flatten)]
    job: SubmitPriority,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// The allocator shall not mind soft limits
    #[arg(long)]
    ignore_soft_errors: bool,
    /// New secondary node of all; only mirrors move then
    #[arg(short, long, value_name = "NODE")]
    new_secondary: Option<String>,
    /// Remove the old storage before the new one is in sync
    #[arg(long)]
    early_release: bool,
    /// Only what runs there
    #[arg(short, long)]
    primary_only: bool,
    /// Only what is mirrored there
    #[arg(short, long)]
    secondary_only: bool,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Evacuate {
    fn mode(&self) -> Result<EvacMode> {
        exclusive(&self.new_secondary, &self.iallocator)?;
        match (self.primary_only, self.secondary_only || self.new_secondary.is_some()) {
            (true, true) => Err(Error::wrong_input(
                "Only one of the --primary-only and --secondary-only options can be passed, and \
                 --new-secondary is about secondaries only",
            )),
            (true, false) => Ok(EvacMode::PrimaryOnly),
            (false, true) => Ok(EvacMode::SecondaryOnly),
            (false, false) => Ok(EvacMode::All),
        }
    }

    fn opcode(&self, node: String) -> Result<NodeEvacuate> {
        Ok(NodeEvacuate {
            early_release: self.early_release,
            remote_node: self.new_secondary.clone(),
            iallocator: self.iallocator.clone(),
            ignore_soft_errors: self.ignore_soft_errors.then_some(true),
            ..NodeEvacuate::new(node, self.mode()?)
        })
    }
}

impl Verb for Evacuate {
    const NAME: &'static str = "evacuate";
    const ABOUT: &'static str = "Relocates the primary and/or secondary instances of a node";

    async fn run(self, cx: &Cx) -> Outcome {
        let mode = self.mode()?;
        let primaries = mode != EvacMode::SecondaryOnly;
        let secondaries = mode != EvacMode::PrimaryOnly;
        let (node, instances) = affected::instances(cx, &self.node, primaries, secondaries).await?;
        if instances.is_empty() {
            say!(cx, "No instances to evacuate on node(s) {node}, exiting.");
            return Ok(());
        }
        if !self.force {
            let question =
                format!("Relocate instance(s) {} from node(s) {node}?", instances.join(", "));
            confirm::require(cx, &question, 13)?;
        }
        let result = submit::run(cx, self.opcode(node)?, &self.job.how()).await?;
        let ended = jobs::wait_for_children(cx, &result).await?;
        let left = result.get("failed").and_then(|f| f.as_array()).map_or(0, Vec::len);
        match jobs::failures(&ended) + left {
            0 => {
                say!(cx, "All instances evacuated successfully.");
                Ok(())
            }
            bad => {
                say!(cx, "There were {bad} errors during the evacuation.");
                Err(Failure::Exit(1))
            }
        }
    }
}
