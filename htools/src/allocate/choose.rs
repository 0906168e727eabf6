//! The best candidate that leaves all nodes able to fail.
//!
//! Candidates come in rows: one row of nodes, or for each primary a row of secondaries. As the reference does,
//! in each row those better than the first that is good are counted as failures.

use super::Failures;
use crate::fail::FailMode;
use crate::redundancy::Redundancy;
use crate::state::Outcome;

/// Scores closer than this are compared as the reference computes them.
const CLOSE: f64 = 1e-9;

/// Candidates, and how good they are.
pub(super) trait Rows {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// The scores of a row, infinite for what is no candidate; why so.
    fn fill(&self, row: usize, scores: &mut Vec<f64>) -> Failures;

    /// The score as the reference computes it.
    fn exact(&mut self, row: usize, column: usize) -> f64;

    /// What comes of a candidate.
    fn outcome(&self, row: usize, column: usize) -> Outcome;
}

/// What became of all candidates.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub failures: Failures,
    pub successes: u64,
    pub best: Option<(f64, Outcome)>,
}

/// The best of all; of equal ones the last. `survives`: whether a candidate leaves all nodes able to fail.
pub(super) fn choose(
    rows: &mut impl Rows,
    redundancy: Option<&mut Redundancy<'_>>,
    instance: crate::model::InstanceIdx,
) -> Chosen {
    let mut chosen = Chosen::default();
    let hopeless = redundancy.as_ref().is_some_and(|redundancy| redundancy.is_hopeless());
    let mut redundancy = redundancy;
    let mut survives = |rows: &dyn Fn() -> Outcome| match &mut redundancy {
        Some(redundancy) => redundancy.survives(instance, &rows()),
        None => true,
    };
    let mut scores: Vec<f64> = vec![];
    let mut firsts = vec![];
    for row in 0..rows.rows() {
        chosen.failures.add_all(&rows.fill(row, &mut scores));
        let count = scores.iter().filter(|score| score.is_finite()).count() as u64;
        let mut dropped = if hopeless { count } else { 0 };
        while dropped < count {
            let Some((column, score)) = least(&scores) else { break };
            if survives(&|| rows.outcome(row, column)) {
                firsts.push((row, score));
                break;
            }
            dropped += 1;
            scores[column] = f64::INFINITY;
        }
        chosen.failures.add(FailMode::N1, dropped);
        chosen.successes += count - dropped;
    }
    let floor = firsts.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
    let mut close: Vec<(f64, usize, usize)> = vec![];
    for (row, _) in firsts.into_iter().filter(|(_, score)| *score <= floor + CLOSE) {
        rows.fill(row, &mut scores);
        for (column, score) in scores.iter().enumerate() {
            // Those that are better did not survive.
            if *score <= floor + CLOSE && *score >= floor - CLOSE {
                close.push((rows.exact(row, column), row, column));
            }
        }
    }
    while !close.is_empty() {
        let least = close.iter().map(|(score, ..)| *score).fold(f64::INFINITY, f64::min);
        let equal = close.iter().rev().filter(|(score, ..)| *score == least);
        for &(score, row, column) in equal {
            if survives(&|| rows.outcome(row, column)) {
                chosen.best = Some((score, rows.outcome(row, column)));
                return chosen;
            }
        }
        close.retain(|(score, ..)| *score > least);
    }
    chosen
}

/// The last of the lowest.
fn least(scores: &[f64]) -> Option<(usize, f64)> {
    let mut least = None;
    for (column, &score) in scores.iter().enumerate() {
        if score.is_finite() && least.is_none_or(|(_, other)| score <= other) {
            least = Some((column, score));
        }
    }
    least
}
