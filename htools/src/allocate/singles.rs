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
    /// Of whom the nodes become the secondary, and the statistics that pairs are judged by; `None`: the nodes
    /// become primaries.
    pub beside: Option<(NodeIdx, Statistics)>,
    pub nodes: &'s [NodeIdx],
}

impl Singles<'_, '_> {
    /// Primary and secondary when a node is taken.
    fn seat(&self, node: NodeIdx) -> (NodeIdx, Option<NodeIdx>) {
        match &self.beside {
            Some((primary, _)) => (*primary, Some(node)),
            None => (node, None),
        }
    }
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
            let (primary, secondary) = self.seat(node);
            scores.push(match self.search.place(primary, secondary, &mut outcome) {
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
        let outcome = self.outcome(row, column);
        match &self.beside {
            Some((_, statistics)) => self.search.exact_pair(statistics, &outcome),
            None => self.search.exact(&outcome),
        }
    }

    fn outcome(&self, _: usize, column: usize) -> Outcome {
        let mut outcome = Outcome::default();
        let (primary, secondary) = self.seat(self.nodes[column]);
        // It was a candidate, so that it can be placed.
        self.search.place(primary, secondary, &mut outcome).ok();
        outcome
    }
}
