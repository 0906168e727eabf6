//! `gnt-job wait`.

use super::job_id;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::job_follow::{self, Show};
use crate::verb::Verb;
use clap::Args;
use roost_proto::ids::JobId;

/// `wait`.
#[derive(Args, Debug)]
pub struct Wait {
    /// Its number
    #[arg(value_name = "JOB")]
    job: String,
}

/// Follows a job to its end; says why it failed.
pub(super) async fn to_the_end(cx: &Cx, job: JobId, show: Show) -> Outcome {
    match job_follow::follow(cx, job, show).await {
        Ok(_) => Ok(()),
        Err(Failure::Error(error)) => {
            Err(Failure::say(format!("Job {job} failed: {}", error.to_cli_text())))
        }
        Err(other) => Err(other),
    }
}

impl Verb for Wait {
    const NAME: &'static str = "wait";
    const ABOUT: &'static str = "Waits for a job to finish";

    async fn run(self, cx: &Cx) -> Outcome {
        to_the_end(cx, job_id(&self.job)?, Show::Nothing).await
    }
}
