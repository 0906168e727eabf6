//! The engine: what it holds, how it starts and stops, and which job it starts next.
//!
//! Submitting is in `submit.rs`, cancelling in `cancel.rs`, archiving in `archive.rs`.

use super::drive::Left;
use super::entry::JobEntry;
use super::filters::{Rules, Verdict};
use super::locks::LockManager;
use super::plan::Debris;
use super::queue::Queue;
use super::{ActivePlans, Hands, Planner};
use crate::clock;
use crate::state::{Commit, CommitError, State};
use crate::store::{Key, Space};
use roost_proto::error::Result;
use roost_proto::ids::JobId;
use roost_proto::job::{JobRecord, JobStatus, OpRecord};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait before storing is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine(pub(super) Arc<Inner>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    pub state: State,
    pub locks: LockManager,
    pub hands: Arc<dyn Hands>,
    pub planner: Arc<dyn Planner>,
    pub jobs: RwLock<BTreeMap<JobId, Arc<JobEntry>>>,
    /// May be held while looking at `jobs`, never the other way round.
    pub queue: Mutex<Queue>,
    /// The filter rules that the queue goes by.
    pub rules: RwLock<Arc<Rules>>,
    pub active: tokio::sync::Mutex<ActivePlans>,
    pub debris: Mutex<BTreeMap<String, Debris>>,
    /// Held while debris is removed: two at once would take each other's locks for their own.
    pub repairing: tokio::sync::Mutex<()>,
    pub last_job: AtomicU64,
    pub drained: AtomicBool,
    pub wake: Notify,
    pub shutdown: CancellationToken,
    pub tasks: TaskTracker,
}

/// The document that is there while the queue takes no jobs.
pub fn drain_key() -> Key {
    Key::new(Space::Meta, "drained")
}

impl Inner {
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn entry(&self, job: JobId) -> Option<Arc<JobEntry>> {
        self.jobs.read().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }

    /// Stores what must be stored for a job to go on: waits out a store that fails (a full disk),
    /// because going on without it would break the promise that nothing is lost.
    pub async fn store(&self, commit: Commit) -> Result<(), CommitError> {
        let mut complained = false;
        loop {
            match self.state.commit(commit.clone()).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Store(why)) => {
                    if !complained {
                        tracing::error!(%why, "a job waits until its progress can be stored");
                        complained = true;
                    }
                    tokio::time::sleep(STORE_RETRY).await;
                }
                Err(other) => return Err(other),
            }
        }
    }

    pub fn known_rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A job has ended and this is durable: whoever waits for it may start.
    pub fn ended(&self, entry: &JobEntry) {
        entry.drop_inputs();
        entry.set_progress(None);
        self.queue().ended(entry.id);
        self.hands.forget(entry.id);
        self.wake.notify_one();
    }
}

impl Engine {
    /// Starts with what the store holds besides the configuration: unfinished opcodes are driven
    /// on, then queued jobs start.
    pub async fn start(
        state: State,
        documents: Vec<(Key, String)>,
        planner: Arc<dyn Planner>,
        hands: Arc<dyn Hands>,
    ) -> Result<Engine> {
        let recovered = super::recover::Recovered::read(documents)?;
        let archived = state.last_id(Space::Archive).await?;
        let archived = archived.and_then(|id| id.parse().ok()).unwrap_or(0);
        let newest = recovered.jobs.keys().next_back().map_or(0, |id| id.0);
        let inner = Inner {
            state,
            locks: LockManager::default(),
            hands,
            planner,
            jobs: RwLock::new(BTreeMap::new()),
            queue: Mutex::new(Queue::default()),
            rules: RwLock::default(),
            active: tokio::sync::Mutex::new(ActivePlans::new()),
            debris: Mutex::new(BTreeMap::new()),
            repairing: tokio::sync::Mutex::new(()),
            last_job: AtomicU64::new(archived.max(newest)),
            drained: AtomicBool::new(recovered.drained),
            wake: Notify::new(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let engine = Engine(Arc::new(inner));
        engine.resume(recovered).await;
        engine.0.tasks.spawn(engine.clone().schedule());
        Ok(engine)
    }

    /// Stops starting jobs and leaves those at work to the next start.
    pub async fn stop(&self) {
        self.0.shutdown.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// All locks.
    pub fn locks(&self) -> &LockManager {
        &self.0.locks
    }

    /// The state the engine works on.
    pub fn state(&self) -> &State {
        &self.0.state
    }

    /// The number of the newest job; 0 if there never was one.
    pub fn last_job(&self) -> JobId {
        JobId(self.0.last_job.load(Ordering::Relaxed))
    }

    /// A job that is not archived.
    pub fn job(&self, job: JobId) -> Option<Arc<JobEntry>> {
        self.0.entry(job)
    }

    /// All jobs that are not archived, by number.
    pub fn jobs(&self) -> Vec<Arc<JobEntry>> {
        self.0.jobs.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What could not be undone, by key.
    pub fn debris(&self) -> BTreeMap<String, Debris> {
        self.0.debris.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Objects that opcodes under way are about to add or hold: not orphans, whatever a node sees.
    pub async fn active_plans(&self) -> Vec<Arc<super::plan::Plan>> {
        self.0.active.lock().await.values().cloned().collect()
    }

    /// The queue takes no new jobs.
    pub fn is_drained(&self) -> bool {
        self.0.drained.load(Ordering::Relaxed)
    }

    /// Sets or clears the drain flag.
    pub async fn drain(&self, drained: bool) -> Result<()> {
        let mut commit = Commit::default();
        if drained {
            commit.puts.push((drain_key(), "true".into()));
        } else {
            commit.deletes.push(drain_key());
        }
        self.0.state.commit(commit).await?;
        self.0.drained.store(drained, Ordering::Relaxed);
        Ok(())
    }

    /// Starts jobs as long as there is room.
    async fn schedule(self) {
        let mut serial = self.0.state.serial();
        let mut limit = 0;
        loop {
            tokio::select! {
                () = self.0.wake.notified() => {}
                // How many may run and what the filter rules say is configuration.
                Ok(()) = serial.changed() => {
                    let config = self.0.state.config();
                    let same = self.0.planner.max_running(&config) == limit;
                    if same && self.0.known_rules().are_of(&config) {
                        continue;
                    }
                }
                () = self.0.shutdown.cancelled() => return,
            }
            self.rules();
            limit = self.0.planner.max_running(&self.0.state.config());
            loop {
                let next = self.0.queue().pop(limit);
                let Some(entry) = next.and_then(|id| self.0.entry(id)) else { break };
                self.spawn(entry, None);
            }
        }
    }

    /// The filter rules as they are now. If they changed, all jobs in the queue are looked at
    /// again.
    pub(super) fn rules(&self) -> Arc<Rules> {
        let known = self.0.known_rules();
        if known.are_of(&self.0.state.config()) {
            return known;
        }
        let mut queue = self.0.queue();
        // Only in here is it certain that nobody puts older ones in their place.
        let rules = Arc::new(Rules::of(&self.0.state.config()));
        *self.0.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.clone();
        let mut rejected = HashMap::new();
        queue.judge_again(|job| {
            let Some(entry) = self.0.entry(job) else { return Vec::new() };
            let verdict = rules.judge(&entry.record());
            if let Verdict::Reject(rule) = verdict {
                rejected.insert(job, rule);
            }
            verdict.shares()
        });
        // Those at work go on.
        rejected.retain(|job, _| queue.is_waiting(*job));
        drop(queue);
        for (job, rule) in rejected {
            self.reject(job, rule);
        }
        self.0.wake.notify_one();
        rules
    }

    /// Drives a job on its own task, from its start or from its journal.
    pub(super) fn spawn(&self, entry: Arc<JobEntry>, resumed: Option<super::recover::Resumed>) {
        let engine = self.clone();
        let stop = self.0.shutdown.clone();
        self.0.tasks.spawn(async move {
            let left = tokio::select! {
                left = engine.run_job(&entry, resumed) => left,
                // The journal has it all; the next start goes on from there.
                () = stop.cancelled() => return,
            };
            match left {
                Left::Nothing => {
                    engine.0.queue().finished(entry.id);
                }
                Left::Waiting(others) => engine.wait_for(&entry, others),
                Left::Everything => return,
            }
            engine.0.wake.notify_one();
        });
    }

    /// Records or clears debris.
    pub(super) fn set_debris(&self, key: String, debris: Option<Debris>) {
        let mut all = self.0.debris.lock().unwrap_or_else(PoisonError::into_inner);
        match debris {
            Some(debris) => all.insert(key, debris),
            None => all.remove(&key),
        };
    }
}

/// What a cancelled opcode returns.
pub(super) fn cancelled() -> Value {
    Value::String("Job canceled by request".into())
}

/// Ends all opcodes that have not ended, and the job.
pub(super) fn end_rest(record: &mut JobRecord, status: JobStatus, result: Value) {
    let now = clock::now();
    let unfinished = |op: &&mut OpRecord| !op.status.is_final();
    for op in record.ops.iter_mut().filter(unfinished) {
        op.status = status;
        op.result = result.clone();
        op.end_timestamp = Some(now);
    }
    record.end_timestamp = Some(now);
}
