//! `gnt-job cancel`.

use super::selected::Selection;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::verb::Verb;
use clap::Args;

/// `cancel`.
#[derive(Args, Debug)]
pub struct Cancel {
    #[command(flatten)]
    selection: Selection,
    /// Also stop jobs that are at work
    #[arg(long)]
    kill: bool,
    /// Confirms --kill
    #[arg(long, visible_alias = "ya-rly")]
    yes_do_it: bool,
}

impl Verb for Cancel {
    const NAME: &'static str = "cancel";
    const ABOUT: &'static str = "Cancels jobs";

    async fn run(self, cx: &Cx) -> Outcome {
        if self.kill && !self.yes_do_it {
            return Err(Failure::say(
                "Killing a job that is at work may leave its work half done. If you really want \
                 this, add --yes-do-it.",
            ));
        }
        let question = match self.kill {
            true => "KILL job(s) listed above?",
            false => "Cancel job(s) listed above?",
        };
        let jobs = self.selection.jobs(cx, question).await?;
        let mut good = true;
        for job in jobs {
            let reply = cx.client().await?.cancel_job(job, self.kill).await?;
            say!(cx, "{}", reply.message);
            good &= reply.done;
        }
        if good { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}
