//! `gnt-group modify`.

use crate::commands::print_changes;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::options::group::GroupOptions;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Result;
use roost_proto::opcodes::GroupSetParams;

/// `modify`.
#[derive(Args, Debug)]
pub struct Modify {
    #[command(flatten)]
    job: JobOptions,
    #[command(flatten)]
    group: GroupOptions,
    /// The group
    #[arg(value_name = "GROUP")]
    name: String,
}

impl Modify {
    fn opcode(&self) -> Result<GroupSetParams> {
        Ok(GroupSetParams {
            alloc_policy: self.group.alloc_policy,
            ndparams: self.group.ndparams(),
            diskparams: self.group.diskparams()?,
            hv_state: self.group.hv_state()?,
            disk_state: self.group.disk_state()?,
            ipolicy: self.group.ipolicy()?,
            ..GroupSetParams::new(self.name.clone())
        })
    }
}

impl Verb for Modify {
    const NAME: &'static str = "modify";
    const ABOUT: &'static str = "Alters the parameters of a node group";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = self.opcode()?;
        if op == GroupSetParams::new(self.name.clone()) {
            return Err(Failure::say("Please give at least one of the parameters."));
        }
        let result = submit::run(cx, op, &self.job.how()).await?;
        print_changes(cx, "node group", &self.name, &result)?;
        Ok(())
    }
}
