//! Plans: what an opcode will do, decided in full before anything is done.
//!
//! ```text
//!   before ─ reversible steps: each has an undo, or needs none
//!   pivot  ─ one commit: what the configuration says from now on
//!   after  ─ forward steps: tried again and again, never undone
//! ```
//!
//! A plan does the same to several things, and what comes of one says nothing of the others? Then its
//! result is a list with a row for each (`[[0, name], [status, value]]`, as queries have them), and a
//! step before the pivot names the row it is about ([`Step::row`]). If it fails, its row says *no
//! data* and the plan goes on; changes of the pivot that hang on a row are made if its step was done
//! ([`Pivot::rows`]). Once such a step began the plan is not turned back: what is left of it when the
//! job is cancelled is not done, and what was done counts.
//!
//! A plan is stored in the journal before its first step runs, so it must say everything: names,
//! UUIDs, addresses, ports. Nothing is left to choose while it is carried out.

use crate::config::Change;
use roost_proto::error::Error;
use roost_proto::ids::NodeId;
use roost_proto::node::Action;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The format of stored plans. A plan of another format is refused at start-up.
pub const PLAN_FORMAT: u32 = 1;

/// Everything an opcode will do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Said in the job's log before anything is done.
    #[serde(default)]
    pub say: Vec<String>,
    #[serde(default)]
    pub before: Vec<Step>,
    #[serde(default)]
    pub pivot: Pivot,
    #[serde(default)]
    pub after: Vec<Step>,
    /// What the opcode returns. Job numbers of child jobs are put in at `jobs`.
    #[serde(default)]
    pub result: Value,
}

/// The moment from which it counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pivot {
    /// Said when it happened.
    #[serde(default)]
    pub say: Vec<String>,
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Changes that are made only if the step of that row was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<(usize, Change)>,
    /// Jobs to submit in the same moment: opcodes each.
    #[serde(default)]
    pub jobs: Vec<Vec<Value>>,
    /// What is not wanted any more and cannot or must not be removed now: recorded as debris in
    /// the same moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<Leftover>,
}

/// Something left for the administrator to remove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leftover {
    /// What removes it.
    pub step: Step,
    /// Why that is not done now.
    pub why: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What is being done, for people: `creating instance disks`.
    pub name: String,
    /// Said in the job's log when it starts.
    #[serde(default)]
    pub say: Option<String>,
    pub task: Task,
    /// What takes it back. Also run for a step that failed: it may have half happened.
    #[serde(default)]
    pub undo: Option<Task>,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The opcode returns what this step found: `[[node, disk/N, device]]`.
    #[serde(default)]
    pub returns_devices: bool,
    /// Once done it cannot be taken back, so the plan goes on even if the job is cancelled; and as
    /// its failure may have come too late to tell, it is tried once more before all is undone.
    #[serde(default)]
    pub no_return: bool,
    /// Nothing takes it back: what stays, said instead of undoing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<String>,
    /// Before the pivot: what comes of it is told by this row of the result, and its failure by
    /// nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
}

/// What the failure of a step means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Before the pivot: undo everything. After it: the opcode fails, but what the pivot changed
    /// stands; steps behind it are not done, those that remove things are recorded as debris.
    #[default]
    Fail,
    /// A warning in the job's log.
    Warn,
    /// After the pivot, for what removes things: the rest is recorded as debris.
    Debris,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// A node does it.
    Node { node: NodeId, action: Box<Action> },
    /// Several nodes do the same at the same time; it is done when all have done it.
    Nodes { nodes: Vec<NodeId>, action: Box<Action> },
    /// The master waits, seconds.
    Sleep { duration: f64 },
}

impl Task {
    /// A node does it.
    pub fn on(node: NodeId, action: Action) -> Task {
        Task::Node { node, action: Box::new(action) }
    }

    /// The nodes concerned.
    pub fn nodes(&self) -> &[NodeId] {
        match self {
            Task::Node { node, .. } => std::slice::from_ref(node),
            Task::Nodes { nodes, .. } => nodes,
            Task::Sleep { .. } => &[],
        }
    }

    /// What they do.
    pub fn action(&self) -> Option<&Action> {
        match self {
            Task::Node { action, .. } | Task::Nodes { action, .. } => Some(action),
            Task::Sleep { .. } => None,
        }
    }
}

impl Step {
    /// A step without undo.
    pub fn new(name: impl Into<String>, task: Task) -> Step {
        Step {
            name: name.into(),
            say: None,
            task,
            undo: None,
            on_failure: OnFailure::Fail,
            returns_devices: false,
            no_return: false,
            stays: None,
            row: None,
        }
    }

    /// Says a line when it starts.
    #[must_use]
    pub fn saying(mut self, line: impl Into<String>) -> Step {
        self.say = Some(line.into());
        self
    }

    /// What takes it back.
    #[must_use]
    pub fn undone_by(mut self, undo: Task) -> Step {
        self.undo = Some(undo);
        self
    }

    /// What comes of it is told by this row of the result.
    #[must_use]
    pub fn for_row(mut self, row: usize) -> Step {
        self.row = Some(row);
        self
    }

    /// What its failure means.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Step {
        self.on_failure = on_failure;
        self
    }
}

/// How far a plan is. Stored at every transition; the plan itself is stored once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    pub phase: Phase,
    /// The step that is next; it may have been started and even have ended.
    pub next: usize,
    /// What to return, as far as it is known.
    #[serde(default)]
    pub result: Value,
    /// After the pivot: a step that must not fail did.
    #[serde(default)]
    pub failure: Option<Error>,
}

/// Where in the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Doing `before[next]`.
    Before,
    /// Undoing `before[next - 1]`, then those before it.
    Undo {
        /// Why; nothing: the user asked for it.
        error: Option<Error>,
    },
    /// Doing `after[next]`.
    After,
}

impl Cursor {
    /// At the first step.
    pub fn start(result: Value) -> Cursor {
        Cursor { phase: Phase::Before, next: 0, result, failure: None }
    }
}

/// What could not be undone or removed: shown by `gnt-cluster verify`, removed by
/// `gnt-cluster repair-debris`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Debris {
    pub job: roost_proto::ids::JobId,
    /// What was tried.
    pub step: String,
    pub task: Task,
    pub error: String,
}
