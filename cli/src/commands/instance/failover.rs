//! `gnt-instance failover`.

use super::exists;
use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::migration::exclusive;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::InstanceFailover;

/// `failover`.
#[derive(Args, Debug)]
pub struct Failover {
    #[command(flatten)]
    job: JobOptions,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Even if mirrors are not in sync or the source can't be stopped
    #[arg(long)]
    ignore_consistency: bool,
    /// Seconds the guest has to shut down
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    shutdown_timeout: u64,
    /// Where to move to
    #[arg(short = 'n', long, value_name = "NODE")]
    target_node: Option<String>,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// Even if the instance policy is not met there
    #[arg(long)]
    ignore_ipolicy: bool,
    /// Move nothing: clean up after a failover that failed
    #[arg(long)]
    cleanup: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Verb for Failover {
    const NAME: &'static str = "failover";
    const ABOUT: &'static str = "Stops the instance and starts it on the other node";

    async fn run(self, cx: &Cx) -> Outcome {
        exclusive(&self.target_node, &self.iallocator)?;
        if !self.force {
            exists::check(cx, &self.name).await?;
            let question = format!(
                "Failover will happen to instance {}. This requires a shutdown of the instance. \
                 Continue?",
                self.name
            );
            confirm::require(cx, &question, 1)?;
        }
        // With -f Ganeti asks this all the same, so that a script's -f does not lose data.
        if self.ignore_consistency {
            let question = format!(
                "To fail over instance {}, the source node must be marked offline first, or the \
                 instance may run on both nodes. Continue?",
                self.name
            );
            confirm::require(cx, &question, 1)?;
        }
        let op = InstanceFailover {
            shutdown_timeout: self.shutdown_timeout,
            ignore_consistency: self.ignore_consistency,
            target_node: self.target_node,
            ignore_ipolicy: self.ignore_ipolicy,
            cleanup: self.cleanup,
            iallocator: self.iallocator,
            ..InstanceFailover::new(self.name)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
