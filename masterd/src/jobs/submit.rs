//! Accepting jobs: from opcodes to a durable job in the queue.

use super::engine::Engine;
use super::entry::JobEntry;
use super::filters::Verdict;
use crate::state::Commit;
use roost_proto::error::{Error, ErrorKind, Result};
use roost_proto::ids::{FilterId, JobId};
use roost_proto::job::JobRecord;
use roost_proto::opcodes::OpInput;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Ganeti's limit: more jobs that have not ended are not accepted.
const UNFINISHED_LIMIT: usize = 5_000;
/// More jobs are not kept in memory; older ones must be archived first.
const KEPT_LIMIT: usize = 50_000;

/// A queue that is full, and the way out.
fn full(unfinished: usize, kept: usize, more: usize) -> Option<Error> {
    let message = if unfinished + more > UNFINISHED_LIMIT {
        format!(
            "Job queue is full: {unfinished} jobs have not ended, {UNFINISHED_LIMIT} may be there; \
             wait until some have, or cancel them (gnt-job cancel --queued)"
        )
    } else if kept + more > KEPT_LIMIT {
        format!(
            "Job queue is full: {kept} jobs, {KEPT_LIMIT} may be there; archive old ones \
             (gnt-job autoarchive)"
        )
    } else {
        return None;
    };
    Some(Error { kind: ErrorKind::JobQueueFull, error_type: None, message })
}

fn rejected(job: JobId, rule: FilterId) -> Error {
    Error::wrong_state(format!(
        "Job {job} is rejected by filter rule {rule}; 'gnt-filter info {rule}' says why"
    ))
}

/// The jobs that opcodes yet to be carried out depend on.
fn depends(record: &JobRecord) -> impl Iterator<Item = JobId> {
    let ops = record.ops.iter().filter(|op| !op.status.is_final());
    let lists = ops.filter_map(|op| op.input.get("depends").and_then(Value::as_array));
    lists.flatten().filter_map(|d| d.get(0)?.as_u64()).map(JobId)
}

impl Engine {
    /// Accepts several jobs; each may be refused for itself. Relative dependencies count back
    /// within this submission.
    pub async fn submit(
        &self,
        jobs: Vec<Vec<OpInput>>,
        even_if_drained: bool,
    ) -> Vec<Result<JobId>> {
        if self.is_drained() && !even_if_drained {
            let refused = Error {
                kind: ErrorKind::JobQueueDrainError,
                error_type: None,
                message: "Job queue is drained, refusing job".into(),
            };
            return vec![Err(refused); jobs.len()];
        }
        let kept = self.0.jobs.read().unwrap_or_else(PoisonError::into_inner).len();
        let unfinished = self.0.queue().len();
        if let Some(refused) = full(unfinished, kept, jobs.len()) {
            return vec![Err(refused); jobs.len()];
        }
        let mut results: Vec<Result<JobId>> = Vec::with_capacity(jobs.len());
        let mut entries = Vec::new();
        for ops in jobs {
            match self.admit(ops, &results) {
                Ok(entry) => {
                    results.push(Ok(entry.id));
                    entries.push(entry);
                }
                Err(error) => results.push(Err(error)),
            }
        }
        if entries.is_empty() {
            return results;
        }
        let puts = entries.iter().map(|entry| entry.document()).collect();
        match self.0.state.commit(Commit { puts, ..Commit::default() }).await {
            Ok(_) => self.enqueue(entries),
            Err(error) => {
                for result in results.iter_mut().filter(|r| r.is_ok()) {
                    *result = Err(error.clone().into());
                }
            }
        }
        results
    }

    /// Gives a job its number and fixes its dependencies.
    fn admit(&self, mut ops: Vec<OpInput>, before: &[Result<JobId>]) -> Result<Arc<JobEntry>> {
        if ops.is_empty() {
            return Err(Error::wrong_input("A job needs at least one opcode"));
        }
        for op in &mut ops {
            for (job, _) in &mut op.common.depends {
                if *job < 0 {
                    let back = usize::try_from(job.unsigned_abs()).unwrap_or(usize::MAX);
                    let place = before.len().checked_sub(back).ok_or_else(|| {
                        Error::wrong_input(format!(
                            "Relative dependency {job} goes back beyond the first job"
                        ))
                    })?;
                    *job = match &before[place] {
                        Ok(id) => id.0 as i64,
                        Err(_) => {
                            return Err(Error::wrong_input(format!(
                                "Relative dependency {job}: that job was refused"
                            )));
                        }
                    };
                }
            }
        }
        let id = JobId(self.0.last_job.fetch_add(1, Ordering::Relaxed) + 1);
        if ops.iter().any(|op| op.common.depends.iter().any(|(job, _)| *job == id.0 as i64)) {
            return Err(Error::wrong_input("Job can't depend on itself"));
        }
        let entry = Arc::new(JobEntry::new(id, ops));
        match self.rules().judge(&entry.record()) {
            Verdict::Reject(rule) => Err(rejected(id, rule)),
            Verdict::Start(_) => Ok(entry),
        }
    }

    /// The entries of child jobs, to be committed by whoever makes them and then enqueued. They are
    /// part of what was accepted already, so a drained queue takes them.
    pub(super) fn admit_children(&self, jobs: Vec<Vec<OpInput>>) -> Vec<Result<Arc<JobEntry>>> {
        let mut ids: Vec<Result<JobId>> = Vec::with_capacity(jobs.len());
        let mut entries = Vec::with_capacity(jobs.len());
        for ops in jobs {
            let entry = self.admit(ops, &ids);
            ids.push(entry.as_ref().map(|e| e.id).map_err(Clone::clone));
            entries.push(entry);
        }
        entries
    }

    /// Durable jobs become visible and may start.
    pub(super) fn enqueue(&self, entries: Vec<Arc<JobEntry>>) {
        let mut jobs = self.0.jobs.write().unwrap_or_else(PoisonError::into_inner);
        for entry in &entries {
            jobs.insert(entry.id, entry.clone());
        }
        drop(jobs);
        self.rules();
        let mut refused = Vec::new();
        let mut queue = self.0.queue();
        let rules = self.0.known_rules();
        for entry in entries {
            let record = entry.record();
            // A job that is newer than this one may wait for this one: see when it is reached.
            let older = depends(&record).filter(|id| *id < entry.id);
            let waits_for = older.filter(|id| self.is_unfinished(*id)).collect();
            let verdict = rules.judge(&record);
            if let Verdict::Reject(rule) = verdict {
                refused.push((entry.id, rule));
            }
            queue.push(entry.id, record.priority(), verdict.shares(), waits_for);
        }
        drop(queue);
        for (job, rule) in refused {
            self.reject(job, rule);
        }
        self.0.wake.notify_one();
    }

    /// A job at work has come to an opcode that depends on others: it goes back into the queue, so
    /// that they can have its place.
    pub(super) fn wait_for(&self, entry: &Arc<JobEntry>, others: HashSet<JobId>) {
        let mut queue = self.0.queue();
        let shares = queue.finished(entry.id);
        // One that ends from now on tells the queue, which is locked.
        let others = others.into_iter().filter(|id| self.is_unfinished(*id)).collect();
        queue.push(entry.id, entry.record().priority(), shares, others);
        drop(queue);
        if entry.cancel.is_cancelled() {
            self.cancel_soon(entry.id);
        }
    }

    fn is_unfinished(&self, job: JobId) -> bool {
        self.0.entry(job).is_some_and(|entry| !entry.status().is_final())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_says_what_to_do() {
        assert!(full(4_999, 4_999, 1).is_none());
        let error = full(4_999, 4_999, 2).expect("one too many");
        assert_eq!(error.kind, ErrorKind::JobQueueFull);
        assert!(error.message.contains("4999 jobs have not ended"), "{error}");
        let error = full(0, 50_000, 1).expect("one too many");
        assert!(error.message.contains("autoarchive"), "{error}");
    }
}
