//! `gnt-cluster deactivate-master-ip`.

use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, How};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::ClusterDeactivateMasterIp;

/// `deactivate-master-ip`.
#[derive(Args, Debug)]
pub struct DeactivateMasterIp {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Verb for DeactivateMasterIp {
    const NAME: &'static str = "deactivate-master-ip";
    const ABOUT: &'static str = "Deactivates the master IP";

    async fn run(self, cx: &Cx) -> Outcome {
        if !self.yes {
            let question = "The master IP will be taken off the master, and whoever is connected \
                            to it loses that connection; the master is reached by its own address \
                            only. Continue?";
            confirm::require(cx, question, 1)?;
        }
        submit::run(cx, ClusterDeactivateMasterIp::new(), &How::default()).await?;
        Ok(())
    }
}
