//! `gnt-instance reboot`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::selection::{self, Selection};
use crate::submit::JobOptions;
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::RebootType;
use roost_proto::opcodes::InstanceReboot;

/// `reboot`.
#[derive(Args, Debug)]
pub struct Reboot {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    job: JobOptions,
    /// soft (the guest is asked), hard (reset) or full (stopped and started)
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value_t = RebootType::Hard)]
    reboot_type: RebootType,
    /// Ignore errors of secondary disks
    #[arg(long)]
    ignore_secondaries: bool,
    /// Seconds the guest has to shut down
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    shutdown_timeout: u64,
}

impl Verb for Reboot {
    const NAME: &'static str = "reboot";
    const ABOUT: &'static str = "Reboots instances";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = |name: &str| InstanceReboot {
            shutdown_timeout: self.shutdown_timeout,
            ignore_secondaries: self.ignore_secondaries,
            ..InstanceReboot::new(name, self.reboot_type)
        };
        selection::run(cx, &self.selection, "reboot", &self.job.how(), op).await
    }
}
