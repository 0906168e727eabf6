//! Every pair of nodes.
//!
//! What a node would be as primary hardly depends on who is secondary, and the other way round: each is tried
//! once. A pair's score needs then for each row of the score that both have a say in one product and one root;
//! rows of only one of them are known before.
//!
//! ```text
//!   variance(p, s) = variance + part of p + part of s − 2/n² · sum of p · sum of s
//! ```
//!
//! Only pairs that share instances already are tried one by one: the secondary's reserved memory grows there.

use super::Failures;
use super::choose::Rows;
use super::search::Search;
use super::statistics::{Change, Statistics};
use crate::fail::FailMode;
use crate::model::{InstanceIdx, NodeIdx};
use crate::score::SPREADS;
use crate::state::{NodeState, Outcome};
use std::collections::HashMap;

/// Scores are kept where so few can be different: nodes are alike then, and very many pairs equally good.
const MOST_KEPT: usize = 1 << 16;

/// A node as primary, or as secondary.
struct Side {
    change: Change,
    /// The same number for the same change.
    class: usize,
}

type Sides = Vec<Result<Side, FailMode>>;

/// A row for each primary; its columns are the secondaries.
pub(super) struct Pairs<'s, 'p> {
    search: &'s Search<'p>,
    nodes: &'s [NodeIdx],
    statistics: Statistics,
    primaries: Sides,
    secondaries: Sides,
    /// By primary: columns that have to be tried.
    special: Vec<Vec<usize>>,
    /// Rows of the score that both have a say in: for each the parts of the secondaries.
    both: Vec<(usize, Vec<f64>, Vec<f64>)>,
    /// By secondary: what only it has a say in.
    alone: Vec<f64>,
    classes: usize,
    kept: Vec<f64>,
}

impl<'s, 'p> Pairs<'s, 'p> {
    /// `None`: the sides of this instance have to do with each other, or there are too few nodes to tell.
    pub fn new(
        search: &'s Search<'p>,
        nodes: &'s [NodeIdx],
        statistics: Statistics,
    ) -> Option<Pairs<'s, 'p>> {
        if !search.sides_are_apart() {
            return None;
        }
        let placement = search.placement();
        let mut outcome = Outcome::default();
        let mut classes = HashMap::new();
        let mut side = |node: NodeIdx, state: &NodeState| {
            let change = Change::of(placement, node, state);
            let next = classes.len();
            let class = *classes.entry(change.bits()).or_insert(next);
            Side { change, class }
        };
        let mut primaries: Sides = vec![];
        for &node in nodes {
            let checked = search.place(node, None, &mut outcome);
            primaries.push(checked.map(|()| side(node, &outcome.changed()[0].state)));
        }
        let mut secondaries: Sides = vec![];
        let able: Vec<NodeIdx> =
            nodes.iter().zip(&primaries).filter(|(_, p)| p.is_ok()).map(|(n, _)| *n).collect();
        for &node in nodes {
            // Any primary does that has nothing on this node yet.
            let free = |primary: &&NodeIdx| {
                **primary != node && placement.peer_memory(node, **primary) == 0
            };
            let checked = match able.iter().find(free) {
                Some(&primary) => search.place(primary, Some(node), &mut outcome),
                // No other node can be primary.
                None if able.iter().all(|primary| *primary == node) => Err(FailMode::Internal),
                None => return None,
            };
            secondaries.push(checked.map(|()| side(node, &outcome.changed()[1].state)));
        }
        let mut pairs = Pairs {
            search,
            nodes,
            statistics,
            primaries,
            secondaries,
            special: vec![vec![]; nodes.len()],
            both: vec![],
            alone: vec![],
            classes: classes.len(),
            kept: vec![],
        };
        pairs.find_special();
        pairs.split_rows();
        Some(pairs)
    }

    /// The pairs with instances that need memory on the secondary.
    fn find_special(&mut self) {
        let placement = self.search.placement();
        let mut column = vec![usize::MAX; placement.cluster().nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            column[node.at()] = at;
        }
        for at in 0..placement.cluster().instances.len() {
            let index = InstanceIdx::of(at);
            let Some(secondary) = placement.secondary(index) else { continue };
            let (row, column) = (column[placement.primary(index).at()], column[secondary.at()]);
            if row != usize::MAX && column != usize::MAX {
                self.special[row].push(column);
            }
        }
        for columns in &mut self.special {
            columns.sort_unstable();
            columns.dedup();
        }
    }

    /// Which rows of the score who has a say in.
    fn split_rows(&mut self) {
        let counted =
            |side: &Result<Side, FailMode>| side.as_ref().map_or(0.0, |side| side.change.counted());
        self.alone = self.secondaries.iter().map(counted).collect();
        for (row, term) in SPREADS.iter().enumerate() {
            let part = |side: &Result<Side, FailMode>| {
                side.as_ref().map_or((0.0, 0.0), |side| self.statistics.parts(row, &side.change))
            };
            let moves = |sides: &Sides| sides.iter().any(|side| part(side).1 != 0.0);
            match (moves(&self.primaries), moves(&self.secondaries)) {
                (true, true) => {
                    let (variance, sum) = self.secondaries.iter().map(part).unzip();
                    self.both.push((row, variance, sum));
                }
                (false, true) => {
                    let weight = term.weight();
                    let variance = self.statistics.variance(row);
                    let parts: Vec<f64> =
                        self.secondaries.iter().map(|side| variance + part(side).0).collect();
                    for (alone, part) in self.alone.iter_mut().zip(parts) {
                        *alone += weight * part.max(0.0).sqrt();
                    }
                }
                (_, false) => {}
            }
        }
    }

    /// What of a primary's score does not depend on the secondary.
    fn base(&self, primary: &Side) -> f64 {
        let mut base = self.statistics.counted() + primary.change.counted();
        for (row, term) in SPREADS.iter().enumerate() {
            let (part, sum) = self.statistics.parts(row, &primary.change);
            let shared = self.both.iter().any(|(both, ..)| *both == row);
            let moved = sum != 0.0 || !self.secondary_moves(row);
            if !shared && moved {
                let variance = (self.statistics.variance(row) + part).max(0.0);
                base += term.weight() * variance.sqrt();
            }
        }
        base
    }

    /// Whether a row is the secondaries' alone.
    fn secondary_moves(&self, row: usize) -> bool {
        let moves = |side: &Result<Side, FailMode>| {
            side.as_ref().is_ok_and(|side| self.statistics.parts(row, &side.change).1 != 0.0)
        };
        self.secondaries.iter().any(moves)
    }

    fn try_pair(&self, row: usize, column: usize, outcome: &mut Outcome) -> Result<(), FailMode> {
        self.search.place(self.nodes[row], Some(self.nodes[column]), outcome)
    }
}

impl Rows for Pairs<'_, '_> {
    fn rows(&self) -> usize {
        self.nodes.len()
    }

    fn fill(&self, row: usize, scores: &mut Vec<f64>) -> Failures {
        let mut failures = Failures::default();
        scores.clear();
        scores.resize(self.nodes.len(), f64::INFINITY);
        let primary = match &self.primaries[row] {
            Ok(primary) => primary,
            Err(mode) => {
                failures.add(*mode, self.nodes.len() as u64 - 1);
                return failures;
            }
        };
        let base = self.base(primary);
        for (score, alone) in scores.iter_mut().zip(&self.alone) {
            *score = base + alone;
        }
        let cross = self.statistics.cross();
        for (number, variances, sums) in &self.both {
            let (part, sum) = self.statistics.parts(*number, &primary.change);
            let start = self.statistics.variance(*number) + part;
            let (factor, weight) = (cross * sum, SPREADS[*number].weight());
            for ((score, variance), sum) in scores.iter_mut().zip(variances).zip(sums) {
                let variance = start + variance - factor * sum;
                let variance = if variance > 0.0 { variance } else { 0.0 };
                *score += weight * variance.sqrt();
            }
        }
        let mut specials = self.special[row].iter().copied().peekable();
        let mut outcome = Outcome::default();
        for (column, score) in scores.iter_mut().enumerate() {
            let special = specials.next_if_eq(&column).is_some();
            if column == row {
                *score = f64::INFINITY;
                continue;
            }
            let checked = match (&self.secondaries[column], special) {
                (_, true) => self
                    .try_pair(row, column, &mut outcome)
                    .map(|()| *score = self.search.score(&outcome)),
                (Ok(_), false) => Ok(()),
                (Err(mode), false) => Err(*mode),
            };
            if let Err(mode) = checked {
                failures.add(mode, 1);
                *score = f64::INFINITY;
            }
        }
        failures
    }

    fn exact(&mut self, row: usize, column: usize) -> f64 {
        let special = self.special[row].binary_search(&column).is_ok();
        if let (Ok(primary), Ok(secondary), false) =
            (&self.primaries[row], &self.secondaries[column], special)
        {
            let size = self.classes * self.classes;
            if size <= MOST_KEPT {
                self.kept.resize(size, f64::NAN);
                let kept = &mut self.kept[primary.class * self.classes + secondary.class];
                if kept.is_nan() {
                    *kept = self.statistics.after([&primary.change, &secondary.change], 0);
                }
                return *kept;
            }
            return self.statistics.after([&primary.change, &secondary.change], 0);
        }
        self.search.exact_pair(&self.statistics, &self.outcome(row, column))
    }

    fn outcome(&self, row: usize, column: usize) -> Outcome {
        let mut outcome = Outcome::default();
        // It was a candidate, so that it can be placed.
        self.try_pair(row, column, &mut outcome).ok();
        outcome
    }
}

/// The same without knowing anything before: for instances whose sides have to do with each other.
pub(super) struct TriedPairs<'s, 'p> {
    search: &'s Search<'p>,
    nodes: &'s [NodeIdx],
    statistics: Statistics,
}

impl<'s, 'p> TriedPairs<'s, 'p> {
    pub fn new(search: &'s Search<'p>, nodes: &'s [NodeIdx], statistics: Statistics) -> Self {
        TriedPairs { search, nodes, statistics }
    }
}

impl Rows for TriedPairs<'_, '_> {
    fn rows(&self) -> usize {
        self.nodes.len()
    }

    fn fill(&self, row: usize, scores: &mut Vec<f64>) -> Failures {
        let mut failures = Failures::default();
        let mut outcome = Outcome::default();
        scores.clear();
        for (column, &node) in self.nodes.iter().enumerate() {
            let score = match self.search.place(self.nodes[row], Some(node), &mut outcome) {
                _ if column == row => f64::INFINITY,
                Ok(()) => self.search.score(&outcome),
                Err(mode) => {
                    failures.add(mode, 1);
                    f64::INFINITY
                }
            };
            scores.push(score);
        }
        failures
    }

    fn exact(&mut self, row: usize, column: usize) -> f64 {
        self.search.exact_pair(&self.statistics, &self.outcome(row, column))
    }

    fn outcome(&self, row: usize, column: usize) -> Outcome {
        let mut outcome = Outcome::default();
        // It was a candidate, so that it can be placed.
        self.search.place(self.nodes[row], Some(self.nodes[column]), &mut outcome).ok();
        outcome
    }
}
