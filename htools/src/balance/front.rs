//! What can be had for how many moves and how much copying: plans of which none is better than another in
//! everything.
//! Source: V. Pareto's notion of efficiency; the list is found by planning with several limits.

use super::{Options, Plan, Scope, plan_while};
use crate::state::Placement;

/// Limits on moves grow by this factor.
const FINER: f64 = 1.6;
/// Shares of what the whole plan copies.
const SHARES: [f64; 4] = [0.0, 0.125, 0.25, 0.5];
/// Two plans differ if their scores do by this share of what there is to win.
const DIFFERENT: f64 = 0.005;

/// Plans, the one with fewest moves first: more moves or more copying buy a better score. The first has no
/// moves.
pub fn front(
    start: &Placement,
    scope: &Scope,
    options: &Options,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Vec<Plan> {
    let whole = plan_while(start, scope, options, go_on);
    let (most, copied) = (whole.steps.len(), whole.copied());
    let quick = |max_moves: usize, max_copy: Option<i64>| {
        let limited =
            Options { max_moves, max_copy, effort: options.effort / 8, ..options.clone() };
        plan_while(start, scope, &limited, &|| false)
    };
    let mut plans = vec![];
    let mut limit = 1.0_f64;
    while (limit as usize) < most {
        plans.push(quick(limit as usize, options.max_copy));
        limit = (limit * FINER).ceil();
    }
    if copied > 0 {
        let less = SHARES.map(|share| quick(most, Some((copied as f64 * share) as i64)));
        plans.extend(less);
    }
    plans.push(whole);
    best_of(start, options, &plans)
}

/// What one can stop at: a plan and how many of its steps.
#[derive(Clone, Copy, Debug)]
struct Stop {
    plan: usize,
    moves: usize,
    copied: i64,
    score: f64,
}

impl Stop {
    /// Whether nothing speaks for the other.
    fn beats(&self, other: &Stop) -> bool {
        self.moves <= other.moves && self.copied <= other.copied && self.score <= other.score
    }
}

fn best_of(start: &Placement, options: &Options, plans: &[Plan]) -> Vec<Plan> {
    let mut stops: Vec<Stop> = vec![];
    for (plan, Plan { initial, steps, .. }) in plans.iter().enumerate() {
        let (mut copied, mut score) = (0, *initial);
        for moves in 0..=steps.len() {
            if let Some(step) = moves.checked_sub(1).and_then(|at| steps.get(at)) {
                copied += step.copied;
                score = step.score;
            }
            stops.push(Stop { plan, moves, copied, score });
        }
    }
    stops.sort_by(|one, other| {
        let by_cost = (one.moves, one.copied).cmp(&(other.moves, other.copied));
        by_cost.then(one.score.total_cmp(&other.score))
    });
    let least = stops.iter().map(|stop| stop.score).fold(f64::INFINITY, f64::min);
    let step = stops.first().map_or(0.0, |first| (first.score - least) * DIFFERENT);
    let mut front: Vec<Stop> = vec![];
    for stop in stops {
        // Less copying counts even if the score is hardly better.
        let dull = |other: &Stop| {
            let same = other.copied <= stop.copied && other.score <= stop.score + step;
            other.beats(&stop) || (same && stop.score > least)
        };
        if !front.iter().any(dull) {
            front.push(stop);
        }
    }
    front.iter().map(|stop| plans[stop.plan].cut(start, options, stop.moves)).collect()
}
