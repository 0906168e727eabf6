//! `gnt-instance change-group`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::submit::{self, SubmitPriority};
use crate::verb::Verb;
use crate::{jobs, say};
use clap::Args;
use roost_proto::opcodes::InstanceChangeGroup;

/// `change-group`.
#[derive(Args, Debug)]
pub struct ChangeGroup {
    #[command(flatten)]
    job: SubmitPriority,
    /// A group it may go to; repeat for more. Else any other
    #[arg(long, value_name = "GROUP")]
    to: Vec<String>,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// Remove the old storage before the new one is in sync
    #[arg(long)]
    early_release: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    instance: String,
}

impl Verb for ChangeGroup {
    const NAME: &'static str = "change-group";
    const ABOUT: &'static str = "Brings an instance to another node group";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = InstanceChangeGroup {
            early_release: self.early_release,
            iallocator: self.iallocator,
            target_groups: (!self.to.is_empty()).then_some(self.to),
            ..InstanceChangeGroup::new(self.instance.as_str())
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        let ended = jobs::wait_for_children(cx, &result).await?;
        match jobs::failures(&ended) {
            0 => {
                say!(cx, "Instance '{}' changed group successfully.", self.instance);
                Ok(())
            }
            bad => {
                say!(
                    cx,
                    "There were {bad} errors while changing group of instance '{}'.",
                    self.instance
                );
                Err(Failure::Exit(1))
            }
        }
    }
}
