//! `gnt-backup export`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::BackupExport;

/// `export`.
#[derive(Args, Debug)]
pub struct Export {
    #[command(flatten)]
    job: JobOptions,
    /// Accepted for old scripts
    #[arg(short, long)]
    force: bool,
    /// Node that keeps the export
    #[arg(short, long, value_name = "NODE")]
    node: String,
    /// How data is compressed on its way: none, gzip, gzip-fast, gzip-slow, zstd, lz4
    #[arg(long, value_name = "TOOL", default_value = "none")]
    transport_compression: String,
    /// Do not stop the instance: needs disks that can be frozen while they are written to
    #[arg(long)]
    noshutdown: bool,
    /// Seconds in which the instance must stop by itself
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    shutdown_timeout: u64,
    /// Remove the instance when its export is whole
    #[arg(long)]
    remove_instance: bool,
    /// Even if not all of the instance can be removed
    #[arg(long)]
    ignore_remove_failures: bool,
    /// Zero the free space before
    #[arg(long)]
    zero_free_space: bool,
    /// Seconds that zeroing may take, whatever the size
    #[arg(long, value_name = "SECONDS")]
    zeroing_timeout_fixed: Option<i64>,
    /// Seconds that zeroing may take for each MiB
    #[arg(long, value_name = "SECONDS")]
    zeroing_timeout_per_mib: Option<f64>,
    /// Where there are no snapshots: let the instance stay down until all is written
    #[arg(long)]
    long_sleep: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Verb for Export {
    const NAME: &'static str = "export";
    const ABOUT: &'static str = "Writes an instance to a node";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = BackupExport {
            compress: self.transport_compression.clone(),
            shutdown_timeout: self.shutdown_timeout,
            shutdown: !self.noshutdown,
            remove_instance: self.remove_instance,
            ignore_remove_failures: self.ignore_remove_failures,
            zero_free_space: self.zero_free_space,
            zeroing_timeout_fixed: self.zeroing_timeout_fixed,
            zeroing_timeout_per_mib: self.zeroing_timeout_per_mib,
            long_sleep: self.long_sleep,
            ..BackupExport::new(self.name.as_str(), self.node.as_str())
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
