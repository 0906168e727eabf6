//! `gnt-debug delay`: a job that does nothing for a while.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::TestDelay;

/// `delay`.
#[derive(Args, Debug)]
pub struct Delay {
    #[command(flatten)]
    job: JobOptions,
    /// Do not sleep on the master
    #[arg(long)]
    no_master: bool,
    /// A node to sleep on; repeat for more
    #[arg(short, value_name = "NODE")]
    node: Vec<String>,
    /// Do it more than once
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    repeat: u64,
    /// Let it be ended through a socket
    #[arg(short, long)]
    interruptible: bool,
    /// Take no locks of nodes
    #[arg(short = 'l', long)]
    no_locks: bool,
    /// How long
    #[arg(value_name = "SECONDS")]
    duration: f64,
}

impl Verb for Delay {
    const NAME: &'static str = "delay";
    const ABOUT: &'static str = "Executes a job that only sleeps";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = TestDelay {
            on_master: !self.no_master,
            on_nodes: self.node,
            repeat: self.repeat,
            interruptible: self.interruptible,
            no_locks: self.no_locks,
            ..TestDelay::new(self.duration)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
