//! In which order moves are made: each one legal where the ones before it have led.

use super::super::Step;
use crate::model::InstanceIdx;
use crate::moves::{Kind, Move};
use crate::score::Scorer;
use crate::state::{Outcome, Placement};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Ordered {
    pub steps: Vec<Step>,
    pub placement: Placement,
    /// Moves that nothing made possible.
    pub left: Vec<(InstanceIdx, Kind)>,
}

/// Makes the moves, always the one next that makes the score least of those that can be made.
pub fn order(
    start: &Placement,
    scorer: &Scorer,
    moves: &[(InstanceIdx, Kind)],
    force: bool,
) -> Ordered {
    let (mut placement, mut scorer) = (start.clone(), scorer.clone());
    let mut left: Vec<(InstanceIdx, Kind)> = moves.to_vec();
    left.sort_by_key(|(instance, _)| *instance);
    let (mut steps, mut out) = (vec![], Outcome::default());
    while !left.is_empty() {
        let mut best: Option<(f64, usize, Outcome)> = None;
        for (at, (instance, kind)) in left.iter().enumerate() {
            if kind.attempt(&placement.begin(*instance), force, &mut out).is_err() {
                continue;
            }
            let score = scorer.after(&placement, &out);
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
