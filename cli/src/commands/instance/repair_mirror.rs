//! `gnt-instance repair-mirror`.

use super::exists;
use super::replace_disks::numbers;
use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::opcodes::InstanceRepairMirror;

/// `repair-mirror`.
#[derive(Args, Debug)]
pub struct RepairMirror {
    #[command(flatten)]
    job: JobOptions,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// The node whose data is given up; the other node's is kept
    #[arg(long, value_name = "NODE")]
    discard: Option<String>,
    /// Numbers of the disks, with commas; without it all whose sides have parted
    #[arg(long, value_name = "N,…")]
    disks: Option<String>,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Verb for RepairMirror {
    const NAME: &'static str = "repair-mirror";
    const ABOUT: &'static str =
        "Joins mirrors again that were written on both nodes (split brain), giving up one side";

    async fn run(self, cx: &Cx) -> Outcome {
        let disks = numbers(self.disks.as_deref())?;
        let Some(node) = self.discard else {
            return Err(Error::wrong_input(
                "Both sides of the mirror were written, so one must be given up: say which node's \
                 data that is with --discard NODE",
            )
            .into());
        };
        if !self.force {
            exists::check(cx, &self.name).await?;
            confirm::require(cx, &question(&self.name, &node), 1)?;
        }
        let op = InstanceRepairMirror { disks, ..InstanceRepairMirror::new(self.name, node) };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}

/// What will be lost, by name.
fn question(instance: &str, node: &str) -> String {
    format!(
        "All that was written to the disks of instance {instance} on node {node} since its mirrors \
         parted will be LOST. The data of the other node is kept. Continue?"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_question_names_what_will_be_lost() {
        let question = super::question("web1", "n2");
        assert!(question.contains("of instance web1 on node n2 since"), "{question}");
        assert!(question.contains("LOST"), "{question}");
    }
}
