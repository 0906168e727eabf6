//! What users want of jobs that have not ended: to stop, or another priority.
//!
//! ```text
//!   queued            taken out of the queue                     Dequeued job N
//!   waiting           it stops waiting                           Job successfully cancelled
//!   running           stops after its step, undoes
//!     past the pivot  what is left of this opcode is done, the next ones are not
//!   running, --kill   lets go of its step, undoes; what cannot be undone at once is debris
//!     past the pivot  what is left to do becomes warnings and debris
//! ```
//!
//! A wish about a running job is durable before it is answered: masterd may die before the job comes
//! to where it can stop.

use super::engine::{Engine, cancelled, end_rest};
use super::entry::JobEntry;
use super::journal::Wish;
use crate::state::Commit;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{FilterId, JobId};
use roost_proto::job::{JobRecord, JobStatus};

/// What became of a wish about a job: Ganeti's sentence, and whether it will happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub done: bool,
    pub message: String,
}

impl Reply {
    fn yes(message: impl Into<String>) -> Reply {
        Reply { done: true, message: message.into() }
    }

    fn no(message: impl Into<String>) -> Reply {
        Reply { done: false, message: message.into() }
    }
}

impl Engine {
    /// Wishes a job to stop; with `kill`, whatever it is doing.
    pub async fn cancel(&self, job: JobId, kill: bool) -> Result<Reply> {
        let Some(entry) = self.0.entry(job) else { return self.not_there(job).await };
        if self.0.queue().remove(job) {
            self.end_unstarted(&entry).await?;
            return Ok(Reply::yes(format!("Dequeued job {job}")));
        }
        let status = entry.status();
        if status.is_final() {
            return Ok(too_late(status));
        }
        if status != JobStatus::Running {
            entry.update(|record| {
                for op in record.ops.iter_mut().filter(|op| op.status == JobStatus::Waiting) {
                    op.status = JobStatus::Canceling;
                }
            });
            entry.cancel.cancel();
            match self.stops_waiting(&entry).await {
                JobStatus::Canceled => return Ok(Reply::yes("Job successfully cancelled")),
                // It was quicker.
                JobStatus::Running => {}
                status => return Ok(too_late(status)),
            }
        }
        self.wish(&entry, |wish| {
            wish.cancel = true;
            wish.kill |= kill;
        })
        .await?;
        Ok(self.stop_running(&entry, kill))
    }

    /// Takes a job out of the queue that came back to it after it was told to stop.
    pub(super) fn cancel_soon(&self, job: JobId) {
        let engine = self.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                done = engine.cancel(job, false) => {
                    if let Err(error) = done {
                        tracing::warn!(job = job.0, %error, "a job could not be canceled");
                    }
                }
                () = engine.0.shutdown.cancelled() => {}
            }
        });
    }

    /// Tells a running job to stop.
    fn stop_running(&self, entry: &JobEntry, kill: bool) -> Reply {
        let job = entry.id;
        entry.cancel.cancel();
        if kill {
            entry.kill.cancel();
        }
        let record = entry.record();
        let left = record.ops.iter().filter(|op| op.status == JobStatus::Queued).count();
        match (kill, entry.is_past_return()) {
            (false, false) => Reply::yes(format!(
                "Job {job} is running: it will stop after its current step and undo what it did, \
                 unless it is past the point of no return"
            )),
            (false, true) if left > 0 => Reply::yes(format!(
                "Job {job} is running: its current operation goes on to its end, the {left} after \
                 it will be canceled"
            )),
            (false, true) => Reply::no("Job no longer waiting, can't cancel (informed it anyway)"),
            (true, false) => Reply::yes(format!(
                "Job {job} lets go of its current step and undoes what it did; what cannot be \
                 undone at once is remembered as debris"
            )),
            (true, true) => Reply::yes(format!(
                "Job {job} ends: what it changed stands, and what it had still to do after that is \
                 left to you (gnt-job info {job})"
            )),
        }
    }

    /// Makes a wish about a job at work durable.
    async fn wish(&self, entry: &JobEntry, change: impl FnOnce(&mut Wish)) -> Result<()> {
        let mut wish = entry.wish.lock().await;
        change(&mut wish);
        entry.set_wished();
        let body = serde_json::to_string(&*wish)
            .map_err(|e| Error::internal(format!("unstorable wish: {e}")))?;
        let puts = entry.stored_wish().map(|key| (key, body)).into_iter().collect();
        self.0.store(Commit { puts, ..Commit::default() }).await?;
        if entry.status().is_final() {
            self.forget_wish(entry).await?;
        }
        Ok(())
    }

    /// A job that has ended needs no wishes.
    pub(super) async fn forget_wish(&self, entry: &JobEntry) -> Result<()> {
        if let Some(key) = entry.stored_wish() {
            self.0.store(Commit { deletes: vec![key], ..Commit::default() }).await?;
        }
        Ok(())
    }

    /// Ends a job that was taken out of the queue.
    async fn end_unstarted(&self, entry: &JobEntry) -> Result<()> {
        let end = |record: &mut JobRecord| end_rest(record, JobStatus::Canceled, cancelled());
        let puts = vec![entry.document_after(end)];
        let deletes = entry.stored_wish().into_iter().collect();
        self.0.store(Commit { puts, deletes, ..Commit::default() }).await?;
        entry.update(end);
        self.0.ended(entry);
        Ok(())
    }

    /// Cancels a job in the queue because a filter rule says so.
    pub(super) fn reject(&self, job: JobId, rule: FilterId) {
        let engine = self.clone();
        self.0.tasks.spawn(async move {
            let Some(entry) = engine.0.entry(job) else { return };
            if !engine.0.queue().remove(job) {
                return;
            }
            let op = entry.record().ops.iter().position(|op| !op.status.is_final());
            entry.say(op.unwrap_or(0), format!("Job is rejected by filter rule {rule}"));
            let ended = tokio::select! {
                ended = engine.end_unstarted(&entry) => ended,
                // The next start finds it in the queue, and the rule.
                () = engine.0.shutdown.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::warn!(job = job.0, %error, "a rejected job could not be ended");
            }
        });
    }

    /// Waits until a job that waits does so no longer. Whatever it waits for, it only has to notice
    /// and to be stored. Returns its state: a final one, or running.
    async fn stops_waiting(&self, entry: &JobEntry) -> JobStatus {
        let mut changed = entry.watch();
        loop {
            let status = entry.status();
            if status.is_final() || status == JobStatus::Running || changed.changed().await.is_err()
            {
                return status;
            }
        }
    }

    async fn not_there(&self, job: JobId) -> Result<Reply> {
        Ok(match self.archived(job).await? {
            Some(record) => too_late(record.status()),
            None => Reply::no(format!("Job {job} not found in queue")),
        })
    }

    /// Changes the priority of what has not ended.
    pub async fn change_priority(&self, job: JobId, priority: i32) -> Result<Reply> {
        let Some(entry) = self.0.entry(job) else {
            return Ok(Reply::no(format!("Job {job} not found in queue")));
        };
        if entry.status().is_final() {
            return Ok(Reply::no(format!("Job {job} is finished")));
        }
        self.wish(&entry, |wish| wish.priority = Some(priority)).await?;
        entry.update(|record| set_priority(record, priority));
        self.0.queue().change_priority(job, priority);
        self.0.locks.change_priority(job, priority);
        self.0.wake.notify_one();
        Ok(Reply::yes(format!(
            "Priorities of pending opcodes for job {job} have been changed to {priority}"
        )))
    }
}

/// Gives what has not ended another priority.
pub(super) fn set_priority(record: &mut JobRecord, priority: i32) {
    for op in record.ops.iter_mut().filter(|op| !op.status.is_final()) {
        op.priority = priority;
    }
}

fn too_late(status: JobStatus) -> Reply {
    Reply::no(format!("Job exited before it could have been canceled, status {status}"))
}
