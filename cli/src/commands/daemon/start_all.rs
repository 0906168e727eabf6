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
    const ABOUT: &'static str = "Starts the daemons of a node";

    async fn run(self, cx: &Cx) -> Outcome {
        start_daemon(cx, Daemon::Noded).await?;
        // Without a copy of the state it waits for one: any node may become a master candidate.
        start_daemon(cx, Daemon::Masterd).await?;
        // They answer as well as they can, and need neither of those.
        let confd = start_daemon(cx, Daemon::Confd).await;
        start_daemon(cx, Daemon::Mond).await.and(confd)
    }
}
