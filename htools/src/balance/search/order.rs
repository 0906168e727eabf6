//! In which order moves are made: each one legal where the ones before it have led.

use super::super::{Options, Step, trial};
use crate::model::InstanceIdx;
use crate::moves::{Kind, Move};
use crate::score::Scorer;
use crate::state::{Outcome, Placement};
use fastrand::Rng;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Ordered {
    pub steps: Vec<Step>,
    pub placement: Placement,
    /// Moves that nothing made possible.
    pub left: Vec<(InstanceIdx, Kind)>,
}

/// So often it is tried with other orders when moves are left.
const TRIES: usize = 8;

/// Makes the moves, the next one always the one that makes the score least of those that can be made; if that
/// leaves some, also in other orders, drawn at random.
pub fn order(
    start: &Placement,
    scorer: &Scorer,
    moves: &[(InstanceIdx, Kind)],
    options: &Options,
) -> Ordered {
    let mut rng = Rng::with_seed(moves.len() as u64);
    let mut best = attempt(start, scorer, moves, options, || 0.0);
    for noise in [0.1, 2.0] {
        for _ in 0..TRIES {
            if best.left.is_empty() {
                return best;
            }
            let other = attempt(start, scorer, moves, options, || noise * rng.f64());
            if other.left.len() < best.left.len() {
                best = other;
            }
        }
    }
    best
}

/// One order; `noise` is added to each score.
fn attempt(
    start: &Placement,
    scorer: &Scorer,
    moves: &[(InstanceIdx, Kind)],
    options: &Options,
    mut noise: impl FnMut() -> f64,
) -> Ordered {
    let (mut placement, mut scorer) = (start.clone(), scorer.clone());
    let mut left: Vec<(InstanceIdx, Kind)> = moves.to_vec();
    left.sort_by_key(|(instance, _)| *instance);
    let (mut steps, mut out) = (vec![], Outcome::default());
    while !left.is_empty() {
        let mut best: Option<(f64, usize, Outcome)> = None;
        for (at, (instance, kind)) in left.iter().enumerate() {
            let working = placement.begin(*instance);
            if !trial::attempt(&placement, &working, *kind, options, &mut out) {
                continue;
            }
            let score = scorer.after(&placement, &out) + noise();
            if best.as_ref().is_none_or(|(least, ..)| score < *least) {
                best = Some((score, at, out));
            }
        }
        let Some((_, at, outcome)) = best else { break };
        let (instance, kind) = left.remove(at);
        let score = scorer.exact_after(&placement, &outcome).total;
        steps.push(Step::new(&placement, Move { instance, kind }, &outcome, score));
        placement.apply(instance, &outcome);
        scorer.recompute(&placement);
    }
    Ordered { steps, placement, left }
}
