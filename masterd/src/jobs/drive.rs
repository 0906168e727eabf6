//! Driving one job: its opcodes one after the other, and its end.
//!
//! ```text
//!   prepare (`prepare.rs`) ─► carry out (`carry_out.rs`, its steps in `step.rs`) ─► the next one
//! ```

use super::carry_out::Run;
use super::engine::{Engine, cancelled, end_rest};
use super::entry::JobEntry;
use super::journal::{cursor_key, plan_key};
use super::locks::Held;
use super::recover::Resumed;
use crate::clock;
use crate::state::Commit;
use roost_proto::error::Error;
use roost_proto::job::{JobRecord, JobStatus};
use serde_json::Value;
use std::sync::Arc;

/// How an opcode ended.
pub(super) enum Ended {
    Success,
    Canceled,
    Failed(Error),
}

impl Engine {
    /// Carries out what is left of a job.
    pub(super) async fn run_job(&self, entry: &Arc<JobEntry>, mut resumed: Option<Resumed>) {
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
            }
        }
        // The commit that ended the last opcode ended the job.
        self.0.ended(entry);
    }

    /// Makes a failure or cancellation durable.
    async fn end_job(&self, entry: &Arc<JobEntry>, op: usize, status: JobStatus, result: Value) {
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
        let commit = Commit {
            puts: vec![entry.document_after(end)],
            deletes: vec![plan_key(entry.id, op), cursor_key(entry.id, op)],
            ..Commit::default()
        };
        if self.0.store(commit).await.is_ok() {
            entry.update(end);
            self.0.ended(entry);
        }
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
