//! Driving on after a restart.
//!
//! Jobs found with a plan in the journal get back the locks they held — together they held them
//! before, so nobody has to wait — and go on from their cursors. All other unfinished jobs queue
//! again: nothing they did was durable, so nothing was done.

use super::cancel::set_priority;
use super::engine::Engine;
use super::entry::JobEntry;
use super::journal::{self, StoredPlan, Wish};
use super::locks::Held;
use super::plan::{Cursor, Debris, PLAN_FORMAT, Plan};
use crate::state::Commit;
use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::ids::JobId;
use roost_proto::job::{JobRecord, JobStatus};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the store says about jobs.
#[derive(Default)]
pub(super) struct Recovered {
    pub jobs: BTreeMap<JobId, JobRecord>,
    plans: BTreeMap<(JobId, usize), StoredPlan>,
    cursors: BTreeMap<(JobId, usize), Cursor>,
    wishes: BTreeMap<JobId, Wish>,
    debris: BTreeMap<String, Debris>,
    pub drained: bool,
}

/// An opcode to be driven on.
#[derive(Debug)]
pub(super) struct Resumed {
    pub op: usize,
    pub plan: Arc<Plan>,
    pub cursor: Cursor,
    pub held: Held,
}

impl Recovered {
    pub fn read(documents: Vec<(Key, String)>) -> Result<Recovered> {
        let mut found = Recovered::default();
        for (key, body) in documents {
            let unreadable = |e: serde_json::Error| {
                Error::internal(format!("{} {} cannot be read: {e}", key.space.as_str(), key.id))
            };
            if let (Space::Journal, Some(job)) = (key.space, journal::parse_wish(&key.id)) {
                found.wishes.insert(job, serde_json::from_str(&body).map_err(unreadable)?);
                continue;
            }
            match key.space {
                Space::Job => {
                    let record: JobRecord = serde_json::from_str(&body).map_err(unreadable)?;
                    found.jobs.insert(record.id, record);
                }
                Space::Journal => match journal::parse_id(&key.id) {
                    Some((job, op, "plan")) => {
                        let plan: StoredPlan = serde_json::from_str(&body).map_err(unreadable)?;
                        if plan.format != PLAN_FORMAT {
                            return Err(Error::environment(format!(
                                "Job {job} was left unfinished by another version (plan format {}, \
                                 this version has {PLAN_FORMAT}): start that version once more and \
                                 let the queue run empty ('gnt-cluster queue drain')",
                                plan.format
                            )));
                        }
                        found.plans.insert((job, op), plan);
                    }
                    Some((job, op, _)) => {
                        let cursor = serde_json::from_str(&body).map_err(unreadable)?;
                        found.cursors.insert((job, op), cursor);
                    }
                    None => {
                        return Err(Error::internal(format!(
                            "journal has a stray entry {}",
                            key.id
                        )));
                    }
                },
                Space::Debris => {
                    let debris = serde_json::from_str(&body).map_err(unreadable)?;
                    found.debris.insert(key.id, debris);
                }
                Space::Meta if key.id == "drained" => found.drained = true,
                _ => {}
            }
        }
        Ok(found)
    }
}

impl Engine {
    pub(super) async fn resume(&self, found: Recovered) {
        let Recovered { jobs, plans, mut cursors, mut wishes, debris, .. } = found;
        for (key, debris) in debris {
            self.set_debris(key, Some(debris));
        }
        let mut to_resume = Vec::new();
        let mut to_queue = Vec::new();
        for (id, mut record) in jobs {
            let finished = record.status().is_final();
            let op = record.ops.iter().position(|op| !op.status.is_final());
            let planned = op.and_then(|op| {
                let plan = plans.get(&(id, op))?;
                Some((op, plan, cursors.remove(&(id, op))?))
            });
            // What was only in memory when it stopped starts anew.
            if planned.is_none() {
                for op in record.ops.iter_mut().filter(|op| !op.status.is_final()) {
                    op.status = JobStatus::Queued;
                    op.start_timestamp = None;
                }
            }
            let entry = Arc::new(JobEntry::loaded(record));
            if !finished && let Some(wish) = wishes.remove(&id) {
                grant(&entry, wish).await;
            }
            if finished {
                self.0
                    .jobs
                    .write()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .insert(id, entry);
            } else if let Some((op, plan, cursor)) = planned {
                to_resume.push((entry, op, plan, cursor));
            } else {
                to_queue.push(entry);
            }
        }
        for (entry, op, stored, cursor) in to_resume {
            self.0
                .jobs
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert(entry.id, entry.clone());
            let held = self.0.locks.acquire(entry.id, 0, &stored.lock_set(), |_, _| {}).await;
            let plan = Arc::new(stored.plan.clone());
            self.0.active.lock().await.insert((entry.id, op), plan.clone());
            tracing::info!(job = entry.id.0, op, "driving on from the journal");
            entry.say(op, "masterd was restarted, going on where it stopped");
            let shares = self.rules().judge(&entry.record()).shares();
            self.0.queue().resume(entry.id, shares);
            self.spawn(entry, Some(Resumed { op, plan, cursor, held }));
        }
        let canceled = to_queue.iter().filter(|entry| entry.cancel.is_cancelled());
        let canceled: Vec<JobId> = canceled.map(|entry| entry.id).collect();
        self.enqueue(to_queue);
        self.tidy_up(canceled, wishes.into_keys().collect());
    }

    /// What nobody has to wait for: jobs end that were to stop and have not begun again, and wishes
    /// go about jobs that had ended when they came.
    fn tidy_up(&self, canceled: Vec<JobId>, wishes: Vec<JobId>) {
        if canceled.is_empty() && wishes.is_empty() {
            return;
        }
        let engine = self.clone();
        let work = async move {
            for job in canceled {
                engine.cancel(job, false).await?;
            }
            let deletes = wishes.into_iter().map(journal::wish_key).collect();
            engine.0.store(Commit { deletes, ..Commit::default() }).await?;
            Ok::<(), Error>(())
        };
        let stop = self.0.shutdown.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                done = work => {
                    if let Err(error) = done {
                        tracing::warn!(%error, "what is left of old jobs goes at the next start");
                    }
                }
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Wants again what was wanted before the restart.
async fn grant(entry: &JobEntry, wish: Wish) {
    *entry.wish.lock().await = wish;
    entry.set_wished();
    if let Some(priority) = wish.priority {
        entry.update(|record| set_priority(record, priority));
    }
    if wish.cancel || wish.kill {
        entry.cancel.cancel();
    }
    if wish.kill {
        entry.kill.cancel();
    }
}
