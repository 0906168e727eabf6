//! `-X`: jobs of a plan, a set after the other.
//!
//! ```text
//!   set 1: job job job ─ all done ─► set 2: … ─► done
//!             │ one failed: stop        │ SIGINT: finish this set, then stop
//!             └─ SIGTERM: stop at once; what was submitted goes on in the master
//! ```

use crate::clock;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Deferred;
use crate::job_follow::{self, Show};
use crate::{note, say};
use roost_htools::balance::Step;
use roost_htools::carry;
use roost_htools::model::Cluster;
use roost_htools::names::ShortNames;
use roost_proto::ids::JobId;
use roost_proto::opcodes::{Common, OpCode, OpInput};
use roost_proto::query::ResultStatus;
use serde_json::Value;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Jobs that may run at the same time.
#[derive(Clone, Debug, Default)]
pub struct JobSet {
    /// What it does, as the end of a sentence.
    pub title: String,
    /// The opcodes of each job, and what it is about.
    pub jobs: Vec<(String, Vec<OpCode>)>,
}

impl JobSet {
    /// A job for each step.
    pub fn of(cluster: &Cluster, names: &ShortNames, steps: &[Step]) -> JobSet {
        let name = |step: &Step| names.show(&cluster.instances[step.what.instance.at()].name);
        let all: Vec<&str> = steps.iter().map(name).collect();
        let title = format!("for instances {}", all.join(", "));
        let job = |step: &Step| (name(step).to_owned(), carry::opcodes(cluster, step));
        JobSet { title, jobs: steps.iter().map(job).collect() }
    }
}

/// What is recorded with the jobs.
#[derive(Clone, Debug)]
pub struct Label {
    pub tool: &'static str,
    pub comment: String,
    pub reason: String,
    pub priority: i32,
}

impl Label {
    /// An opcode as it is sent.
    fn input(&self, op: OpCode) -> Value {
        let common = Common {
            priority: self.priority,
            comment: Some(self.comment.clone()),
            reason: vec![(self.tool.into(), self.reason.clone(), clock::now_nanos())],
            ..Common::default()
        };
        OpInput { common, op }.to_json()
    }
}

/// Ctrl-C and the wish of whoever ends programs.
struct Wishes {
    interrupt: Signal,
    terminate: Signal,
    /// Ctrl-C was pressed.
    stop: bool,
}

impl Wishes {
    fn new() -> Outcome<Wishes> {
        let listen = |kind| {
            signal(kind)
                .map_err(|why| Failure::say(format!("Error: cannot wait for signals: {why}")))
        };
        let (interrupt, terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Wishes { interrupt, terminate, stop: false })
    }

    /// Waits for something, and hears what is wished meanwhile. Errors: to end at once.
    async fn heard<T>(&mut self, cx: &Cx, what: impl Future<Output = T>) -> Outcome<T> {
        let mut what = Box::pin(what);
        loop {
            tokio::select! {
                // What is wished counts also if the waiting has just come to its end.
                biased;
                _ = self.interrupt.recv() => {
                    self.stop = true;
                    say!(cx, "Cancel request registered, will exit at the end of the current job set...");
                }
                _ = self.terminate.recv() => {
                    say!(cx, "Double cancel request, exiting now...");
                    return Err(Failure::Exit(2));
                }
                result = &mut what => return Ok(result),
            }
        }
    }
}

/// Carries sets out by the master at a socket (empty: the usual one), at most `count` of them. Errors: a job
/// failed or was refused; then later sets are not begun.
pub async fn execute(
    cx: &Cx,
    socket: &str,
    label: &Label,
    sets: Vec<JobSet>,
    count: usize,
) -> Outcome {
    cx.client_at(socket).await?;
    let _signals_are_ours = Deferred::new();
    let mut wishes = Wishes::new()?;
    let count = count.min(sets.len());
    for (at, set) in sets.into_iter().take(count).enumerate() {
        // Whoever pressed Ctrl-C after the set before had ended does not want another one.
        wishes.heard(cx, std::future::ready(())).await?;
        if wishes.stop {
            let left = count - at;
            note!(cx, "Exiting early due to user request, {left} jobset(s) remaining.");
            return Ok(());
        }
        run_set(cx, label, set, &mut wishes).await?;
    }
    Ok(())
}

async fn run_set(cx: &Cx, label: &Label, set: JobSet, wishes: &mut Wishes) -> Outcome {
    say!(cx, "Executing jobset {}", set.title);
    let inputs = |ops: &Vec<OpCode>| ops.iter().map(|op| label.input(op.clone())).collect();
    let jobs: Vec<Vec<Value>> = set.jobs.iter().map(|(_, ops)| inputs(ops)).collect();
    let client = cx.client().await?;
    let replies = wishes.heard(cx, client.submit(&jobs, false)).await??;
    let mut accepted: Vec<Accepted<'_>> = vec![];
    let mut failed = vec![];
    for (reply, (name, ops)) in replies.into_iter().zip(&set.jobs) {
        match reply {
            Ok(job) => accepted.push(Accepted { job, name, ops }),
            Err(why) => failed.push(format!("the job for {name} was refused: {}", why.message)),
        }
    }
    let numbers: Vec<String> = accepted.iter().map(|one| one.job.to_string()).collect();
    if !numbers.is_empty() {
        say!(cx, "Got job IDs {}", numbers.join(", "));
    }
    let ends = wishes.heard(cx, together(accepted.iter().map(|one| follow(cx, one)).collect()));
    failed.extend(ends.await?.into_iter().flatten());
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::say(format!(
        "Error: Not all jobs completed successfully: {}\nAborting.",
        failed.join("; ")
    )))
}

/// A job that is under way.
struct Accepted<'a> {
    job: JobId,
    name: &'a str,
    ops: &'a [OpCode],
}

/// Waits for a job and says how it ended. Result: what went wrong.
async fn follow(cx: &Cx, Accepted { job, name, ops }: &Accepted<'_>) -> Option<String> {
    let results = match job_follow::follow(cx, *job, Show::Nothing).await {
        Ok(results) => results,
        Err(failure) => {
            return Some(format!("job {job} for {name}: {}", failure.text().unwrap_or_default()));
        }
    };
    let unswitched: Vec<&str> = ops.iter().zip(&results).flat_map(not_switched).collect();
    if !unswitched.is_empty() {
        let nodes = unswitched.join(", ");
        return Some(format!("job {job}: {nodes} could not be switched, see 'gnt-job info {job}'"));
    }
    // Whoever does not read it any more still wants the jobs.
    let _ = cx.say(format_args!("Job {job} for {name} is done"));
    None
}

/// Nodes that an out-of-band command did not switch: its job does not fail, it has a row for each node.
fn not_switched<'r>((op, result): (&OpCode, &'r Value)) -> Vec<&'r str> {
    let rows = match op {
        OpCode::OobCommand(_) => result.as_array(),
        _ => None,
    };
    let done = |row: &&Value| row[1][0] == ResultStatus::Normal as u8;
    let rows = rows.into_iter().flatten().filter(|row| !done(row));
    rows.filter_map(|row| row[0][1].as_str()).collect()
}

/// Waits for all at the same time.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, result) in waiting.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *result = Some(value);
            }
        }
        match results.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::choices::OobAction;
    use roost_proto::opcodes::OobCommand;
    use serde_json::json;

    #[test]
    fn what_was_not_switched_is_named() {
        let op: OpCode = OobCommand::new(OobAction::PowerOff).into();
        let result = json!([
            [[0, "node1"], [0, null]],
            [[0, "node2"], [2, null]],
            [[0, "node3"], [3, null]]
        ]);
        assert_eq!(not_switched((&op, &result)), ["node2", "node3"]);
        let other: OpCode = roost_proto::opcodes::ClusterVerify::new().into();
        assert!(not_switched((&other, &result)).is_empty());
    }
}
