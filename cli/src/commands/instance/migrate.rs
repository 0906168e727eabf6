//! `gnt-instance migrate`.

use super::exists;
use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::migration::MigrationOptions;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Result;
use roost_proto::opcodes::InstanceMigrate;

/// `migrate`.
#[derive(Args, Debug)]
pub struct Migrate {
    #[command(flatten)]
    job: JobOptions,
    #[command(flatten)]
    how: MigrationOptions,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Move nothing: clean up after a migration that failed
    #[arg(long)]
    cleanup: bool,
    /// If it can't be migrated, stop it and start it elsewhere
    #[arg(long)]
    allow_failover: bool,
    /// Even between hypervisor versions that do not fit
    #[arg(long)]
    ignore_hvversions: bool,
    /// Copy disks that are only on its node (plain, file) while it runs
    #[arg(long, conflicts_with = "cleanup")]
    copy_disks: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Migrate {
    fn opcode(&self) -> Result<InstanceMigrate> {
        Ok(InstanceMigrate {
            mode: self.how.mode()?,
            target_node: self.how.target_node.clone(),
            iallocator: self.how.iallocator.clone(),
            ignore_ipolicy: self.how.ignore_ipolicy,
            allow_runtime_changes: !self.how.no_runtime_changes,
            cleanup: self.cleanup,
            allow_failover: self.allow_failover,
            ignore_hvversions: self.ignore_hvversions,
            copy_disks: self.copy_disks,
            ..InstanceMigrate::new(self.name.clone())
        })
    }
}

impl Verb for Migrate {
    const NAME: &'static str = "migrate";
    const ABOUT: &'static str = "Migrates an instance to another node";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = self.opcode()?;
        if !self.force {
            exists::check(cx, &self.name).await?;
            let question = match self.cleanup {
                true => format!(
                    "Instance {} will be recovered from a failed migration. Note that the \
                     migration procedure (including cleanup) might impact the instance if \
                     anything goes wrong (e.g. due to bugs in the hypervisor). Continue?",
                    self.name
                ),
                false => format!(
                    "Instance {} will be migrated. Note that migration might impact the instance \
                     if anything goes wrong (e.g. due to bugs in the hypervisor). Continue?",
                    self.name
                ),
            };
            confirm::require(cx, &question, 1)?;
        }
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
