//! `gnt-instance startup`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::selection::{self, Selection};
use crate::submit::JobOptions;
use crate::values::{self, Params};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::InstanceStartup;

/// `startup`.
#[derive(Args, Debug)]
pub struct Startup {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    job: JobOptions,
    /// Ignore errors of secondary disks
    #[arg(short, long)]
    force: bool,
    /// Hypervisor parameters for this start only: KEY=VALUE,…
    #[arg(short = 'H', long, value_name = "PARAMS", value_parser = values::params)]
    hypervisor_parameters: Option<Params>,
    /// Memory and CPUs for this start only: KEY=VALUE,…
    #[arg(short = 'B', long, value_name = "PARAMS", value_parser = values::params)]
    backend_parameters: Option<Params>,
    /// If the node is offline, only record that it shall run
    #[arg(long)]
    ignore_offline: bool,
    /// Do not record that it shall run
    #[arg(long)]
    no_remember: bool,
    /// Start it paused; console lets it go on
    #[arg(long)]
    paused: bool,
}

impl Verb for Startup {
    const NAME: &'static str = "startup";
    const ALIASES: &'static [&'static str] = &["start"];
    const ABOUT: &'static str = "Starts instances";

    async fn run(self, cx: &Cx) -> Outcome {
        let params = |option: &Option<Params>| option.clone().unwrap_or_default().0;
        let op = |name: &str| InstanceStartup {
            force: self.force,
            ignore_offline_nodes: self.ignore_offline,
            hvparams: params(&self.hypervisor_parameters),
            beparams: params(&self.backend_parameters),
            no_remember: self.no_remember,
            startup_paused: self.paused,
            ..InstanceStartup::new(name)
        };
        selection::run(cx, &self.selection, "startup", &self.job.how(), op).await
    }
}
