//! `gnt-job change-priority`.

use super::selected::Selection;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::submit::PriorityOption;
use crate::verb::Verb;
use clap::Args;

/// `change-priority`.
#[derive(Args, Debug)]
pub struct ChangePriority {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    priority: PriorityOption,
}

impl Verb for ChangePriority {
    const NAME: &'static str = "change-priority";
    const ABOUT: &'static str = "Changes the priority of jobs";

    async fn run(self, cx: &Cx) -> Outcome {
        let Some(priority) = self.priority.number() else {
            return Err(Failure::say(
                "--priority option must be given: low, normal or high. Use --help for details.",
            ));
        };
        let jobs = self.selection.jobs(cx, "Change priority of job(s) listed above?").await?;
        let mut good = true;
        for job in jobs {
            let reply = cx.client().await?.change_priority(job, priority).await?;
            say!(cx, "{}", reply.message);
            good &= reply.done;
        }
        if good { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}
