//! Several jobs of one command: submitted together, waited for one after the other.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::job_follow;
use crate::submit::{How, input};
use crate::{note, say};
use roost_proto::error::ErrorKind;
use roost_proto::ids::JobId;
use roost_proto::opcodes::OpCode;
use serde_json::Value;

/// A job and what it is for.
#[derive(Clone, Debug)]
pub struct NamedJob {
    /// The object's name, or the job's number where there is none.
    pub name: String,
    /// What it does.
    pub ops: Vec<OpCode>,
}

impl NamedJob {
    /// A job of one opcode.
    pub fn new(name: impl Into<String>, op: impl Into<OpCode>) -> NamedJob {
        NamedJob { name: name.into(), ops: vec![op.into()] }
    }
}

/// How jobs ended: for each its name, and its results unless it failed (which was printed).
pub type Ended = Vec<(String, Option<Vec<Value>>)>;

/// Submits the jobs and waits for all, unless told not to. `verbose` lists their numbers first, as
/// for a selection of several objects. A command ends with 1 if a job failed.
pub async fn run(cx: &Cx, jobs: Vec<NamedJob>, how: &How, verbose: bool) -> Outcome<Ended> {
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let opcodes: Vec<Vec<Value>> = jobs
        .into_iter()
        .map(|job| job.ops.into_iter().map(|op| input(cx, op, how).to_json()).collect())
        .collect();
    let replies = cx.client().await?.submit(&opcodes, how.even_if_drained).await?;
    if how.print_jobid {
        for job in replies.iter().flatten() {
            cx.say(job)?;
        }
    }
    let mut ended = Ended::new();
    let mut accepted = Vec::new();
    for (name, reply) in names.into_iter().zip(replies) {
        match reply {
            Ok(job) => accepted.push((job, name)),
            Err(error) => {
                note!(cx, "Failed to submit job for {name}: {}", error.message);
                ended.push((name, None));
            }
        }
    }
    if how.submit {
        for (job, name) in accepted {
            say!(cx, "{job}: {name}");
        }
        return Err(Failure::Exit(if ended.is_empty() { 0 } else { 1 }));
    }
    if verbose && !accepted.is_empty() {
        let numbers: Vec<String> = accepted.iter().map(|(job, _)| job.to_string()).collect();
        say!(cx, "Submitted jobs {}", numbers.join(", "));
    }
    ended.extend(wait(cx, accepted).await?);
    Ok(ended)
}

/// Waits for jobs and prints their logs; says which failed and why.
pub async fn wait(cx: &Cx, jobs: Vec<(JobId, String)>) -> Outcome<Ended> {
    let mut ended = Ended::new();
    for (job, name) in jobs {
        if name.is_empty() {
            say!(cx, "Waiting for job {job} ...");
        } else {
            say!(cx, "Waiting for job {job} for {name} ...");
        }
        let results = match job_follow::wait(cx, job).await {
            Ok(results) => Some(results),
            Err(Failure::Error(error)) => {
                let of = if name.is_empty() { String::new() } else { format!(" for {name}") };
                match error.kind {
                    ErrorKind::JobLost => {
                        note!(cx, "Job {job}{of} has been archived, cannot check its result")
                    }
                    _ => note!(cx, "Job {job}{of} has failed: {}", error.to_cli_text()),
                }
                None
            }
            Err(other) => return Err(other),
        };
        ended.push((name, results));
    }
    Ok(ended)
}

/// Ends the command with 1 if a job failed.
pub fn all_good(ended: &Ended) -> Outcome {
    match ended.iter().all(|(_, results)| results.is_some()) {
        true => Ok(()),
        false => Err(Failure::Exit(1)),
    }
}

/// Waits for the jobs that an opcode submitted: its result's `jobs`, pairs of whether one was
/// accepted and its number or why not.
pub async fn wait_for_children(cx: &Cx, result: &Value) -> Outcome<Ended> {
    let mut ended = Ended::new();
    let mut jobs = Vec::new();
    let children = result.get("jobs").and_then(Value::as_array);
    for child in children.into_iter().flatten() {
        match (child.get(0).and_then(Value::as_bool), child.get(1)) {
            (Some(true), Some(id)) => {
                let number = id.as_u64().or_else(|| id.as_str()?.parse().ok());
                jobs.extend(number.map(|number| (JobId(number), String::new())));
            }
            (_, why) => {
                let why = why.and_then(Value::as_str).unwrap_or("no reason given");
                note!(cx, "Failed to submit job: {why}");
                ended.push((String::new(), None));
            }
        }
    }
    ended.extend(wait(cx, jobs).await?);
    Ok(ended)
}

/// How many of the jobs failed.
pub fn failures(ended: &Ended) -> usize {
    ended.iter().filter(|(_, results)| results.is_none()).count()
}
