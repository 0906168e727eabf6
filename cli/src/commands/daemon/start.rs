//! `daemon-util start`, `restart` and `check-and-start`.

use super::{Daemon, start_daemon, stop_daemon};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::verb::Verb;
use clap::Args;

/// `start`.
#[derive(Args, Debug)]
pub struct Start {
    /// noded, masterd, confd or mond
    #[arg(value_name = "DAEMON")]
    daemon: Daemon,
}

impl Verb for Start {
    const NAME: &'static str = "start";
    const ABOUT: &'static str = "Starts a daemon and waits until it answers";

    async fn run(self, cx: &Cx) -> Outcome {
        start_daemon(cx, self.daemon).await
    }
}

/// `check-and-start`: the same, since starting what runs does nothing.
#[derive(Args, Debug)]
pub struct CheckAndStart {
    /// noded, masterd, confd or mond
    #[arg(value_name = "DAEMON")]
    daemon: Daemon,
}

impl Verb for CheckAndStart {
    const NAME: &'static str = "check-and-start";
    const ABOUT: &'static str = "Starts a daemon unless it runs";

    async fn run(self, cx: &Cx) -> Outcome {
        start_daemon(cx, self.daemon).await
    }
}

/// `restart`.
#[derive(Args, Debug)]
pub struct Restart {
    /// noded, masterd, confd or mond
    #[arg(value_name = "DAEMON")]
    daemon: Daemon,
}

impl Verb for Restart {
    const NAME: &'static str = "restart";
    const ABOUT: &'static str = "Stops a daemon and starts it again";

    async fn run(self, cx: &Cx) -> Outcome {
        stop_daemon(cx, self.daemon).await?;
        start_daemon(cx, self.daemon).await
    }
}
