//! `gnt-group evacuate`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use crate::{jobs, say};
use clap::Args;
use roost_proto::opcodes::GroupEvacuate;

/// `evacuate`.
#[derive(Args, Debug)]
pub struct Evacuate {
    #[command(flatten)]
    job: JobOptions,
    /// A group that takes them; repeat for more. Else all others
    #[arg(long, value_name = "GROUP")]
    to: Vec<String>,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// Remove the old storage before the new one is in sync
    #[arg(long)]
    early_release: bool,
    /// One instance after the other
    #[arg(long)]
    sequential: bool,
    /// Stop and start instances instead of migrating them
    #[arg(long)]
    force_failover: bool,
    /// The group
    #[arg(value_name = "GROUP")]
    name: String,
}

impl Verb for Evacuate {
    const NAME: &'static str = "evacuate";
    const ABOUT: &'static str = "Brings all instances of a node group to others";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = GroupEvacuate {
            early_release: self.early_release,
            iallocator: self.iallocator,
            target_groups: (!self.to.is_empty()).then_some(self.to),
            sequential: self.sequential,
            force_failover: self.force_failover,
            ..GroupEvacuate::new(self.name)
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        let ended = jobs::wait_for_children(cx, &result).await?;
        match jobs::failures(&ended) {
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
