//! `gnt-cluster activate-master-ip`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, How};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::ClusterActivateMasterIp;

/// `activate-master-ip`.
#[derive(Args, Debug)]
pub struct ActivateMasterIp {}

impl Verb for ActivateMasterIp {
    const NAME: &'static str = "activate-master-ip";
    const ABOUT: &'static str = "Activates the master IP";

    async fn run(self, cx: &Cx) -> Outcome {
        submit::run(cx, ClusterActivateMasterIp::new(), &How::default()).await?;
        Ok(())
    }
}
