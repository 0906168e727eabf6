//! Locks: who may work on what.
//!
//! Taken one after another in one order for all (level, then name), so that nobody can wait in a
//! circle. Each lock has one queue: by priority, then by arrival; whoever is at its head is let in
//! as soon as the holders allow it, and nobody behind overtakes — so a stream of readers cannot
//! starve a writer. Nobody waits invisibly: holders and waiters are named by their jobs.

use roost_proto::ids::JobId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What kind of thing a lock is about; also the order in which locks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Cluster,
    Instance,
    NodeGroup,
    Node,
    NodeRes,
    Network,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Cluster => "cluster",
            Level::Instance => "instance",
            Level::NodeGroup => "nodegroup",
            Level::Node => "node",
            Level::NodeRes => "node-res",
            Level::Network => "network",
        }
    }
}

/// A lock, printed as Ganeti does: `instance/web1.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockName {
    pub level: Level,
    pub name: String,
}

impl LockName {
    /// Names a lock: instances by name, everything else by UUID.
    pub fn new(level: Level, name: impl ToString) -> LockName {
        LockName { level, name: name.to_string() }
    }

    /// The big lock: shared by nearly all, exclusive for what changes the cluster itself.
    pub fn cluster() -> LockName {
        LockName::new(Level::Cluster, "BGL")
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.level.as_str(), self.name)
    }
}

/// How much a holder keeps others out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Shared,
    Exclusive,
}

impl Mode {
    /// Ganeti's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Shared => "shared",
            Mode::Exclusive => "exclusive",
        }
    }
}

/// The locks something needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockSet(pub BTreeMap<LockName, Mode>);

impl LockSet {
    /// The big lock in shared mode, as nearly everything takes it.
    pub fn new() -> LockSet {
        LockSet::default().with(LockName::cluster(), Mode::Shared)
    }

    /// Adds one; the stronger mode stands.
    #[must_use]
    pub fn with(mut self, name: LockName, mode: Mode) -> LockSet {
        self.add(name, mode);
        self
    }

    /// Adds one; the stronger mode stands.
    pub fn add(&mut self, name: LockName, mode: Mode) {
        let entry = self.0.entry(name).or_insert(mode);
        *entry = (*entry).max(mode);
    }

    /// Whoever holds `self` may do what needs `other`.
    pub fn covers(&self, other: &LockSet) -> bool {
        other.0.iter().all(|(name, mode)| self.0.get(name).is_some_and(|held| held >= mode))
    }
}

/// A lock as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockInfo {
    pub name: LockName,
    /// Nothing: free, but waited for.
    pub mode: Option<Mode>,
    pub owners: Vec<JobId>,
    pub pending: Vec<(Mode, Vec<JobId>)>,
}

#[derive(Debug, Default)]
struct Lock {
    holders: Vec<(JobId, Mode)>,
    /// In the order in which they will be let in.
    queue: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    priority: i32,
    ticket: u64,
    job: JobId,
    mode: Mode,
    let_in: oneshot::Sender<()>,
}

impl Lock {
    fn admits(&self, mode: Mode) -> bool {
        match mode {
            Mode::Shared => self.holders.iter().all(|(_, m)| *m == Mode::Shared),
            Mode::Exclusive => self.holders.is_empty(),
        }
    }

    fn let_in(&mut self) {
        while let Some(first) = self.queue.first() {
            if !self.admits(first.mode) {
                return;
            }
            let waiter = self.queue.remove(0);
            // One that gave up meanwhile is passed over.
            if waiter.let_in.send(()).is_ok() {
                self.holders.push((waiter.job, waiter.mode));
            }
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    locks: BTreeMap<LockName, Lock>,
    tickets: u64,
}

impl Table {
    /// Takes a lock that nobody has to be waited for. False: it is not free.
    fn take_if_free(&mut self, job: JobId, name: &LockName, mode: Mode) -> bool {
        let lock = self.locks.entry(name.clone()).or_default();
        let free = lock.queue.is_empty() && lock.admits(mode);
        if free {
            lock.holders.push((job, mode));
        }
        free
    }
}

/// All locks. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LockManager(Arc<Mutex<Table>>);

impl LockManager {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all locks of a set, in order. `waiting` is told, before each wait, for what and for
    /// whom. Dropping the future gives up; dropping the result gives back.
    pub async fn acquire(
        &self,
        job: JobId,
        priority: i32,
        set: &LockSet,
        waiting: impl FnMut(&LockName, &[JobId]),
    ) -> Held {
        self.acquire_free(job, priority, set, |_| false, waiting).await
    }

    /// The same, but what is `optional` is not waited for.
    pub async fn acquire_free(
        &self,
        job: JobId,
        priority: i32,
        set: &LockSet,
        optional: impl Fn(&LockName) -> bool,
        mut waiting: impl FnMut(&LockName, &[JobId]),
    ) -> Held {
        let mut held =
            Held { manager: self.clone(), job, set: LockSet::default(), without: BTreeSet::new() };
        for (name, mode) in &set.0 {
            if optional(name) {
                if self.table().take_if_free(job, name, *mode) {
                    held.set.0.insert(name.clone(), *mode);
                } else {
                    held.without.insert(name.clone());
                }
                continue;
            }
            let turn = {
                let mut table = self.table();
                table.tickets += 1;
                let ticket = table.tickets;
                let lock = table.locks.entry(name.clone()).or_default();
                let (let_in, turn) = oneshot::channel();
                let waiter = Waiter { priority, ticket, job, mode: *mode, let_in };
                let place =
                    lock.queue.partition_point(|w| (w.priority, w.ticket) <= (priority, ticket));
                lock.queue.insert(place, waiter);
                lock.let_in();
                let waits = lock.queue.iter().any(|w| w.ticket == ticket);
                let ahead: Vec<JobId> = lock.holders.iter().map(|(job, _)| *job).collect();
                (turn, waits.then_some(ahead))
            };
            let (mut turn, ahead) = turn;
            let arrived = GiveUp { manager: self, name, job };
            if let Some(holders) = ahead {
                waiting(name, &holders);
            }
            // The sender lives in the queue until it lets us in.
            (&mut turn).await.expect("a waiter leaves the queue only by being let in");
            std::mem::forget(arrived);
            held.set.0.insert(name.clone(), *mode);
        }
        held
    }

    /// Changes the priority of a job in all queues it stands in.
    pub fn change_priority(&self, job: JobId, priority: i32) {
        let mut table = self.table();
        for lock in table.locks.values_mut() {
            if !lock.queue.iter().any(|w| w.job == job) {
                continue;
            }
            for waiter in lock.queue.iter_mut().filter(|w| w.job == job) {
                waiter.priority = priority;
            }
            lock.queue.sort_by_key(|w| (w.priority, w.ticket));
            lock.let_in();
        }
    }

    /// All locks that are held or waited for.
    pub fn list(&self) -> Vec<LockInfo> {
        let table = self.table();
        let busy = table.locks.iter().filter(|(_, l)| !l.holders.is_empty() || !l.queue.is_empty());
        busy.map(|(name, lock)| LockInfo {
            name: name.clone(),
            mode: lock.holders.first().map(|(_, mode)| *mode),
            owners: lock.holders.iter().map(|(job, _)| *job).collect(),
            pending: lock.queue.iter().map(|w| (w.mode, vec![w.job])).collect(),
        })
        .collect()
    }

    fn release(&self, job: JobId, name: &LockName) {
        let mut table = self.table();
        if let Some(lock) = table.locks.get_mut(name) {
            if let Some(place) = lock.holders.iter().position(|(holder, _)| *holder == job) {
                lock.holders.remove(place);
            }
            lock.queue.retain(|w| !w.let_in.is_closed());
            lock.let_in();
            if lock.holders.is_empty() && lock.queue.is_empty() {
                table.locks.remove(name);
            }
        }
    }
}

/// Undoes a wait that was abandoned, even if the lock was granted in the same moment.
struct GiveUp<'a> {
    manager: &'a LockManager,
    name: &'a LockName,
    job: JobId,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        let mut table = self.manager.table();
        if let Some(lock) = table.locks.get_mut(self.name) {
            lock.queue.retain(|w| w.job != self.job);
        }
        drop(table);
        self.manager.release(self.job, self.name);
    }
}

/// Locks held. Given back when dropped.
#[derive(Debug)]
pub struct Held {
    manager: LockManager,
    job: JobId,
    set: LockSet,
    /// What was optional and not free.
    without: BTreeSet<LockName>,
}

impl Held {
    /// Which ones.
    pub fn set(&self) -> &LockSet {
        &self.set
    }

    /// Whoever holds these may do what needs `other`, except what it does without.
    pub fn covers(&self, other: &LockSet) -> bool {
        let mut needed = other.clone();
        needed.0.retain(|name, _| !self.without.contains(name));
        self.set.covers(&needed)
    }

    /// Some were optional and not free.
    pub fn is_partial(&self) -> bool {
        !self.without.is_empty()
    }

    /// This one was optional and not free.
    pub fn does_without(&self, name: &LockName) -> bool {
        self.without.contains(name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for name in self.set.0.keys() {
            self.manager.release(self.job, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn node(name: &str) -> LockName {
        LockName::new(Level::Node, name)
    }

    fn one(name: &str, mode: Mode) -> LockSet {
        LockSet::default().with(node(name), mode)
    }

    async fn get(locks: &LockManager, job: u64, priority: i32, set: LockSet) -> Held {
        locks.acquire(JobId(job), priority, &set, |_, _| {}).await
    }

    async fn blocked<F: Future + Unpin>(future: &mut F) -> bool {
        timeout(Duration::from_millis(1), future).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn shared_with_shared_but_not_with_exclusive() {
        let locks = LockManager::default();
        let a = get(&locks, 1, 0, one("n", Mode::Shared)).await;
        let b = get(&locks, 2, 0, one("n", Mode::Shared)).await;
        let mut c = Box::pin(get(&locks, 3, 0, one("n", Mode::Exclusive)));
        assert!(blocked(&mut c).await);
        drop(a);
        assert!(blocked(&mut c).await);
        let list = locks.list();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].owners, vec![JobId(2)]);
        assert_eq!(list[0].pending, vec![(Mode::Exclusive, vec![JobId(3)])]);
        drop(b);
        drop(c.await);
        assert!(locks.list().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn readers_do_not_overtake_a_writer_but_urgency_does() {
        let locks = LockManager::default();
        let reader = get(&locks, 1, 0, one("n", Mode::Shared)).await;
        let mut writer = Box::pin(get(&locks, 2, 0, one("n", Mode::Exclusive)));
        assert!(blocked(&mut writer).await);
        let mut late = Box::pin(get(&locks, 3, 0, one("n", Mode::Shared)));
        assert!(blocked(&mut late).await, "a later reader waits behind the writer");
        let urgent = get(&locks, 4, -10, one("n", Mode::Shared)).await;
        drop((reader, urgent));
        let writer = writer.await;
        assert!(blocked(&mut late).await);
        drop(writer);
        drop(late.await);
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_leaves_nothing_behind() {
        let locks = LockManager::default();
        let first = get(&locks, 1, 0, one("n", Mode::Exclusive)).await;
        let mut second = Box::pin(get(&locks, 2, 0, one("n", Mode::Exclusive)));
        assert!(blocked(&mut second).await);
        drop(second);
        drop(first);
        assert!(locks.list().is_empty(), "{:?}", locks.list());
        drop(get(&locks, 3, 0, one("n", Mode::Exclusive)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_granted_while_giving_up_is_given_back() {
        let locks = LockManager::default();
        let first = get(&locks, 1, 0, one("n", Mode::Exclusive)).await;
        let mut second = Box::pin(get(&locks, 2, 0, one("n", Mode::Exclusive)));
        assert!(blocked(&mut second).await);
        drop(first); // grants to the second, which never looks
        drop(second);
        assert!(locks.list().is_empty(), "{:?}", locks.list());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_for_whom() {
        let locks = LockManager::default();
        let _first = get(&locks, 7, 0, one("n", Mode::Exclusive)).await;
        let mut told = None;
        let set = one("n", Mode::Shared);
        let wait = locks.acquire(JobId(8), 0, &set, |name, jobs| {
            told = Some((name.to_string(), jobs.to_vec()));
        });
        assert!(timeout(Duration::from_millis(1), wait).await.is_err());
        assert_eq!(told, Some(("node/n".into(), vec![JobId(7)])));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_optional_is_not_waited_for() {
        let locks = LockManager::default();
        let first = get(&locks, 1, 0, one("a", Mode::Exclusive)).await;
        let both = one("a", Mode::Shared).with(node("b"), Mode::Shared);
        let second = locks.acquire_free(JobId(2), 0, &both, |_| true, |_, _| {}).await;
        assert_eq!(*second.set(), one("b", Mode::Shared));
        assert!(second.is_partial() && second.does_without(&node("a")));
        assert!(second.covers(&both), "it knows what it does without");
        assert!(!second.covers(&both.clone().with(node("c"), Mode::Shared)));
        drop((first, second));
        assert!(locks.list().is_empty(), "{:?}", locks.list());
        // Nobody is overtaken.
        let first = get(&locks, 1, 0, one("a", Mode::Shared)).await;
        let mut writer = Box::pin(get(&locks, 3, 0, one("a", Mode::Exclusive)));
        assert!(blocked(&mut writer).await);
        let third = locks.acquire_free(JobId(4), 0, &both, |_| true, |_, _| {}).await;
        assert!(third.does_without(&node("a")));
        drop(first);
        drop(writer.await);
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_want_the_same_in_any_order_never_wait_in_a_circle() {
        let locks = LockManager::default();
        let both =
            LockSet::default().with(node("b"), Mode::Exclusive).with(node("a"), Mode::Exclusive);
        let tasks: Vec<_> = (0..50)
            .map(|i| {
                let (locks, both) = (locks.clone(), both.clone());
                tokio::spawn(async move {
                    let held = get(&locks, i, 0, both).await;
                    tokio::task::yield_now().await;
                    drop(held);
                })
            })
            .collect();
        for task in tasks {
            timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        }
        assert!(locks.list().is_empty());
    }
}
