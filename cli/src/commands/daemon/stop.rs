//! `daemon-util stop`.

use super::{Daemon, stop_daemon};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::verb::Verb;
use clap::Args;

/// `stop`.
#[derive(Args, Debug)]
pub struct Stop {
    /// noded, masterd, confd or mond
    #[arg(value_name = "DAEMON")]
    daemon: Daemon,
}

impl Verb for Stop {
    const NAME: &'static str = "stop";
    const ABOUT: &'static str = "Stops a daemon and waits until it has ended";

    async fn run(self, cx: &Cx) -> Outcome {
        stop_daemon(cx, self.daemon).await
    }
}
