//! The job engine: durable jobs that finish or are undone, whatever dies in between.
//!
//! ```text
//!  submit ─► queue ─► locks ─► facts ─► plan ─► before-steps ─► PIVOT ─► after-steps ─► done
//!            (queued) (waiting)              └──── undo ◄──┘ failure, cancel
//! ```
//!
//! The engine knows no opcode and no node. What an opcode needs and does is said by a [`Planner`];
//! what a step does is done by [`Hands`]. Everything in between — order, durability, undoing,
//! driving on after a crash — is here, once, for all opcodes.

mod archive;
mod cancel;
mod carry_out;
mod debris;
mod drive;
mod engine;
mod entry;
mod filters;
mod hooks;
pub mod journal;
pub mod locks;
pub mod plan;
mod prepare;
mod queue;
mod recover;
mod step;
mod submit;

pub use cancel::Reply;
pub use engine::{Engine, drain_key};
pub use entry::JobEntry;
pub use filters::check as check_filter;

use crate::config::Config;
use crate::nodes::{Joined, NodeView};
use crate::replication::Copies;
use crate::store::etcd::Member;
use locks::LockSet;
use plan::Plan;
use roost_proto::error::Result;
use roost_proto::ids::{JobId, NodeId};
use roost_proto::node::{Action, Answer, Outcome, Progress, Question};
use roost_proto::opcodes::OpInput;
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use uuid::Uuid;

/// A future that can be behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Names a step for a node: the same name means the same work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId {
    pub job: JobId,
    pub op: usize,
    /// Steps are numbered through, before and after the pivot.
    pub step: usize,
    pub undo: bool,
}

/// Does what steps say.
pub trait Hands: Send + Sync + 'static {
    /// Asks a node.
    fn ask<'a>(&'a self, node: NodeId, question: &'a Question) -> BoxFuture<'a, Result<Answer>>;

    /// Has a node do something. Comes back with an error only when it failed, or when the node
    /// stayed out of reach for some time.
    fn run<'a>(
        &'a self,
        id: StepId,
        node: NodeId,
        action: &'a Action,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Outcome>>;

    /// What nodes reported last.
    fn seen(&self) -> HashMap<NodeId, Arc<NodeView>>;

    /// Machines that have joined.
    fn joined(&self) -> Vec<Joined>;

    /// How the copies of the state are; nothing if there can be none.
    fn copies(&self) -> Option<Copies> {
        None
    }

    /// How the members of etcd are, if the state is there.
    fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    /// A job is over: nodes need not remember its steps.
    fn forget(&self, job: JobId);
}

/// What is known of the nodes when a plan is made.
#[derive(Debug, Default)]
pub struct Facts {
    /// What they were asked for this plan, and answered.
    pub answers: Vec<(NodeId, Question, Result<Answer>)>,
    /// What they reported by themselves some moments ago.
    pub seen: HashMap<NodeId, Arc<NodeView>>,
    /// Machines that have joined; some are not in the configuration yet.
    pub joined: Vec<Joined>,
    /// What earlier jobs could not clean up.
    pub debris: BTreeMap<String, plan::Debris>,
    /// How the copies of the state are; nothing if there can be none.
    pub copies: Option<Copies>,
    /// How the members of etcd are, if the state is there.
    pub members: Vec<Member>,
}

/// Where identifiers and random numbers come from: an input of planning.
pub trait IdSource: Send {
    fn uuid(&mut self) -> Uuid;
    /// Seconds since 1970.
    fn now(&mut self) -> f64;
}

/// What planning may look at.
pub struct PlanInput<'a> {
    pub op: &'a OpInput,
    pub job: JobId,
    pub config: &'a Config,
    pub facts: &'a Facts,
    /// Plans of opcodes under way: what they will add is taken.
    pub active: &'a [Arc<Plan>],
    pub ids: &'a mut dyn IdSource,
}

impl std::fmt::Debug for PlanInput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanInput").field("op", &self.op.op.op_id()).finish_non_exhaustive()
    }
}

/// Says what opcodes need and do. Pure.
pub trait Planner: Send + Sync + 'static {
    /// The locks it needs, as far as the configuration tells now.
    fn locks(&self, op: &OpInput, config: &Config) -> Result<LockSet>;

    /// What must be asked of nodes before planning.
    fn questions(&self, op: &OpInput, config: &Config) -> Result<Vec<(NodeId, Question)>>;

    /// What must be asked besides, now that the first answers are there: an allocator's script, which is
    /// shown what nodes said. Asked once; the answers join the others.
    fn further(&self, input: &mut PlanInput<'_>) -> Result<Vec<(NodeId, Question)>>;

    /// Everything it will do, or why it must not.
    fn plan(&self, input: &mut PlanInput<'_>) -> Result<Plan>;

    /// It may do with those node locks that are free now, as long as they are enough.
    fn is_opportunistic(&self, op: &OpInput) -> bool;

    /// How many jobs may be at work at once.
    fn max_running(&self, config: &Config) -> usize;
}

/// Plans of opcodes under way.
pub(crate) type ActivePlans = HashMap<(JobId, usize), Arc<Plan>>;
