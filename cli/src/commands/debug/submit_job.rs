//! `gnt-debug submit-job`: jobs from files.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::submit::{DryRunPriority, input};
use crate::verb::Verb;
use crate::{job_follow, jobs, say};
use clap::Args;
use roost_proto::error::Error;
use roost_proto::ids::JobId;
use roost_proto::opcodes::OpInput;
use serde_json::Value;
use std::time::Instant;

/// `submit-job`.
#[derive(Args, Debug)]
pub struct SubmitJob {
    #[command(flatten)]
    job: DryRunPriority,
    /// Say what is done
    #[arg(short, long)]
    verbose: bool,
    /// Repeat the opcodes inside each job
    #[arg(long, value_name = "N", default_value_t = 1)]
    op_repeat: usize,
    /// Submit each job several times
    #[arg(long, value_name = "N", default_value_t = 1)]
    job_repeat: usize,
    /// Print counts and times
    #[arg(long)]
    timing_stats: bool,
    /// One call for each job, instead of one for all
    #[arg(long)]
    each: bool,
    /// Files with a JSON list of opcodes each
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
}

impl SubmitJob {
    /// The jobs of all files.
    fn jobs(&self, cx: &Cx) -> Outcome<Vec<Vec<Value>>> {
        let mut all = Vec::new();
        for path in &self.files {
            let text = std::fs::read_to_string(path)
                .map_err(|why| Failure::say(format!("Can't read '{path}': {why}")))?;
            let ops: Vec<Value> = serde_json::from_str(&text).map_err(|why| {
                Error::wrong_input(format!("'{path}' is not a JSON list of opcodes: {why}"))
            })?;
            let mut job = Vec::new();
            for op in &ops {
                let mut full = OpInput::from_json(op).map_err(|error| error.at(path))?;
                let ours = input(cx, full.op.clone(), &self.job.how()).common;
                full.common.reason.extend(ours.reason);
                full.common.dry_run |= ours.dry_run;
                full.common.debug_level = full.common.debug_level.max(ours.debug_level);
                if self.job.priority.priority.is_some() {
                    full.common.priority = ours.priority;
                }
                job.push(full.to_json());
            }
            let job: Vec<Value> = std::iter::repeat_n(job, self.op_repeat).flatten().collect();
            all.extend(std::iter::repeat_n(job, self.job_repeat));
        }
        Ok(all)
    }
}

impl Verb for SubmitJob {
    const NAME: &'static str = "submit-job";
    const ABOUT: &'static str = "Submits jobs built from JSON files containing lists of opcodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let jobs = self.jobs(cx)?;
        let opcodes: usize = jobs.iter().map(Vec::len).sum();
        let client = cx.client().await?;
        let started = Instant::now();
        if self.verbose {
            say!(cx, "Submitting jobs");
        }
        let replies = if self.each {
            let mut replies = Vec::new();
            for job in &jobs {
                replies.extend(client.submit(std::slice::from_ref(job), false).await?);
            }
            replies
        } else {
            client.submit(&jobs, false).await?
        };
        let submitted = started.elapsed();
        let ids: Vec<JobId> = replies.into_iter().collect::<Result<_, _>>()?;
        let numbers: Vec<String> = ids.iter().map(JobId::to_string).collect();
        say!(cx, "Submitted jobs {}", numbers.join(", "));
        let started = Instant::now();
        let mut ended = jobs::Ended::new();
        for id in &ids {
            let show = match self.verbose {
                true => job_follow::Show::Log,
                false => job_follow::Show::Nothing,
            };
            let result = job_follow::follow(cx, *id, show).await;
            if let Err(Failure::Error(error)) = &result {
                cx.note(format_args!("Job {id} has failed: {}", error.to_cli_text()));
            }
            ended.push((id.to_string(), result.ok()));
        }
        let executed = started.elapsed();
        if self.timing_stats {
            say!(cx, "C:op     {opcodes}");
            say!(cx, "C:job    {}", ids.len());
            say!(cx, "T:submit {:.4}", submitted.as_secs_f64());
            say!(cx, "T:exec   {:.4}", executed.as_secs_f64());
            say!(cx, "T:total  {:.4}", (submitted + executed).as_secs_f64());
        }
        jobs::all_good(&ended)
    }
}
