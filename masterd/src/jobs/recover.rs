//! Driving on after a restart.
//!
//! Jobs found with a plan in the journal get back the locks they held — together they held them
//! before, so nobody has to wait — and go on from their cursors. All other unfinished jobs queue
//! again: nothing they did was durable, so nothing was done.

use super::engine::Engine;
use super::entry::JobEntry;
use super::journal::{self, StoredPlan};
use super::locks::Held;
use super::plan::{Cursor, Debris, PLAN_FORMAT, Plan};
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
        let Recovered { jobs, plans, mut cursors, debris, .. } = found;
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
            self.0.queue().resume();
            self.spawn(entry, Some(Resumed { op, plan, cursor, held }));
        }
        self.enqueue(to_queue);
    }
}
