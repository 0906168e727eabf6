//! `gnt-instance rename`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::InstanceRename;

/// `rename`.
#[derive(Args, Debug)]
pub struct Rename {
    #[command(flatten)]
    job: JobOptions,
    /// Refuse if the new name's address is in use already
    #[arg(long)]
    ip_check: bool,
    /// Resolve the new name, and use the full one
    #[arg(long)]
    name_check: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    new_name: String,
}

impl Verb for Rename {
    const NAME: &'static str = "rename";
    const ABOUT: &'static str = "Renames the instance";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = InstanceRename {
            name_check: self.name_check,
            ip_check: self.ip_check,
            ..InstanceRename::new(self.name.clone(), self.new_name)
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        if let Some(name) = result.as_str() {
            say!(cx, "Instance '{}' renamed to '{name}'", self.name);
        }
        Ok(())
    }
}
