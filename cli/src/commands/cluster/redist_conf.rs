//! `gnt-cluster redist-conf`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::ClusterRedistConf;

/// `redist-conf`.
#[derive(Args, Debug)]
pub struct RedistConf {
    #[command(flatten)]
    job: JobOptions,
    /// Even if the queue is drained
    #[arg(long)]
    yes_do_it: bool,
}

impl Verb for RedistConf {
    const NAME: &'static str = "redist-conf";
    const ABOUT: &'static str = "Forces a push of the configuration and other files to the nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut how = self.job.how();
        how.even_if_drained = self.yes_do_it;
        submit::run(cx, ClusterRedistConf::new(), &how).await?;
        Ok(())
    }
}
