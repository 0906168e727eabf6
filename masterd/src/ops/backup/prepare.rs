//! `OP_BACKUP_PREPARE`: keys for an export to another cluster.

use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::instance::check;
use crate::ops::{Context, Operate};
use roost_proto::choices::ExportMode;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::BackupPrepare;

/// Why an instance cannot go to another cluster directly.
pub const NO_REMOTE: &str = "Exports to another cluster are not available in this version; export \
                             the instance to a node of this one (mode local), carry the directory \
                             over, and use 'gnt-backup import' there";

impl Operate for BackupPrepare {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        cx.config().instance(&self.instance_name)?;
        match self.mode {
            // There is nothing to prepare.
            ExportMode::Local => Ok(cx.start_plan()),
            ExportMode::Remote => Err(Error::wrong_input(NO_REMOTE)),
        }
    }
}
