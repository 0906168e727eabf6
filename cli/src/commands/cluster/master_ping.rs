//! `gnt-cluster master-ping`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::verb::Verb;
use clap::Args;

/// `master-ping`.
#[derive(Args, Debug)]
pub struct MasterPing {}

impl Verb for MasterPing {
    const NAME: &'static str = "master-ping";
    const ABOUT: &'static str = "Checks if the master is alive; prints nothing";

    async fn run(self, cx: &Cx) -> Outcome {
        let info = async { cx.client().await?.info().await }.await;
        info.map(drop).map_err(|_| Failure::Exit(1))
    }
}
