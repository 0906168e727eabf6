//! What this machine's mirrors do, followed as it happens.
//!
//! ```text
//!   kernel ─events2─► one process ─lines─► table ─► whoever waits, whoever watches
//!                        │ ended                    (decisions read the kernel again)
//!                        └─► started again, from a whole dump
//! ```
//!
//! Nothing runs on a machine whose kernel has no DRBD. A kernel has one set of devices, whichever
//! noded asks, so there is one table in a process: [`mirrors`].

use super::rates::{self, Share};
use super::state::{Connection, DiskState, Live};
use super::table::Table;
use super::{plan, tools, version};
use crate::exec::{Command, Pipes};
use roost_proto::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long the process may take to tell all there is.
const DUMP: Duration = Duration::from_secs(10);
/// How long an event may take to come after the kernel shows what it tells.
const LAG: Duration = Duration::from_secs(3);
/// What a mirror is taken to be allowed whose parameters this noded has not been told yet, KiB/s.
const USUAL: u64 = 61440;
/// How soon the process is started again after it ended.
const AGAIN: Duration = Duration::from_secs(1);

/// Mirrors of this kernel.
#[derive(Debug, Default)]
pub struct Mirrors {
    table: Mutex<Table>,
    /// Counts changes of the table.
    changed: watch::Sender<u64>,
    /// Everything there is was told.
    complete: watch::Sender<bool>,
    followed: AtomicBool,
    locks: Mutex<HashMap<u32, Arc<tokio::sync::Mutex<()>>>>,
    budget: Mutex<Budget>,
}

#[derive(Debug, Default)]
struct Budget {
    /// KiB/s for all that are made equal; nothing: each as its own parameters say.
    all: Option<u64>,
    /// KiB/s that a mirror's parameters allow.
    most: BTreeMap<u32, u64>,
    /// What each was given.
    given: BTreeMap<u32, u64>,
}

impl Budget {
    /// What has to be set so that it is kept: (minor, KiB/s).
    fn divide(&mut self, known: &BTreeMap<u32, Live>) -> Vec<(u32, u64)> {
        let most = |minor: u32| self.most.get(&minor).copied().unwrap_or(USUAL);
        let syncing = |live: &&Live| {
            live.connection.is_syncing() && live.disk > DiskState::Failed && self.all.is_some()
        };
        let moving = known.values().filter(syncing);
        let shares: Vec<Share> =
            moving.map(|live| Share { minor: live.minor, most: most(live.minor) }).collect();
        let wanted: BTreeMap<u32, u64> =
            rates::divide(self.all.unwrap_or(0), &shares).into_iter().collect();
        // Those that had a limit and need none now.
        let freed = self.given.keys().filter(|minor| !wanted.contains_key(minor));
        let freed = freed.filter(|minor| known.contains_key(minor));
        let mut orders: Vec<(u32, u64)> = freed.map(|minor| (*minor, most(*minor))).collect();
        let new = |(minor, rate): &(&u32, &u64)| self.given.get(minor) != Some(rate);
        orders.extend(wanted.iter().filter(new).map(|(minor, rate)| (*minor, *rate)));
        self.given = wanted;
        orders
    }
}

/// The mirrors of the kernel this process runs on.
pub fn mirrors() -> &'static Mirrors {
    static MIRRORS: LazyLock<Mirrors> = LazyLock::new(Mirrors::default);
    &MIRRORS
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Mirrors {
    /// Begins to follow, if the kernel has DRBD and nobody follows yet. Costs nothing otherwise.
    pub fn follow(&'static self) {
        if version::loaded() && !self.followed.swap(true, Ordering::SeqCst) {
            // Ended with its runtime, the next call begins anew.
            let following = Following(self);
            tokio::spawn(async move { following.run().await });
        }
    }

    /// Follows, and waits until all there is was told.
    async fn ready(&'static self) {
        self.follow();
        let mut complete = self.complete.subscribe();
        if timeout(DUMP, complete.wait_for(|complete| *complete)).await.is_err() {
            tracing::warn!("drbdsetup events2 tells nothing");
        }
    }

    /// All mirrors as last heard of, by minor; nothing where there is no DRBD.
    pub fn all(&'static self) -> Option<BTreeMap<u32, Live>> {
        self.follow();
        version::loaded().then(|| lock(&self.table).mirrors())
    }

    fn heard(&self, minor: u32) -> Option<Live> {
        lock(&self.table).mirrors().remove(&minor)
    }

    /// Tells when something changes. Must be followed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// One at a time changes a mirror.
    pub async fn lock(&self, minor: u32) -> tokio::sync::OwnedMutexGuard<()> {
        let mutex = lock(&self.locks).entry(minor).or_default().clone();
        mutex.lock_owned().await
    }

    /// A mirror as it is now, with what events have told before: what the kernel found out when the
    /// sides met.
    pub async fn now(&'static self, minor: u32) -> Result<Option<Live>> {
        self.ready().await;
        let Some(mut live) = tools::now().await?.mirrors().remove(&minor) else { return Ok(None) };
        if live.connection == Connection::StandAlone {
            // Why is told before; but maybe that is still on its way.
            let mut changes = self.changes();
            let caught_up = async {
                while self.heard(minor).is_none_or(|h| h.connection != Connection::StandAlone) {
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            // A mirror that has changed again since then is looked at again by whoever waits.
            let _ = timeout(LAG, caught_up).await;
        }
        if let Some(heard) = self.heard(minor) {
            live.split_brain = heard.split_brain && !live.connection.is_connected();
            live.splits = heard.splits;
        }
        Ok(Some(live))
    }

    /// Waits until `judge` has something to say of a mirror; `None` at the end of the time. Looks
    /// when something happens to it, and every `look`.
    pub async fn wait<T>(
        &'static self,
        minor: u32,
        until: Instant,
        look: Option<Duration>,
        mut judge: impl FnMut(Option<&Live>) -> Option<T>,
    ) -> Result<Option<T>> {
        self.ready().await;
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let before = self.heard(minor);
            if let Some(judged) = judge(self.now(minor).await?.as_ref()) {
                return Ok(Some(judged));
            }
            let next = look.map_or(until, |look| until.min(Instant::now() + look));
            loop {
                match timeout_at(next, changes.changed()).await {
                    Ok(Ok(())) if self.heard(minor) == before => {}
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => return Err(Error::internal("Nobody follows DRBD any more")),
                    Err(_) if Instant::now() >= until => return Ok(None),
                    Err(_) => break,
                }
            }
        }
    }

    /// Limits how fast mirrors are made equal on this node, all together: `budget` KiB/s, or each as
    /// its own parameters say. Holds from now on: it is divided anew whenever one begins or ends.
    ///
    /// The side that receives sets the pace (DRBD asks for what it lacks), so a node limits what
    /// comes in; what goes out is limited by the nodes it goes to. Mirrors whose controller is on
    /// (`dynamic-resync`) get the limit as its upper bound.
    pub async fn set_budget(&'static self, budget: Option<u64>) {
        lock(&self.budget).all = budget;
        self.divide().await;
    }

    /// Keeps to a budget as it changes: MiB a second, 0 for none.
    pub async fn keep_to(&'static self, mut budget: watch::Receiver<u64>) {
        loop {
            let mib = *budget.borrow_and_update();
            self.set_budget((mib > 0).then_some(mib.saturating_mul(1024))).await;
            if budget.changed().await.is_err() {
                return;
            }
        }
    }

    /// Remembers what a mirror's own parameters allow, KiB/s; its options were just set so.
    pub async fn allow(&'static self, minor: u32, most: u64) {
        {
            let mut budget = lock(&self.budget);
            budget.most.insert(minor, most);
            budget.given.remove(&minor);
        }
        self.divide().await;
    }

    /// Gives each mirror that is being made equal its part of the budget, and the others all they
    /// may have.
    async fn divide(&'static self) {
        let known = lock(&self.table).mirrors();
        let orders = lock(&self.budget).divide(&known);
        for (minor, rate) in orders {
            if let Err(error) = set_rate(minor, rate).await {
                tracing::warn!(minor, rate, %error, "the speed of a mirror could not be set");
            }
        }
    }

    fn hear(&self, line: &str) -> bool {
        let mut table = lock(&self.table);
        let changed = table.hear(line);
        let complete = table.is_complete();
        drop(table);
        if changed {
            self.changed.send_modify(|n| *n += 1);
            self.complete.send_if_modified(|known| !std::mem::replace(known, complete) && complete);
        }
        changed
    }

    /// What was known is not known any more.
    fn forget(&self) {
        *lock(&self.table) = Table::default();
        self.complete.send_replace(false);
        self.changed.send_modify(|n| *n += 1);
    }
}

/// Sets how fast one may be made equal, KiB/s.
async fn set_rate(minor: u32, rate: u64) -> Result<()> {
    let version = match version::Version::now() {
        Some(Ok(version)) => version,
        _ => return Ok(()),
    };
    let (fixed, most) = (format!("--resync-rate={rate}K"), format!("--c-max-rate={rate}K"));
    let order = match version.dialect {
        version::Dialect::Eight => plan::setup(["disk-options", &minor.to_string(), &fixed, &most]),
        version::Dialect::Nine => {
            let all = tools::configured().await?;
            let Some(device) = all.into_iter().find(|d| d.minor == minor) else { return Ok(()) };
            let peer = tools::peer_number(&device.resource).await?;
            plan::setup(["peer-device-options", &device.resource, &peer, "0", &fixed, &most])
        }
    };
    tools::done("set the speed of a mirror", order).await.map(drop)
}

/// Whoever follows, and that nobody does when it ends.
struct Following(&'static Mirrors);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.forget();
        self.0.followed.store(false, Ordering::SeqCst);
    }
}

impl Following {
    async fn run(self) {
        while version::loaded() {
            match self.listen().await {
                Ok(()) => tracing::debug!("drbdsetup events2 ended"),
                Err(error) => {
                    // The tools are missing. Whoever needs them says so; asked for, it is tried again.
                    tracing::warn!(%error, "what DRBD does cannot be followed");
                    return;
                }
            }
            self.0.forget();
            sleep(AGAIN).await;
        }
    }

    /// Takes the lines of one process until it ends.
    async fn listen(&self) -> Result<()> {
        let failed = |e: std::io::Error| Error::environment(format!("Cannot read events: {e}"));
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let reader = Receiver::from_owned_fd(reader.into()).map_err(failed)?;
        // It runs as long as noded does; when that dies, it does at its next line. Dropped, it is
        // ended.
        let _process = Command::new("drbdsetup")
            .args(["events2", "--statistics"])
            .start(Pipes { stdin: None, stdout: Some(writer.into()) })?;
        let mut lines = BufReader::new(reader).lines();
        let mut moving = vec![];
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            tracing::trace!(line, "event of DRBD");
            if self.0.hear(&line) {
                let mirrors = lock(&self.0.table).mirrors();
                let now: Vec<u32> = mirrors
                    .values()
                    .filter(|live| live.connection.is_syncing())
                    .map(|live| live.minor)
                    .collect();
                if now != moving && *self.0.complete.borrow() {
                    moving = now;
                    self.0.divide().await;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Role;
    use super::*;

    fn known(all: &[(u32, Connection)]) -> BTreeMap<u32, Live> {
        let live = |(minor, connection): &(u32, Connection)| {
            let live = Live {
                resource: format!("resource{minor}"),
                minor: *minor,
                role: Role::Secondary,
                peer_role: Role::Primary,
                disk: DiskState::Inconsistent,
                peer_disk: DiskState::UpToDate,
                connection: *connection,
                size: 1000,
                out_of_sync: 10,
                split_brain: false,
                splits: 0,
            };
            (*minor, live)
        };
        all.iter().map(live).collect()
    }

    #[test]
    fn a_budget_follows_what_begins_and_ends() {
        use Connection::{Connected, SyncTarget};
        let mut budget = Budget { all: Some(1000), ..Budget::default() };
        budget.most.insert(2, 300);
        assert_eq!(budget.divide(&known(&[(1, Connected)])), []);
        let two = known(&[(1, SyncTarget), (2, SyncTarget)]);
        assert_eq!(budget.divide(&two), [(1, 700), (2, 300)]);
        assert_eq!(budget.divide(&two), [], "it is so already");
        // One ends: it may have what its parameters say, and the other gets its part.
        let one = known(&[(1, SyncTarget), (2, Connected)]);
        assert_eq!(budget.divide(&one), [(2, 300), (1, 1000)]);
        budget.all = None;
        assert_eq!(budget.divide(&one), [(1, USUAL)]);
        assert_eq!(budget.divide(&known(&[])), []);
    }
}
