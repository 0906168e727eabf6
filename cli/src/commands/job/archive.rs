//! `gnt-job archive`.

use super::job_id;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::note;
use crate::verb::Verb;
use clap::Args;

/// `archive`.
#[derive(Args, Debug)]
pub struct Archive {
    /// Numbers of jobs that have ended
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
}

impl Verb for Archive {
    const NAME: &'static str = "archive";
    const ABOUT: &'static str = "Archives the given jobs";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut code = 0;
        for job in &self.jobs {
            let reply = cx.client().await?.archive_job(job_id(job)?).await?;
            if !reply.done {
                note!(cx, "Failed to archive job with ID '{job}'");
                code = 1;
            }
        }
        if code == 0 { Ok(()) } else { Err(Failure::Exit(code)) }
    }
}
