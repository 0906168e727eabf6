//! How guests move.

use clap::Args;
use roost_proto::choices::MigrationMode;
use roost_proto::error::{Error, Result};

/// The options of migrations.
#[derive(Args, Clone, Debug, Default)]
pub struct MigrationOptions {
    /// Freeze the guest while its memory moves
    #[arg(long)]
    pub non_live: bool,
    /// How the memory moves; otherwise as the hypervisor's parameters say
    #[arg(long, value_name = "live|non-live")]
    pub migration_mode: Option<MigrationMode>,
    /// Where to move to
    #[arg(short = 'n', long, value_name = "NODE")]
    pub target_node: Option<String>,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    pub iallocator: Option<String>,
    /// Even if the instance policy is not met there
    #[arg(long)]
    pub ignore_ipolicy: bool,
    /// Do not change the guest's memory to make it fit
    #[arg(long)]
    pub no_runtime_changes: bool,
}

impl MigrationOptions {
    /// The mode, and whether the options agree with each other.
    pub fn mode(&self) -> Result<Option<MigrationMode>> {
        exclusive(&self.target_node, &self.iallocator)?;
        match (self.non_live, self.migration_mode) {
            (true, Some(_)) => Err(Error::wrong_input(
                "Only one of the --non-live and --migration-mode options can be passed",
            )),
            (true, None) => Ok(Some(MigrationMode::NonLive)),
            (false, mode) => Ok(mode),
        }
    }
}

/// Refuses both a node and an allocator.
pub fn exclusive(node: &Option<String>, iallocator: &Option<String>) -> Result<()> {
    match (node, iallocator) {
        (Some(_), Some(_)) => Err(Error::wrong_input(
            "Specify either an iallocator (-I), or a destination node using the -n option but not \
             both",
        )),
        _ => Ok(()),
    }
}
