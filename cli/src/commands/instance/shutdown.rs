//! `gnt-instance shutdown`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::selection::{self, Selection};
use crate::submit::JobOptions;
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::InstanceShutdown;

/// `shutdown`.
#[derive(Args, Debug)]
pub struct Shutdown {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    job: JobOptions,
    /// Also instances that are marked offline
    #[arg(short, long)]
    force: bool,
    /// Seconds the guest has to shut down
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// If the node is offline, only record that it shall not run
    #[arg(long)]
    ignore_offline: bool,
    /// Do not record that it shall not run
    #[arg(long)]
    no_remember: bool,
}

impl Verb for Shutdown {
    const NAME: &'static str = "shutdown";
    const ALIASES: &'static [&'static str] = &["stop"];
    const ABOUT: &'static str = "Stops instances";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = |name: &str| InstanceShutdown {
            force: self.force,
            ignore_offline_nodes: self.ignore_offline,
            timeout: self.timeout,
            no_remember: self.no_remember,
            ..InstanceShutdown::new(name)
        };
        selection::run(cx, &self.selection, "shutdown", &self.job.how(), op).await
    }
}
