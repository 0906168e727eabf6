//! Waiting for a job: its log as it is written, its progress on a terminal, its results.
//!
//! In a pipe the lines are exactly Ganeti's. A person at a terminal also sees, in one line that is
//! rewritten, what the job does now or what it waits for.

use crate::clock;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use roost_proto::error::{Error, ErrorKind};
use roost_proto::ids::JobId;
use roost_proto::job::{JobProgress, JobStatus, LogEntry};
use roost_proto::query::pyrepr;
use roost_proto::rpc::master::JobChange;
use serde_json::Value;
use std::time::Duration;

/// A job that has not begun after this time is said to wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a followed job prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Its log.
    Log,
    /// Nothing.
    Nothing,
}

/// Waits for a job and prints its log. Result: what its opcodes returned. A job that failed is an
/// error, the first one among its opcodes.
pub async fn wait(cx: &Cx, job: JobId) -> Outcome<Vec<Value>> {
    follow(cx, job, Show::Log).await
}

/// The same, with a choice of what is printed.
pub async fn follow(cx: &Cx, job: JobId, show: Show) -> Outcome<Vec<Value>> {
    let mut changes = cx.client().await?.follow(job, 0).await?;
    let mut screen = Screen { cx, line: false };
    let mut status = JobStatus::Queued;
    let mut said = Vec::new();
    loop {
        let next = match tokio::time::timeout(PATIENCE, changes.next()).await {
            Ok(next) => next?,
            Err(_) => {
                if show == Show::Log {
                    screen.say_waiting(job, status, &mut said);
                }
                continue;
            }
        };
        let Some(change) = next else {
            screen.clear();
            return Err(Failure::say(format!(
                "Connection to the master daemon was lost while waiting for job {job}, which goes \
                 on; see 'gnt-job watch {job}'."
            )));
        };
        status = change.status.parse()?;
        if show == Show::Log {
            screen.show(&change)?;
        }
        if status.is_final() {
            screen.clear();
            return results(status, &change.results);
        }
    }
}

/// What a finished job amounts to.
fn results(status: JobStatus, results: &str) -> Outcome<Vec<Value>> {
    let results: Vec<(JobStatus, Value)> = match results {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|error| {
            Error::generic(format!("masterd sent results that cannot be read: {error}"))
        })?,
    };
    match status {
        JobStatus::Success => return Ok(results.into_iter().map(|(_, value)| value).collect()),
        JobStatus::Canceled => return Err(Error::exec("Job was canceled").into()),
        _ => {}
    }
    let failed = results.iter().position(|(status, _)| *status == JobStatus::Error);
    let Some(index) = failed else {
        return Err(Error::exec(format!("the job ended with status '{status}'")).into());
    };
    let value = &results[index].1;
    let mut error = Error::from_result(value)
        .unwrap_or_else(|| Error::exec(value.as_str().map_or(value.to_string(), str::to_owned)));
    if error.kind != ErrorKind::HooksAbort
        && results[..index].iter().any(|(status, _)| *status == JobStatus::Success)
    {
        error.message = format!("partial failure (opcode {index}): {}", error.message);
    }
    Err(error.into())
}

/// What is on the screen.
struct Screen<'a> {
    cx: &'a Cx,
    /// A progress line stands there and must be wiped before anything else is written.
    line: bool,
}

impl Screen<'_> {
    fn clear(&mut self) {
        if std::mem::take(&mut self.line) {
            self.cx.io.write_err("\r\x1b[K");
        }
    }

    fn show(&mut self, change: &JobChange) -> Outcome {
        if !change.log.is_empty() {
            let entries: Vec<LogEntry> = serde_json::from_str(&change.log).map_err(|error| {
                Error::generic(format!("masterd sent a log that cannot be read: {error}"))
            })?;
            self.clear();
            for entry in &entries {
                self.cx.say(log_line(entry))?;
            }
        }
        if self.cx.io.watched
            && let Ok(progress) = serde_json::from_str::<JobProgress>(&change.progress)
        {
            let text: String = progress_line(&progress).chars().take(terminal_width()).collect();
            self.cx.io.write_err(&format!("\r\x1b[K{text}"));
            self.line = true;
        }
        Ok(())
    }

    /// Says once for each of the two states that the job did not begin yet.
    fn say_waiting(&mut self, job: JobId, status: JobStatus, said: &mut Vec<JobStatus>) {
        let text = match status {
            JobStatus::Queued => format!("Job {job} is waiting in queue"),
            JobStatus::Waiting => format!("Job {job} is trying to acquire all necessary locks"),
            _ => return,
        };
        if !said.contains(&status) {
            said.push(status);
            self.clear();
            self.cx.note(text);
        }
    }
}

/// A log entry as a line: `Tue Jan  1 00:00:00 2026 TEXT`.
pub fn log_line(entry: &LogEntry) -> String {
    let LogEntry(_, time, kind, payload) = entry;
    let text = match payload {
        Value::String(text) if kind == LogEntry::MESSAGE => text.clone(),
        other => pyrepr::str(other),
    };
    format!("{} {text}", clock::ctime(time.0))
}

fn progress_line(progress: &JobProgress) -> String {
    if let Some(lock) = &progress.waits_for {
        return format!("waiting for {lock}");
    }
    let mut line = format!("[{}/{}] {}", progress.step, progress.steps, progress.doing);
    if let Some(percent) = progress.percent {
        line.push_str(&format!(" {percent:.1}%"));
    }
    if let Some(rate) = progress.rate {
        line.push_str(&format!(" {:.1} MiB/s", rate / 1_048_576.0));
    }
    if let Some(eta) = progress.eta {
        line.push_str(&format!(" {} left", duration(eta)));
    }
    line
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, s) => format!("{h}h {m}m {s}s"),
    }
}

fn terminal_width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or(80_usize).max(20) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_error_decides() {
        let text = json!([
            ["success", null],
            ["error", ["OpPrereqError", ["no such node", "unknown_entity"]]],
            ["error", ["OpExecError", ["Preceding opcode failed"]]],
        ])
        .to_string();
        let failure = results(JobStatus::Error, &text).expect_err("failed");
        assert_eq!(
            failure.text().expect("text"),
            "Failure: prerequisites not met for this operation:\nerror type: unknown_entity, \
             error details:\npartial failure (opcode 1): no such node"
        );
        let failure = results(JobStatus::Canceled, "").expect_err("cancelled");
        assert_eq!(
            failure.text().expect("text"),
            "Failure: command execution error:\nJob was canceled"
        );
        assert_eq!(
            results(JobStatus::Success, r#"[["success", [1]]]"#).expect("good"),
            [json!([1])]
        );
    }

    #[test]
    fn progress_in_a_line() {
        let mut progress = JobProgress {
            step: 2,
            steps: 5,
            doing: "moving memory".into(),
            percent: Some(12.34),
            rate: Some(104_857_600.0),
            eta: Some(62.0),
            ..JobProgress::default()
        };
        assert_eq!(progress_line(&progress), "[2/5] moving memory 12.3% 100.0 MiB/s 1m 2s left");
        progress.waits_for = Some("instance/web1 held by job 7".into());
        assert_eq!(progress_line(&progress), "waiting for instance/web1 held by job 7");
    }
}
