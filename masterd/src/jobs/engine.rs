//! Submitting, starting, cancelling and archiving jobs.

use super::entry::JobEntry;
use super::journal::{archive_key, job_key};
use super::locks::LockManager;
use super::plan::Debris;
use super::queue::Queue;
use super::{ActivePlans, Hands, Planner};
use crate::clock;
use crate::state::{Commit, CommitError, State};
use crate::store::{Key, Space};
use roost_proto::error::{Error, ErrorKind, Result};
use roost_proto::ids::JobId;
use roost_proto::job::{JobRecord, JobStatus, OpRecord};
use roost_proto::opcodes::OpInput;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// More jobs than this are not kept in the queue.
const QUEUE_LIMIT: usize = 50_000;
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
    pub queue: Mutex<Queue>,
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

/// What became of a wish to cancel a job: Ganeti's sentence, and whether it will happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelReply {
    pub done: bool,
    pub message: String,
}

impl CancelReply {
    fn yes(message: String) -> CancelReply {
        CancelReply { done: true, message }
    }

    fn no(message: String) -> CancelReply {
        CancelReply { done: false, message }
    }
}

fn drain_key() -> Key {
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
        let waiting = self.0.jobs.read().unwrap_or_else(PoisonError::into_inner).len();
        if waiting + jobs.len() > QUEUE_LIMIT {
            let refused = Error {
                kind: ErrorKind::JobQueueFull,
                error_type: None,
                message: format!(
                    "Job queue is full: {waiting} jobs, archive old ones (gnt-job autoarchive)"
                ),
            };
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
        Ok(Arc::new(JobEntry::new(id, ops)))
    }

    /// The entries of child jobs, to be committed by whoever makes them and then enqueued.
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
        let mut queue = self.0.queue();
        for entry in entries {
            let waits_for: HashSet<JobId> = first_depends(&entry.record())
                .into_iter()
                .filter(|id| jobs.get(id).is_some_and(|job| !job.status().is_final()))
                .collect();
            queue.push(entry.id, entry.record().priority(), waits_for);
        }
        drop(queue);
        drop(jobs);
        self.0.wake.notify_one();
    }

    /// Starts jobs as long as there is room.
    async fn schedule(self) {
        loop {
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = self.0.shutdown.cancelled() => return,
            }
            let limit = self.0.planner.max_running(&self.0.state.config());
            loop {
                let next = self.0.queue().pop(limit);
                let Some(entry) = next.and_then(|id| self.0.entry(id)) else { break };
                self.spawn(entry, None);
            }
        }
    }

    /// Drives a job on its own task, from its start or from its journal.
    pub(super) fn spawn(&self, entry: Arc<JobEntry>, resumed: Option<super::recover::Resumed>) {
        let engine = self.clone();
        let stop = self.0.shutdown.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = engine.run_job(&entry, resumed) => {}
                // The journal has it all; the next start goes on from there.
                () = stop.cancelled() => return,
            }
            engine.0.queue().finished();
            engine.0.wake.notify_one();
        });
    }

    /// Wishes a job to stop.
    pub async fn cancel(&self, job: JobId) -> Result<CancelReply> {
        let Some(entry) = self.0.entry(job) else {
            return Ok(CancelReply::no(format!("Job {job} not found in queue")));
        };
        let record = entry.record();
        match record.status() {
            JobStatus::Queued if self.0.queue().remove(job, record.priority()) => {
                let end = |record: &mut JobRecord| {
                    end_rest(record, JobStatus::Canceled, cancelled());
                };
                let puts = vec![entry.document_after(end)];
                self.0.store(Commit { puts, ..Commit::default() }).await?;
                entry.update(end);
                self.0.ended(&entry);
                Ok(CancelReply::yes(format!("Dequeued job {job}")))
            }
            JobStatus::Queued | JobStatus::Waiting | JobStatus::Canceling => {
                entry.update(|record| {
                    for op in record.ops.iter_mut().filter(|op| op.status == JobStatus::Waiting) {
                        op.status = JobStatus::Canceling;
                    }
                });
                entry.cancel.cancel();
                Ok(CancelReply::yes(format!("Job {job} will be canceled")))
            }
            JobStatus::Running => {
                entry.cancel.cancel();
                Ok(CancelReply::yes(format!(
                    "Job {job} is running: it will stop after its current step and undo what it \
                     did, unless it is past the point of no return"
                )))
            }
            status => Ok(CancelReply::no(format!("Job {job} has already ended (status {status})"))),
        }
    }

    /// Changes the priority of what has not ended.
    pub async fn change_priority(&self, job: JobId, priority: i32) -> Result<CancelReply> {
        let Some(entry) = self.0.entry(job) else {
            return Ok(CancelReply::no(format!("Job {job} not found in queue")));
        };
        let record = entry.record();
        if record.status().is_final() {
            return Ok(CancelReply::no(format!("Job {job} is finished")));
        }
        let old = record.priority();
        entry.update(|record| {
            for op in record.ops.iter_mut().filter(|op| !op.status.is_final()) {
                op.priority = priority;
            }
        });
        self.0.state.commit(Commit { puts: vec![entry.document()], ..Commit::default() }).await?;
        self.0.queue().change_priority(job, old, priority);
        self.0.locks.change_priority(job, priority);
        Ok(CancelReply::yes(format!(
            "Priorities of pending opcodes for job {job} have been changed to {priority}"
        )))
    }

    /// Puts a job aside. False: it is not there, or has not ended.
    pub async fn archive(&self, job: JobId) -> Result<bool> {
        let Some(entry) = self.0.entry(job).filter(|e| e.status().is_final()) else {
            return Ok(false);
        };
        self.archive_all(vec![entry]).await?;
        Ok(true)
    }

    /// Puts all jobs aside that ended more than `age` seconds ago. Returns (archived, left).
    pub async fn autoarchive(&self, age: Option<u64>) -> Result<(u64, u64)> {
        let now = clock::now().0;
        let all = self.jobs();
        let old: Vec<_> = all
            .iter()
            .filter(|entry| {
                let record = entry.record();
                let times =
                    [record.end_timestamp, record.start_timestamp, record.received_timestamp];
                let time = times.into_iter().flatten().next().unwrap_or_default().0;
                record.status().is_final() && age.is_none_or(|age| now.saturating_sub(time) >= age)
            })
            .cloned()
            .collect();
        let archived = old.len() as u64;
        self.archive_all(old).await?;
        Ok((archived, all.len() as u64 - archived))
    }

    async fn archive_all(&self, entries: Vec<Arc<JobEntry>>) -> Result<()> {
        for chunk in entries.chunks(500) {
            let mut commit = Commit::default();
            for entry in chunk {
                entry.update(|record| record.archived = true);
                commit.puts.push((archive_key(entry.id), entry.document().1));
                commit.deletes.push(job_key(entry.id));
            }
            self.0.state.commit(commit).await?;
            let mut jobs = self.0.jobs.write().unwrap_or_else(PoisonError::into_inner);
            for entry in chunk {
                jobs.remove(&entry.id);
            }
        }
        Ok(())
    }

    /// An archived job.
    pub async fn archived(&self, job: JobId) -> Result<Option<JobRecord>> {
        let Some(body) = self.0.state.get(archive_key(job)).await? else { return Ok(None) };
        serde_json::from_str(&body)
            .map(Some)
            .map_err(|e| Error::internal(format!("Archived job {job} cannot be read: {e}")))
    }

    /// All archived jobs: slow where there are many.
    pub async fn all_archived(&self) -> Result<Vec<JobRecord>> {
        let all = self.0.state.scan(Space::Archive).await?;
        Ok(all.iter().filter_map(|(_, body)| serde_json::from_str(body).ok()).collect())
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

/// The jobs that the first opcode of a job depends on.
pub(super) fn first_depends(record: &JobRecord) -> Vec<JobId> {
    let Some(Value::Array(depends)) = record.ops.first().and_then(|op| op.input.get("depends"))
    else {
        return Vec::new();
    };
    depends.iter().filter_map(|d| d.get(0)?.as_u64()).map(JobId).collect()
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
