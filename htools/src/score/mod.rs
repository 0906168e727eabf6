//! How good a placement is: one number, less is better.
//!
//! It is a weighted sum of standard deviations (how evenly something is spread over the nodes), of counts
//! of what is wrong, and of distances from what tags want. Source: Ganeti's reference on htools, score.
//!
//! [`Score::of`] computes it as the reference does, so that every printed digit agrees. [`Scorer`] says what
//! it would be after a move, in a time that does not depend on the size of the cluster.

mod scorer;
mod terms;

pub use scorer::Scorer;
pub use terms::{SPREADS, Term};

use crate::model::{Node, NodeIdx};
use crate::rules::Ruling;
use crate::state::{Changed, Limits, NodeState, Outcome, Placement};

/// The terms of a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// In the order of [`Term::ALL`], not weighted.
    pub values: [f64; Term::COUNT],
    /// What violations of placement rules count; 0 without rules. Not in the reference.
    pub rules: f64,
    pub total: f64,
}

/// What is spread over nodes: one value for each, in the order of [`SPREADS`].
pub type Spread = [f64; SPREADS.len()];

/// A part of a whole; a node without the whole has no say.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// What of a node's state is spread, as it is.
#[inline]
fn amounts(node: &Node, state: &NodeState) -> Spread {
    let forth = &state.forth;
    let (disk, disk_forth) = match node.exclusive_storage {
        true => (state.free_spindles, forth.free_spindles),
        false => (state.free_disk, forth.free_disk),
    };
    [
        state.unallocated as f64,
        disk as f64,
        state.reserved as f64,
        state.used_vcpus as f64,
        state.cpu_load,
        state.memory_load,
        state.disk_load,
        state.net_load,
        state.used_spindles as f64,
        forth.free_memory as f64,
        disk_forth as f64,
        forth.used_vcpus as f64,
        forth.used_spindles as f64,
    ]
}

/// What the amounts are parts of, and what the parts are divided by then. A node without a whole adds 0, one
/// without a disk 1: nothing of it can be used up.
fn wholes(node: &Node, limits: &Limits) -> [(f64, f64); SPREADS.len()] {
    let memory = (node.total_memory, 1.0);
    let cpus = (node.total_cpus, node.cpu_speed);
    let spindles = (limits.spindles, 1.0);
    let load = (1.0, 1.0);
    let disk = match node.exclusive_storage {
        true => (node.spindles as f64, 1.0),
        false => (node.total_disk, 1.0),
    };
    [memory, disk, memory, cpus, load, load, load, load, spindles, memory, disk, cpus, spindles]
}

/// What a node adds to the spreads.
pub(crate) fn spread(node: &Node, limits: &Limits, state: &NodeState) -> Spread {
    let mut values = amounts(node, state);
    for (row, (whole, then)) in wholes(node, limits).into_iter().enumerate() {
        values[row] = match whole {
            0.0 if is_disk(row) && !node.exclusive_storage => 1.0,
            _ => ratio(ratio(values[row], whole), then),
        };
    }
    values
}

fn is_disk(row: usize) -> bool {
    matches!(SPREADS[row], Term::FreeDisk | Term::FreeDiskForth)
}

/// What is counted over nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub n1: f64,
    pub offline_all: f64,
    pub offline_primaries: f64,
    pub tags: f64,
    pub location: f64,
    pub reserved: f64,
}

/// What a node adds to the counts.
pub fn counts(node: &Node, state: &NodeState) -> Counts {
    let all = f64::from(state.primaries) + f64::from(state.secondaries);
    if node.offline {
        let offline_primaries = f64::from(state.primaries);
        return Counts { offline_all: all, offline_primaries, ..Counts::default() };
    }
    Counts {
        n1: if state.n1_fails { all } else { 0.0 },
        tags: state.conflicts as f64,
        location: state.location as f64,
        reserved: ratio(state.reserved as f64, node.total_memory),
        ..Counts::default()
    }
}

/// The population's standard deviation, in two passes.
fn deviation(values: impl Iterator<Item = f64> + Clone, count: usize) -> f64 {
    let mean = values.clone().sum::<f64>() / count as f64;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    (squares / count as f64).sqrt()
}

impl Score {
    /// Of the nodes named, in their order.
    pub fn of(placement: &Placement, nodes: &[NodeIdx]) -> Score {
        let penalty = placement.ruling().penalty();
        Score::compute(placement, nodes, &[], placement.location_conflicts(), penalty)
    }

    /// The same after a move.
    pub fn after(placement: &Placement, nodes: &[NodeIdx], outcome: &Outcome) -> Score {
        let conflicts = placement.location_conflicts() + outcome.location_conflicts;
        let penalty = placement.ruling().penalty() + outcome.rules;
        Score::compute(placement, nodes, outcome.changed(), conflicts, penalty)
    }

    fn compute(
        placement: &Placement,
        nodes: &[NodeIdx],
        changed: &[Changed],
        conflicts: i64,
        penalty: i64,
    ) -> Score {
        let cluster = placement.cluster();
        let state = |node: NodeIdx| {
            let new = changed.iter().find(|changed| changed.node == node);
            new.map_or(placement.node(node), |changed| &changed.state)
        };
        let mut values = [0.0; Term::COUNT];
        let online: Vec<Spread> = nodes
            .iter()
            .filter(|node| !cluster.nodes[node.at()].offline)
            .map(|&node| spread(&cluster.nodes[node.at()], placement.limits(node), state(node)))
            .collect();
        if online.is_empty() {
            return Score { values, rules: 0.0, total: 0.0 };
        }
        for (row, term) in SPREADS.iter().enumerate() {
            let column = online.iter().map(|values| values[row]);
            values[*term as usize] = deviation(column, online.len());
        }
        for &node in nodes {
            let counts = counts(&cluster.nodes[node.at()], state(node));
            for (term, value) in counts.terms() {
                values[term as usize] += value;
            }
        }
        values[Term::LocationExclusion as usize] = conflicts as f64;
        let terms = Term::ALL.iter().map(|term| term.weight() * values[*term as usize]);
        let rules = Ruling::score(penalty);
        Score { values, rules, total: terms.sum::<f64>() + rules }
    }
}

impl Counts {
    /// By term.
    pub fn terms(&self) -> [(Term, f64); 6] {
        [
            (Term::N1, self.n1),
            (Term::OfflineAll, self.offline_all),
            (Term::OfflinePrimaries, self.offline_primaries),
            (Term::Tags, self.tags),
            (Term::Location, self.location),
            (Term::ReservedTotal, self.reserved),
        ]
    }

    /// Weighted and added up.
    fn weighted(&self) -> f64 {
        self.terms().iter().map(|(term, value)| term.weight() * value).sum()
    }
}

/// What even the best placement scores, for the memory it has to reserve: the nodes of a group.
pub fn unavoidable(placement: &Placement, nodes: &[NodeIdx]) -> f64 {
    if nodes.len() < 2 {
        return 0.0;
    }
    let memory = |node: &NodeIdx| placement.cluster().nodes[node.at()].total_memory;
    let total: f64 = nodes.iter().map(memory).sum();
    let largest = nodes.iter().map(memory).fold(0.0, f64::max);
    let mut reserved = 0;
    for node in nodes {
        reserved += nodes.iter().map(|peer| placement.peer_memory(*node, *peer)).sum::<i64>();
    }
    let reserved = reserved as f64;
    if total <= largest {
        return 0.0;
    }
    Term::ReservedTotal.weight() * (reserved / (total - largest) - reserved / total)
}
