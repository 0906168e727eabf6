//! Hands that work on the model, count every call, and fail where they are told to.

use super::world::World;
use roost_masterd::jobs::{BoxFuture, Hands, StepId};
use roost_masterd::nodes::{Joined, NodeView};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{JobId, NodeId};
use roost_proto::node::{Action, Answer, Outcome, Progress, Question};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// Before or after something took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

/// What goes wrong. Calls are counted from 0.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// This call returns an error.
    pub fail: Option<(usize, When)>,
    /// The same step fails whenever it is tried again.
    pub for_good: bool,
    /// Every undo fails, without effect.
    pub fail_undos: bool,
    /// This question gets no answer.
    pub fail_ask: Option<usize>,
    /// Everything is done twice.
    pub twice: bool,
    /// Everything stops at this call.
    pub crash_call: Option<(usize, When)>,
    /// Everything stops at this commit.
    pub crash_commit: Option<(usize, When)>,
    /// The gate closes before this call.
    pub hold: Option<usize>,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: StepId,
    pub node: NodeId,
    pub action: Action,
}

/// Ends everything: nothing takes effect any more, nobody gets an answer.
#[derive(Clone, Debug, Default)]
pub struct Crash {
    happened: Arc<AtomicBool>,
    notify: Arc<tokio::sync::Notify>,
}

impl Crash {
    pub fn happen(&self) {
        self.happened.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    pub fn has_happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    pub async fn wait(&self) {
        self.notify.notified().await;
    }
}

/// Calls that are held up until they are let go.
#[derive(Clone)]
pub struct Gate {
    closed: watch::Sender<bool>,
    /// Calls that wait at it.
    waiting: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { closed: watch::channel(false).0, waiting: watch::channel(0).0 }
    }
}

impl Gate {
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    pub fn open(&self) {
        self.closed.send_replace(false);
    }

    /// Returns when this many calls are held up.
    pub async fn reached(&self, calls: usize) {
        self.waiting.subscribe().wait_for(|n| *n >= calls).await.expect("the gate lives");
    }

    async fn pass(&self) {
        if *self.closed.borrow() {
            self.waiting.send_modify(|n| *n += 1);
            self.closed.subscribe().wait_for(|closed| !closed).await.expect("the gate lives");
            self.waiting.send_modify(|n| *n -= 1);
        }
    }
}

#[derive(Default)]
struct Counted {
    calls: Vec<Call>,
    asks: usize,
    failed: HashSet<(StepId, NodeId)>,
    forgotten: Vec<JobId>,
}

/// See the module.
#[derive(Clone)]
pub struct SimHands {
    pub world: Arc<Mutex<World>>,
    pub faults: Arc<Mutex<Faults>>,
    pub crash: Crash,
    pub gate: Gate,
    counted: Arc<Mutex<Counted>>,
}

impl SimHands {
    pub fn new(world: Arc<Mutex<World>>, faults: Faults, crash: Crash) -> SimHands {
        SimHands {
            world,
            faults: Arc::new(Mutex::new(faults)),
            crash,
            gate: Gate::default(),
            counted: Arc::default(),
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics with the world in its hands")
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("nobody panics with it")
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().expect("nobody panics with it")
    }

    pub fn calls(&self) -> Vec<Call> {
        self.counted().calls.clone()
    }

    pub fn asks(&self) -> usize {
        self.counted().asks
    }

    /// Jobs whose steps nodes need not remember.
    pub fn forgotten(&self) -> Vec<JobId> {
        self.counted().forgotten.clone()
    }

    async fn carry_out(&self, id: StepId, node: NodeId, action: &Action) -> Result<Outcome> {
        let number = {
            let mut counted = self.counted();
            counted.calls.push(Call { id, node, action: action.clone() });
            counted.calls.len() - 1
        };
        let faults = self.faults().clone();
        // A node takes its time: others get theirs.
        tokio::task::yield_now().await;
        if faults.hold == Some(number) {
            self.gate.close();
        }
        self.gate.pass().await;
        let error = || match faults.for_good {
            true => Error::environment(format!("injected failure of call {number}")),
            false => Error::exec(format!("injected failure of call {number}")),
        };
        let mut fails = faults.fail.filter(|(call, _)| *call == number).map(|(_, when)| when);
        if fails.is_some() && faults.for_good {
            self.counted().failed.insert((id, node));
        }
        if self.counted().failed.contains(&(id, node)) {
            fails = fails.or(Some(When::Before));
        }
        if faults.fail_undos && id.undo {
            return Err(Error::environment(format!("injected failure of undo {number}")));
        }
        let crashes = faults.crash_call.filter(|(call, _)| *call == number).map(|(_, when)| when);
        if crashes == Some(When::Before) {
            self.crash.happen();
        }
        if self.crash.has_happened() {
            std::future::pending::<()>().await;
        }
        if fails == Some(When::Before) {
            return Err(error());
        }
        let mut result = self.world().apply(node, action);
        if faults.twice && result.is_ok() {
            result = self.world().apply(node, action);
        }
        if crashes == Some(When::After) {
            self.crash.happen();
            std::future::pending::<()>().await;
        }
        if fails == Some(When::After) {
            return Err(error());
        }
        result
    }
}

impl Hands for SimHands {
    fn ask<'a>(&'a self, node: NodeId, question: &'a Question) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            let number = {
                let mut counted = self.counted();
                counted.asks += 1;
                counted.asks - 1
            };
            if self.faults().fail_ask == Some(number) {
                self.world().silent.insert(node);
                return Err(Error::environment(format!("injected failure of question {number}")));
            }
            self.world().answer(node, question)
        })
    }

    fn run<'a>(
        &'a self,
        id: StepId,
        node: NodeId,
        action: &'a Action,
        _progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(self.carry_out(id, node, action))
    }

    fn seen(&self) -> HashMap<NodeId, Arc<NodeView>> {
        self.world().seen()
    }

    fn joined(&self) -> Vec<Joined> {
        self.world().joined.clone()
    }

    fn forget(&self, job: JobId) {
        self.counted().forgotten.push(job);
    }
}
