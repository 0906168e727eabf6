//! `gnt-group rename`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::GroupRename;

/// `rename`.
#[derive(Args, Debug)]
pub struct Rename {
    #[command(flatten)]
    job: JobOptions,
    /// The group
    #[arg(value_name = "GROUP")]
    name: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    new_name: String,
}

impl Verb for Rename {
    const NAME: &'static str = "rename";
    const ABOUT: &'static str = "Renames a node group";

    async fn run(self, cx: &Cx) -> Outcome {
        submit::run(cx, GroupRename::new(self.name, self.new_name), &self.job.how()).await?;
        Ok(())
    }
}
