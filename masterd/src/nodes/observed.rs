//! What nodes say of themselves and their guests. Observed, never stored, never decided on alone:
//! plans ask again.

use crate::clock;
use roost_proto::choices::Hypervisor;
use roost_proto::ids::NodeId;
use roost_proto::node::{GuestReport, NodeReport, Observation, Outcome, SyncStatus};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// The newest that is known of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// It answers.
    pub up: bool,
    /// Why it does not.
    pub problem: String,
    /// What it said last, even if it does not answer now.
    pub report: NodeReport,
    /// By name.
    pub guests: BTreeMap<String, GuestReport>,
    /// By minor.
    pub mirrors: BTreeMap<u32, SyncStatus>,
    /// When it told its figures last, by [`clock::forward_millis`]; 0: it never did.
    pub told: u64,
}

/// The views of all nodes. Cheap to clone; readers get a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Observed(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    views: RwLock<HashMap<NodeId, Arc<NodeView>>>,
    /// Counts nodes that began to answer.
    came: watch::Sender<u64>,
}

impl Observed {
    /// All views.
    pub fn all(&self) -> HashMap<NodeId, Arc<NodeView>> {
        self.0.views.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One node's.
    pub fn node(&self, node: NodeId) -> Option<Arc<NodeView>> {
        self.0.views.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    fn change(&self, node: NodeId, change: impl FnOnce(&mut NodeView)) {
        let mut views = self.0.views.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(views.entry(node).or_default()));
    }

    /// A node told something.
    pub fn apply(&self, node: NodeId, observation: Observation) {
        let mut came = false;
        self.change(node, |view| {
            came = !view.up;
            view.up = true;
            view.problem.clear();
            match observation {
                Observation::All { node, guests } => {
                    (view.report, view.told) = (*node, clock::forward_millis());
                    view.guests = guests.into_iter().map(|g| (g.name.clone(), g)).collect();
                }
                Observation::Guest { guest } => {
                    view.guests.insert(guest.name.clone(), guest);
                }
                Observation::Gone { name, hypervisor } => remove(view, &name, Some(hypervisor)),
                Observation::Node { node } => {
                    (view.report, view.told) = (*node, clock::forward_millis());
                }
                Observation::Mirrors { mirrors } => {
                    view.mirrors = mirrors.into_iter().map(|m| (m.minor, m.sync)).collect();
                }
            }
        });
        if came {
            self.0.came.send_modify(|count| *count += 1);
        }
    }

    /// Changes whenever a node begins to answer.
    pub fn came(&self) -> watch::Receiver<u64> {
        self.0.came.subscribe()
    }

    /// An action left guests or exports in a new state: known before any watcher is told.
    pub fn apply_outcome(&self, node: NodeId, outcome: &Outcome) {
        let Outcome { guest, gone, exports, .. } = outcome;
        if guest.is_none() && gone.is_empty() && exports.is_none() {
            return;
        }
        self.change(node, |view| {
            for name in &outcome.gone {
                remove(view, name, None);
            }
            if let Some(exports) = exports {
                view.report.exports.clone_from(exports);
            }
            if let Some(guest) = &outcome.guest {
                view.guests.insert(guest.name.clone(), guest.clone());
            }
        });
    }

    /// A node does not answer.
    pub fn lost(&self, node: NodeId, problem: String) {
        self.change(node, |view| {
            view.up = false;
            view.problem = problem;
        });
    }

    /// A node is not in the cluster any more, or marked offline.
    pub fn forget(&self, node: NodeId) {
        self.0.views.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }
}

fn remove(view: &mut NodeView, name: &str, hypervisor: Option<Hypervisor>) {
    let same = |g: &GuestReport| hypervisor.is_none_or(|h| g.hypervisor == h);
    if view.guests.get(name).is_some_and(same) {
        view.guests.remove(name);
    }
}
