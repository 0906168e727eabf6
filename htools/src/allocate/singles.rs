//! Every node alone, or as the secondary of one that is given.

use super::Failures;
use super::choose::Rows;
use super::search::Search;
use super::statistics::Statistics;
use crate::model::NodeIdx;
use crate::state::Outcome;

/// One row: the nodes.
pub(super) struct Singles<'s, 'p> {
    pub search: &'s Search<'p>,
    pub nodes: &'s [NodeIdx],
}

impl Rows for Singles<'_, '_> {
    fn rows(&self) -> usize {
        1
    }

    fn fill(&self, _: usize, scores: &mut Vec<f64>) -> Failures {
        let mut failures = Failures::default();
        let mut outcome = Outcome::default();
        scores.clear();
        for &node in self.nodes {
            scores.push(match self.search.place(node, None, &mut outcome) {
                Ok(()) => self.search.score(&outcome),
                Err(mode) => {
                    failures.add(mode, 1);
                    f64::INFINITY
                }
            });
        }
        failures
    }

    fn exact(&mut self, row: usize, column: usize) -> f64 {
        self.search.exact(&self.outcome(row, column))
    }

    fn outcome(&self, _: usize, column: usize) -> Outcome {
        let mut outcome = Outcome::default();
        // It was a candidate, so that it can be placed.
        self.search.place(self.nodes[column], None, &mut outcome).ok();
        outcome
    }
}

/// One row: the secondaries of a primary.
pub(super) struct Fixed<'s, 'p> {
    pub search: &'s Search<'p>,
    pub primary: NodeIdx,
    pub others: &'s [NodeIdx],
    pub statistics: Statistics,
}

impl Rows for Fixed<'_, '_> {
    fn rows(&self) -> usize {
        1
    }

    fn fill(&self, _: usize, scores: &mut Vec<f64>) -> Failures {
        let mut failures = Failures::default();
        let mut outcome = Outcome::default();
        scores.clear();
        for &node in self.others {
            scores.push(match self.search.place(self.primary, Some(node), &mut outcome) {
                Ok(()) => self.search.score(&outcome),
                Err(mode) => {
                    failures.add(mode, 1);
                    f64::INFINITY
                }
            });
        }
        failures
    }

    fn exact(&mut self, row: usize, column: usize) -> f64 {
        self.search.exact_pair(&self.statistics, &self.outcome(row, column))
    }

    fn outcome(&self, _: usize, column: usize) -> Outcome {
        let mut outcome = Outcome::default();
        // It was a candidate, so that it can be placed.
        self.search.place(self.primary, Some(self.others[column]), &mut outcome).ok();
        outcome
    }
}
