//! `gnt-job watch`.

use super::job_id;
use super::wait::to_the_end;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::job_follow::Show;
use crate::say;
use crate::verb::Verb;
use clap::Args;

/// `watch`.
#[derive(Args, Debug)]
pub struct Watch {
    /// Its number
    #[arg(value_name = "JOB")]
    job: String,
}

impl Verb for Watch {
    const NAME: &'static str = "watch";
    const ABOUT: &'static str = "Follows a job and prints its output as it arrives";

    async fn run(self, cx: &Cx) -> Outcome {
        let job = job_id(&self.job)?;
        let title = format!("Output from job {job} follows");
        say!(cx, "{title}");
        say!(cx, "{}", "-".repeat(title.len()));
        to_the_end(cx, job, Show::Log).await
    }
}
