//! One collector's place: its last outcome, and whether it is at work.
//!
//! ```text
//!   asked ──► last outcome younger than 1 s ──────────────────────────────► it
//!        │    older: a run begins, unless one is under way
//!        ├──► last outcome younger than the interval ─────────────────────► it
//!        └──► older, or none: wait for the run, which has a deadline ─────► the new one
//! ```

use super::outcome::{Good, Outcome};
use crate::collector::{About, Collector, Sampling};
use crate::metrics::Metrics;
use crate::world::World;
use roost_proto::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// A report is not made anew more often, however many ask.
const YOUNG: Duration = Duration::from_secs(1);
/// Figures of the last good run stay in `/metrics` for so long at least, and for three intervals.
const FIGURES_STAY: Duration = Duration::from_secs(60);

/// See the module.
pub struct Slot {
    pub collector: Arc<dyn Collector>,
    pub about: About,
    state: Mutex<State>,
    /// Counts the outcomes of this collector,
    done: watch::Sender<u64>,
    /// and of all.
    changes: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    running: bool,
    last: Option<Arc<Outcome>>,
    good: Option<Good>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.about.name).finish()
    }
}

impl Slot {
    /// Nothing has been collected yet. `changes` is counted up whenever that changes.
    pub fn new(collector: Arc<dyn Collector>, changes: Arc<AtomicU64>) -> Slot {
        let about = collector.about();
        Slot { collector, about, state: Mutex::default(), done: watch::Sender::new(0), changes }
    }

    /// Sees to it that the last outcome becomes as young as somebody who asks may expect. `None`: it is; otherwise
    /// wait for this.
    pub fn want(self: &Arc<Slot>, world: &World, interval: Duration) -> Option<Coming> {
        let mut state = self.lock();
        let age = state.last.as_ref().map(|last| last.finished.elapsed());
        match (self.about.sampling, age) {
            (Sampling::Background, Some(_)) => return None,
            (Sampling::Background, None) => {}
            (Sampling::OnRequest, Some(age)) if age < YOUNG => return None,
            (Sampling::OnRequest, age) => {
                self.begin(&mut state, world);
                if age.is_some_and(|age| age < interval) {
                    return None;
                }
            }
        }
        // Subscribed while the state is locked: the outcome cannot come in between.
        Some(Coming { done: self.done.subscribe(), limit: self.about.deadline })
    }

    /// What came last; `None`: nothing yet.
    pub fn last(&self) -> Option<Arc<Outcome>> {
        self.lock().last.clone()
    }

    /// The figures of the last good run, unless they are too old.
    pub fn figures(&self, interval: Duration) -> Option<Arc<Metrics>> {
        let stay = FIGURES_STAY.max(interval * 3);
        let state = self.lock();
        state.good.as_ref().filter(|g| g.finished.elapsed() < stay).map(|g| g.metrics.clone())
    }

    /// How old the last good run is.
    pub fn age(&self) -> Option<Duration> {
        self.lock().good.as_ref().map(|good| good.finished.elapsed())
    }

    /// Runs at each interval, for ever. A run that takes longer than the interval makes it skip some.
    pub async fn sample(self: Arc<Slot>, world: World, interval: Duration) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let coming = {
                let mut state = self.lock();
                self.begin(&mut state, &world);
                Coming { done: self.done.subscribe(), limit: self.about.deadline }
            };
            coming.wait().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn begin(self: &Arc<Slot>, state: &mut State, world: &World) {
        if !std::mem::replace(&mut state.running, true) {
            tokio::spawn(Arc::clone(self).run(world.clone()));
        }
    }

    async fn run(self: Arc<Slot>, world: World) {
        let begun = Instant::now();
        let collector = Arc::clone(&self.collector);
        // A task of its own: what panics in it is an error here.
        let mut one = tokio::task::JoinSet::new();
        one.spawn(async move { collector.collect(&world).await });
        let deadline = self.about.deadline;
        let result = match tokio::time::timeout(deadline, one.join_next()).await {
            Ok(Some(Ok(result))) => result,
            Ok(_) => Err(Error::internal("it broke down; this is a defect, please report it")),
            Err(_) => {
                let limit = deadline.as_secs_f64();
                Err(Error::environment(format!("nothing came within {limit} s")))
            }
        };
        let took = begun.elapsed();
        let mut state = self.lock();
        let kept = if self.collector.keeps_last() { state.good.as_ref() } else { None };
        let why = result.as_ref().err().map(|error| error.message.clone());
        let (outcome, good) = Outcome::of(&self.about, took, result, kept);
        let was_up = state.last.as_ref().is_none_or(|last| last.up);
        match (was_up, outcome.up) {
            (true, false) => {
                let why = why.unwrap_or_else(|| "its report is not as it must be".into());
                tracing::warn!("collector {} has failed: {why}", self.about.name);
            }
            (false, true) => tracing::info!("collector {} works again", self.about.name),
            _ => {}
        }
        state.last = Some(Arc::new(outcome));
        if good.is_some() {
            state.good = good;
        }
        state.running = false;
        drop(state);
        self.changes.fetch_add(1, Ordering::Release);
        self.done.send_modify(|count| *count += 1);
    }
}

/// An outcome that is on its way.
#[derive(Debug)]
pub struct Coming {
    done: watch::Receiver<u64>,
    limit: Duration,
}

impl Coming {
    /// Waits for it; a little longer than its deadline at most.
    pub async fn wait(mut self) {
        let limit = self.limit + Duration::from_millis(500);
        let _ = tokio::time::timeout(limit, self.done.changed()).await;
    }
}
