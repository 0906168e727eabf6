//! Driving one job: its opcodes one after the other, and its end.
//!
//! ```text
//!   prepare (`prepare.rs`) ─► carry out (`carry_out.rs`, its steps in `step.rs`) ─► the next one
//!      └─ depends on jobs that have not ended ─► back into the queue
//! ```
//!
//! If nothing can be committed any more, because masterd stops or another one leads, a job is left
//! as it is: whoever leads next goes on from the journal. Undoing it then would undo another's work.

use super::carry_out::Run;
use super::engine::{Engine, cancelled, end_rest};
use super::entry::JobEntry;
use super::journal::{cursor_key, plan_key};
use super::locks::Held;
use super::recover::Resumed;
use crate::clock;
use crate::state::{Commit, CommitError};
use roost_proto::error::Error;
use roost_proto::ids::JobId;
use roost_proto::job::{JobRecord, JobStatus};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// How an opcode ended.
pub(super) enum Ended {
    Success,
    Canceled,
    Failed(Error),
    /// It has not begun: it waits for the end of these jobs.
    Waiting(HashSet<JobId>),
    /// Nothing can be committed: it stays as it is.
    Halted,
}

/// What is left to do for a job.
pub(super) enum Left {
    /// It has ended.
    Nothing,
    /// It goes on when these have ended.
    Waiting(HashSet<JobId>),
    /// Whoever leads next goes on with it.
    Everything,
}

/// Why a plan does not go on.
pub(super) enum Stop {
    /// This is wrong: it must be undone.
    Wrong(Error),
    /// See [`Ended::Halted`].
    Halted,
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Stop {
        match error {
            CommitError::Rejected(_) => Stop::Wrong(error.into()),
            _ => Stop::Halted,
        }
    }
}

impl From<CommitError> for Ended {
    fn from(error: CommitError) -> Ended {
        match Stop::from(error) {
            Stop::Wrong(error) => Ended::Failed(error),
            Stop::Halted => Ended::Halted,
        }
    }
}

impl Engine {
    /// Carries out what is left of a job.
    pub(super) async fn run_job(
        &self,
        entry: &Arc<JobEntry>,
        mut resumed: Option<Resumed>,
    ) -> Left {
        entry.note_pickup();
        entry.update(|record| {
            record.start_timestamp.get_or_insert_with(clock::now);
        });
        for op in 0..entry.record().ops.len() {
            if entry.record().ops[op].status == JobStatus::Success {
                continue;
            }
            let resumed = resumed.take_if(|r| r.op == op);
            let result = self.run_op(entry, op, resumed).await;
            self.0.active.lock().await.remove(&(entry.id, op));
            match result {
                Ended::Success => {}
                Ended::Canceled => {
                    return self.end_job(entry, op, JobStatus::Canceled, cancelled()).await;
                }
                Ended::Failed(error) => {
                    return self.end_job(entry, op, JobStatus::Error, error.to_result()).await;
                }
                Ended::Waiting(others) => return Left::Waiting(others),
                Ended::Halted => return Left::Everything,
            }
        }
        // The commit that ended the last opcode ended the job.
        self.over(entry);
        Left::Nothing
    }

    /// A job has ended and that is durable. A wish about it went with its end, unless it came while
    /// that was being stored.
    fn over(&self, entry: &Arc<JobEntry>) {
        self.0.ended(entry);
        if entry.stored_wish().is_none() {
            return;
        }
        let (engine, entry) = (self.clone(), entry.clone());
        self.0.tasks.spawn(async move {
            // The next start finds what is left.
            tokio::select! {
                _ = engine.forget_wish(&entry) => {}
                () = engine.0.shutdown.cancelled() => {}
            }
        });
    }

    /// Makes a failure or cancellation durable.
    async fn end_job(
        &self,
        entry: &Arc<JobEntry>,
        op: usize,
        status: JobStatus,
        result: Value,
    ) -> Left {
        let now = clock::now();
        let end = |record: &mut JobRecord| {
            let failed = &mut record.ops[op];
            failed.status = status;
            failed.result = result.clone();
            failed.end_timestamp = Some(now);
            let rest = match status {
                JobStatus::Canceled => cancelled(),
                _ => Error::generic("Preceding opcode failed").to_result(),
            };
            end_rest(record, status, rest);
        };
        let journal = [plan_key(entry.id, op), cursor_key(entry.id, op)];
        let commit = Commit {
            puts: vec![entry.document_after(end)],
            deletes: journal.into_iter().chain(entry.stored_wish()).collect(),
            ..Commit::default()
        };
        if let Err(error) = self.0.store(commit).await {
            tracing::warn!(job = entry.id.0, %error, "its end could not be stored");
            return Left::Everything;
        }
        entry.update(end);
        self.over(entry);
        Left::Nothing
    }

    async fn run_op(&self, entry: &Arc<JobEntry>, op: usize, resumed: Option<Resumed>) -> Ended {
        if let Some(resumed) = resumed {
            let run = Run { engine: self, entry, op, plan: resumed.plan, resumed: true };
            let _held: Held = resumed.held;
            return run.carry_on(resumed.cursor).await;
        }
        let cancel = entry.cancel.clone();
        let prepared = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ended::Canceled,
            prepared = self.prepare(entry, op) => prepared,
        };
        match prepared {
            Ok((run, _held, cursor)) => {
                let ended = run.carry_on(cursor).await;
                drop(_held);
                ended
            }
            Err(ended) => ended,
        }
    }
}
