//! The score after two nodes have changed, in the reference's own arithmetic.
//!
//! For pairs the reference does not compute the score anew but updates variances, first for the primary, then
//! for the secondary. Which of two equally good pairs is taken hangs on the last bit of that.

use crate::model::NodeIdx;
use crate::score::{Counts, SPREADS, Spread, Term, counts, spread};
use crate::state::{NodeState, Placement};

const ROWS: usize = SPREADS.len();

/// What one node adds, before and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    old: (Spread, Counts),
    new: (Spread, Counts),
}

impl Change {
    pub fn of(placement: &Placement, node: NodeIdx, new: &NodeState) -> Change {
        let given = &placement.cluster().nodes[node.at()];
        let limits = placement.limits(node);
        let both = |state: &NodeState| (spread(given, limits, state), counts(given, state));
        Change { old: both(placement.node(node)), new: both(new) }
    }

    /// The same numbers for the same change, whichever node it is.
    pub fn bits(&self) -> Vec<u64> {
        let side = |(spread, counts): &(Spread, Counts)| {
            let counts = counts.terms().map(|(_, value)| value.to_bits());
            spread.map(f64::to_bits).into_iter().chain(counts).collect::<Vec<u64>>()
        };
        [side(&self.old), side(&self.new)].concat()
    }

    fn sum(&self, row: usize) -> f64 {
        self.new.0[row] - self.old.0[row]
    }

    fn squares(&self, row: usize) -> f64 {
        let (new, old) = (self.new.0[row], self.old.0[row]);
        new * new - old * old
    }

    /// What counts change, weighted.
    pub fn counted(&self) -> f64 {
        let (new, old) = (self.new.1.terms(), self.old.1.terms());
        new.iter().zip(old).map(|((term, new), (_, old))| term.weight() * (new - old)).sum()
    }
}

/// Statistics of the nodes that count. All have to be online that change.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    count: f64,
    sum: Spread,
    variance: Spread,
    counts: [(Term, f64); 6],
    conflicts: f64,
}

impl Statistics {
    pub fn of(placement: &Placement, nodes: &[NodeIdx]) -> Statistics {
        let cluster = placement.cluster();
        let mut totals = Counts::default().terms();
        let mut online: Vec<Spread> = vec![];
        for &node in nodes {
            let (given, state) = (&cluster.nodes[node.at()], placement.node(node));
            for (total, (_, value)) in totals.iter_mut().zip(counts(given, state).terms()) {
                total.1 += value;
            }
            if !given.offline {
                online.push(spread(given, placement.limits(node), state));
            }
        }
        let count = online.len() as f64;
        let (mut sum, mut variance) = ([0.0; ROWS], [0.0; ROWS]);
        for row in 0..ROWS {
            sum[row] = online.iter().map(|values| values[row]).sum();
            let mean = sum[row] / count;
            let squares: f64 = online.iter().map(|v| (v[row] - mean) * (v[row] - mean)).sum();
            variance[row] = squares / count;
        }
        let conflicts = placement.location_conflicts() as f64;
        Statistics { count, sum, variance, counts: totals, conflicts }
    }

    /// What is counted, weighted.
    pub fn counted(&self) -> f64 {
        let counts: f64 = self.counts.iter().map(|(term, value)| term.weight() * value).sum();
        counts + Term::LocationExclusion.weight() * self.conflicts
    }

    /// How much a change adds to the variance of a row, but for what two changes have to do with each other;
    /// and how much to its sum.
    pub fn parts(&self, row: usize, change: &Change) -> (f64, f64) {
        let (n, sum) = (self.count, change.sum(row));
        let variance =
            ((n * change.squares(row) - 2.0 * self.sum[row] * sum) - sum * sum) / (n * n);
        (variance, sum)
    }

    /// The variance of a row now.
    pub fn variance(&self, row: usize) -> f64 {
        self.variance[row]
    }

    /// What the product of two changes of a row's sum is multiplied with.
    pub fn cross(&self) -> f64 {
        2.0 / (self.count * self.count)
    }

    /// The score after these changes, one after the other.
    pub fn after(&self, changes: [&Change; 2], conflicts: i64) -> f64 {
        let mut new = self.clone();
        let n = self.count;
        for change in changes {
            for row in 0..ROWS {
                let (sum, squares) = (change.sum(row), change.squares(row));
                let variance = (n * squares - 2.0 * new.sum[row] * sum) - sum * sum;
                new.sum[row] += sum;
                new.variance[row] = (new.variance[row] + variance / (n * n)).max(0.0);
            }
            let (after, before) = (change.new.1.terms(), change.old.1.terms());
            for (at, total) in new.counts.iter_mut().enumerate() {
                total.1 += after[at].1 - before[at].1;
            }
        }
        new.conflicts += conflicts as f64;
        new.total()
    }

    /// Weighted and added up in the order of the terms.
    fn total(&self) -> f64 {
        let mut values = [0.0; Term::COUNT];
        for (row, term) in SPREADS.iter().enumerate() {
            values[*term as usize] = self.variance[row].sqrt();
        }
        for (term, value) in &self.counts {
            values[*term as usize] = *value;
        }
        values[Term::LocationExclusion as usize] = self.conflicts;
        Term::ALL.iter().map(|term| term.weight() * values[*term as usize]).sum()
    }
}
