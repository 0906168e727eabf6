//! `daemon-util status`.

use super::Daemon;
use super::process::find;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::verb::Verb;
use clap::Args;

/// `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// noded, masterd, confd or mond; without it all of them
    #[arg(value_name = "DAEMON")]
    daemon: Option<Daemon>,
}

impl Verb for Status {
    const NAME: &'static str = "status";
    const ABOUT: &'static str = "Says whether daemons run; exit code 1 if one does not";

    async fn run(self, cx: &Cx) -> Outcome {
        let daemons = match self.daemon {
            Some(daemon) => vec![daemon],
            None => Daemon::ALL.to_vec(),
        };
        let mut all = true;
        for daemon in daemons {
            match find(&cx.paths, daemon) {
                Some(pid) => say!(cx, "{daemon}: running (process {pid})"),
                None => {
                    all = false;
                    say!(cx, "{daemon}: stopped");
                }
            }
        }
        if all { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}
