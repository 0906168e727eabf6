//! `daemon-util stop-all`.

use super::{Daemon, stop_daemon};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::verb::Verb;
use clap::Args;

/// `stop-all`.
#[derive(Args, Debug)]
pub struct StopAll {}

impl Verb for StopAll {
    const NAME: &'static str = "stop-all";
    const ABOUT: &'static str = "Stops all daemons on this machine";

    async fn run(self, cx: &Cx) -> Outcome {
        for daemon in Daemon::ALL.into_iter().rev() {
            stop_daemon(cx, daemon).await?;
        }
        Ok(())
    }
}
