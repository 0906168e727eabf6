//! When which collector works, and the last report of each.
//!
//! ```text
//!   settings, plugins ─► roster: who is active, how often
//!                          │ each its slot: on request, or in the background at its interval
//!   http ─► report, all, list, metrics ─► bytes that were written once and are served until something changes
//! ```
//!
//! Collectors are tasks of their own: one that hangs or breaks down gets an error in its own report, when its
//! deadline is over, and nobody else notices.

mod outcome;
mod slot;
#[cfg(test)]
mod tests;

pub use outcome::Outcome;

use crate::collector::{Collector, Sampling};
use crate::exposition::{self, Format};
use crate::metrics::Metrics;
use crate::world::World;
use bytes::Bytes;
use slot::{Coming, Slot};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;
use tokio::task::AbortHandle;

/// No collector samples more often.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// What the cluster wants of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    pub active: bool,
    /// `None`: the collector's own.
    pub interval: Option<Duration>,
}

/// By collector; those not named are as they say of themselves.
pub type Switches = HashMap<String, Switch>;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schedule(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    world: World,
    /// Those that are always there.
    built_in: Vec<Arc<Slot>>,
    /// Those that come and go.
    others: Mutex<Vec<Arc<Slot>>>,
    roster: RwLock<Arc<Roster>>,
    /// Counts everything that changes what is served below.
    changes: Arc<AtomicU64>,
    all: Mutex<Option<(u64, Bytes)>>,
    metrics: Mutex<HashMap<Format, (u64, Bytes)>>,
}

/// Who works now.
#[derive(Debug, Default)]
struct Roster {
    active: Vec<Active>,
    list: Bytes,
}

#[derive(Debug)]
struct Active {
    slot: Arc<Slot>,
    interval: Duration,
    sampling: Option<Arc<Task>>,
}

/// Ends with whoever holds it last.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Schedule {
    /// Nobody works before the first [`Schedule::set`]. Must be used in a runtime.
    pub fn new(world: World, built_in: Vec<Arc<dyn Collector>>) -> Schedule {
        let changes = Arc::new(AtomicU64::new(0));
        let slot = |one| Arc::new(Slot::new(one, Arc::clone(&changes)));
        Schedule(Arc::new(Inner {
            built_in: built_in.into_iter().map(slot).collect(),
            world,
            others: Mutex::default(),
            roster: RwLock::default(),
            changes,
            all: Mutex::default(),
            metrics: Mutex::default(),
        }))
    }

    /// The cluster wants this, and these are there besides those that are built in. Whoever goes on keeps what it has
    /// collected. Also finds out who applies to this machine now.
    pub fn set(&self, switches: &Switches, others: &[Arc<dyn Collector>]) {
        let inner = &self.0;
        let others: Vec<Arc<Slot>> = {
            let mut known = lock(&inner.others);
            let slots = others.iter().map(|one| {
                let same = |slot: &&Arc<Slot>| Arc::ptr_eq(&slot.collector, one);
                known.iter().find(same).map_or_else(
                    || Arc::new(Slot::new(Arc::clone(one), Arc::clone(&inner.changes))),
                    Arc::clone,
                )
            });
            let slots: Vec<_> = slots.collect();
            known.clone_from(&slots);
            slots
        };
        let before = self.roster();
        let mut active = vec![];
        for slot in inner.built_in.iter().chain(&others) {
            let switch = switches.get(slot.about.name.as_ref());
            if !switch.map_or(slot.about.active, |switch| switch.active)
                || !slot.collector.applies(&inner.world)
            {
                continue;
            }
            let interval = switch.and_then(|switch| switch.interval);
            let interval = interval.unwrap_or(slot.about.interval).max(SHORTEST);
            let same = |one: &&Active| Arc::ptr_eq(&one.slot, slot) && one.interval == interval;
            let sampling = match (slot.about.sampling, before.active.iter().find(same)) {
                (Sampling::OnRequest, _) => None,
                (Sampling::Background, Some(before)) => before.sampling.clone(),
                (Sampling::Background, None) => {
                    let work = Arc::clone(slot).sample(inner.world.clone(), interval);
                    Some(Arc::new(Task(tokio::spawn(work).abort_handle())))
                }
            };
            active.push(Active { slot: Arc::clone(slot), interval, sampling });
        }
        let list: Vec<_> = active
            .iter()
            .map(|one| {
                let about = &one.slot.about;
                (about.name.as_ref(), about.category.as_str(), about.kind as u8)
            })
            .collect();
        let list = serde_json::to_vec(&list).unwrap_or_else(|_| b"[]".to_vec()).into();
        *inner.roster.write().unwrap_or_else(|e| e.into_inner()) =
            Arc::new(Roster { active, list });
        inner.changes.fetch_add(1, Ordering::Release);
    }

    /// `[[name, category, kind], …]` of those that work.
    pub fn list(&self) -> Bytes {
        self.roster().list.clone()
    }

    /// The report of one; `None`: none of this name works in this category.
    pub async fn report(&self, category: &str, name: &str) -> Option<Arc<Outcome>> {
        let roster = self.roster();
        let one = roster.active.iter().find(|one| {
            one.slot.about.name == name && one.slot.about.category.as_str() == category
        })?;
        if let Some(coming) = one.slot.want(&self.0.world, one.interval) {
            coming.wait().await;
        }
        Some(one.slot.last().unwrap_or_else(|| nothing_yet(&one.slot)))
    }

    /// The reports of all that work: a JSON list.
    pub async fn all(&self) -> Bytes {
        let roster = self.refreshed().await;
        let changes = self.0.changes.load(Ordering::Acquire);
        if let Some((as_of, bytes)) = &*lock(&self.0.all)
            && *as_of == changes
        {
            return bytes.clone();
        }
        let mut out = vec![b'['];
        for (i, one) in roster.active.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let last = one.slot.last().unwrap_or_else(|| nothing_yet(&one.slot));
            out.extend_from_slice(&last.among_all);
        }
        out.push(b']');
        let bytes = Bytes::from(out);
        *lock(&self.0.all) = Some((changes, bytes.clone()));
        bytes
    }

    /// The figures of all that work, without an end.
    pub async fn metrics(&self, format: Format) -> Bytes {
        let roster = self.refreshed().await;
        let changes = self.0.changes.load(Ordering::Acquire);
        if let Some((as_of, bytes)) = lock(&self.0.metrics).get(&format)
            && *as_of == changes
        {
            return bytes.clone();
        }
        let mut status = Metrics::default();
        let mut figures = vec![];
        for one in &roster.active {
            let about = &one.slot.about;
            if let Some(code) = one.slot.last().and_then(|last| last.status) {
                status.gauge(
                    "roost_report_status",
                    "The judgement of a report: 0 good, 1 being mended, 2 unknown, 4 bad.",
                    &[("collector", &about.name), ("category", about.category.as_str())],
                    f64::from(code),
                );
            }
            figures.extend(one.slot.figures(one.interval));
        }
        let mut out = String::new();
        let all = figures.iter().map(|figures| &**figures).chain([&status]);
        exposition::write(all, format, &mut out);
        let bytes = Bytes::from(out);
        lock(&self.0.metrics).insert(format, (changes, bytes.clone()));
        bytes
    }

    /// How each collector that works is.
    pub fn describe(&self, metrics: &mut Metrics) {
        let roster = self.roster();
        // One family after the other: their samples must be together.
        let each = |metrics: &mut Metrics, name, help, value: &dyn Fn(&Active) -> Option<f64>| {
            for one in &roster.active {
                let about = &one.slot.about;
                let labels = [("collector", &*about.name), ("category", about.category.as_str())];
                if let Some(value) = value(one) {
                    metrics.gauge(name, help, &labels, value);
                }
            }
        };
        each(
            metrics,
            "roost_mond_collector_up",
            "Whether the newest run of a collector went well.",
            &|one| one.slot.last().map(|last| f64::from(u8::from(last.up))),
        );
        each(
            metrics,
            "roost_mond_collector_duration_seconds",
            "How long the newest run of a collector took.",
            &|one| one.slot.last().map(|last| last.took.as_secs_f64()),
        );
        each(
            metrics,
            "roost_mond_collector_age_seconds",
            "How long ago the last good run of a collector ended.",
            &|one| one.slot.age().map(|age| age.as_secs_f64()),
        );
    }

    /// Sees to it that all are as young as they must be.
    async fn refreshed(&self) -> Arc<Roster> {
        let roster = self.roster();
        let want = |one: &Active| one.slot.want(&self.0.world, one.interval);
        // All of them begin before the first is waited for.
        let coming: Vec<Coming> = roster.active.iter().filter_map(want).collect();
        for one in coming {
            one.wait().await;
        }
        roster
    }

    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.0.roster.read().unwrap_or_else(|e| e.into_inner()))
    }
}

/// Where even an error has not come in time.
fn nothing_yet(slot: &Slot) -> Arc<Outcome> {
    let error = roost_proto::error::Error::environment("nothing was collected yet");
    Arc::new(Outcome::of(&slot.about, Duration::ZERO, Err(error), None).0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
