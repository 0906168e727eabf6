//! `daemon-util start-all`.

use super::{Daemon, start_daemon};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::verb::Verb;
use clap::Args;

/// `start-all`.
#[derive(Args, Debug)]
pub struct StartAll {}

impl Verb for StartAll {
    const NAME: &'static str = "start-all";
    const ABOUT: &'static str = "Starts the daemons that belong on this machine";

    async fn run(self, cx: &Cx) -> Outcome {
        start_daemon(cx, Daemon::Noded).await?;
        if cx.paths.database().exists() {
            start_daemon(cx, Daemon::Masterd).await?;
        }
        Ok(())
    }
}
