//! Jobs as stored and shown: states, log entries, timestamps. Ganeti's words and shapes.

use crate::error::Error;
use crate::ids::JobId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The state of a job or of one of its opcodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Accepted, not started.
    Queued,
    /// Waiting for locks or for other jobs.
    Waiting,
    /// To be cancelled, still waiting.
    Canceling,
    /// At work.
    Running,
    /// Cancelled; nothing was changed, or all of it undone.
    Canceled,
    /// Done.
    Success,
    /// Failed.
    Error,
}

impl JobStatus {
    /// Ganeti's word.
    pub fn as_str(self) -> &'static str {
        match self {
            JobStatus::Queued => "queued",
            JobStatus::Waiting => "waiting",
            JobStatus::Canceling => "canceling",
            JobStatus::Running => "running",
            JobStatus::Canceled => "canceled",
            JobStatus::Success => "success",
            JobStatus::Error => "error",
        }
    }

    /// Nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, JobStatus::Canceled | JobStatus::Success | JobStatus::Error)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for JobStatus {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self, Error> {
        serde_json::from_value(s.into())
            .map_err(|_| Error::wrong_input(format!("'{s}' is not a job status")))
    }
}

/// A point in time as Ganeti's `[seconds, microseconds]` since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64, pub u32);

impl Timestamp {
    /// From microseconds since 1970.
    pub fn from_micros(micros: u64) -> Timestamp {
        Timestamp(micros / 1_000_000, (micros % 1_000_000) as u32)
    }

    /// Seconds since 1970.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 + f64::from(self.1) / 1e6
    }
}

/// One line of a job's log: `[serial, [seconds, microseconds], type, payload]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry(pub u64, pub Timestamp, pub String, pub Value);

impl LogEntry {
    /// Plain text.
    pub const MESSAGE: &'static str = "message";
}

/// A priority: −20 is most urgent, 19 least.
pub const PRIORITY_HIGHEST: i32 = -20;
/// See [`PRIORITY_HIGHEST`].
pub const PRIORITY_LOWEST: i32 = 19;

/// An opcode in a job, as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpRecord {
    /// The opcode's dict, with OP_ID and the common fields.
    pub input: Value,
    /// Its state.
    pub status: JobStatus,
    /// What it returned; for a failed one see [`Error::to_result`].
    pub result: Value,
    /// Its log, oldest first.
    #[serde(default)]
    pub log: Vec<LogEntry>,
    /// Its priority.
    pub priority: i32,
    /// When it was taken up, when it held all locks, when it ended.
    pub start_timestamp: Option<Timestamp>,
    /// See above.
    pub exec_timestamp: Option<Timestamp>,
    /// See above.
    pub end_timestamp: Option<Timestamp>,
}

/// A job, as stored. Field names are those of Ganeti's job files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its number.
    pub id: JobId,
    /// Its opcodes, carried out one after another.
    pub ops: Vec<OpRecord>,
    /// When it was accepted, when work began, when it ended.
    pub received_timestamp: Option<Timestamp>,
    /// See above.
    pub start_timestamp: Option<Timestamp>,
    /// See above.
    pub end_timestamp: Option<Timestamp>,
    /// Put aside: shown only when asked for.
    #[serde(default)]
    pub archived: bool,
}

impl JobRecord {
    /// The job's state, computed from its opcodes by Ganeti's rule: error, canceling and canceled
    /// decide at once; waiting and running show; all successful is success.
    pub fn status(&self) -> JobStatus {
        let mut status = JobStatus::Queued;
        let mut all_success = true;
        for op in &self.ops {
            match op.status {
                JobStatus::Success => continue,
                JobStatus::Error | JobStatus::Canceling | JobStatus::Canceled => return op.status,
                JobStatus::Waiting | JobStatus::Running => status = op.status,
                JobStatus::Queued => {}
            }
            all_success = false;
        }
        if all_success { JobStatus::Success } else { status }
    }

    /// The most urgent priority of the opcodes that have not ended.
    pub fn priority(&self) -> i32 {
        self.ops
            .iter()
            .filter(|op| !op.status.is_final())
            .map(|op| op.priority)
            .min()
            .unwrap_or_else(|| self.ops.first().map_or(0, |op| op.priority))
    }

    /// The serial of the newest log entry, 0 if there is none.
    pub fn log_serial(&self) -> u64 {
        self.ops.iter().flat_map(|op| &op.log).map(|entry| entry.0).max().unwrap_or(0)
    }
}

/// How far the running opcode of a job is. Not stored: lost with the daemon, and no harm done.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct JobProgress {
    /// Index of the opcode.
    pub op: usize,
    /// Steps done, of all steps of the plan.
    pub step: usize,
    /// See above.
    pub steps: usize,
    /// What is being done.
    pub doing: String,
    /// Share of the step that is done, 0–100, where known.
    pub percent: Option<f64>,
    /// Bytes per second, where known.
    pub rate: Option<f64>,
    /// Seconds left, where known.
    pub eta: Option<f64>,
    /// The lock waited for and who holds it, while waiting.
    pub waits_for: Option<String>,
}
