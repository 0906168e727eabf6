//! `gnt-group add`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::jobs;
use crate::options::group::GroupOptions;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Result;
use roost_proto::opcodes::GroupAdd;

/// `add`.
#[derive(Args, Debug)]
pub struct Add {
    #[command(flatten)]
    job: JobOptions,
    #[command(flatten)]
    group: GroupOptions,
    /// Its name
    #[arg(value_name = "GROUP")]
    name: String,
}

impl Add {
    fn opcode(&self) -> Result<GroupAdd> {
        Ok(GroupAdd {
            alloc_policy: self.group.alloc_policy,
            ndparams: self.group.ndparams(),
            diskparams: self.group.diskparams()?,
            hv_state: self.group.hv_state()?,
            disk_state: self.group.disk_state()?,
            ipolicy: self.group.ipolicy()?,
            ..GroupAdd::new(self.name.clone())
        })
    }
}

impl Verb for Add {
    const NAME: &'static str = "add";
    const ABOUT: &'static str = "Adds a new node group to the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        let result = submit::run(cx, self.opcode()?, &self.job.how()).await?;
        jobs::all_good(&jobs::wait_for_children(cx, &result).await?)
    }
}
