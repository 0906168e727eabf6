//! Sequences of moves, many at once: for clusters so small that the best few of all continuations can be kept.
//!
//! ```text
//!   depth 0        1            2
//!   start ──► the best W ──► the best W of what one more move makes of those ──► …
//! ```
//!
//! Placements that are worse than where they came from are kept too, if they are among the best: so it finds
//! detours that a walk over ends, and an order of moves found afterwards, do not.
//! Source: Lowerre, "The Harpy Speech Recognition System" (1976), where such a search was first described.

use super::super::menu::Menu;
use super::super::trial::attempt;
use super::super::{Options, Step};
use super::Found;
use crate::model::{InstanceIdx, NodeIdx};
use crate::moves::Move;
use crate::score::Scorer;
use crate::state::{Outcome, Placement, Seat};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Placements kept at each depth, at most and at least.
const WIDTHS: (usize, usize) = (512, 8);
/// This many moves for each instance at most.
const DEPTH: usize = 3;

/// A sequence of moves.
#[derive(Clone)]
struct State {
    placement: Placement,
    scorer: Scorer,
    steps: Vec<Step>,
    copied: i64,
    /// Of where everything is.
    hash: u64,
}

/// One that may be kept.
struct Candidate {
    cost: f64,
    parent: usize,
    what: Move,
    hash: u64,
}

fn hash(instance: InstanceIdx, seat: Seat) -> u64 {
    let mut hasher = DefaultHasher::new();
    (instance, seat).hash(&mut hasher);
    hasher.finish()
}

/// The best sequence found of at most `most` moves; nothing if the cluster is too large for it.
pub fn beam(
    start: &Placement,
    scorer: &Scorer,
    movable: &[InstanceIdx],
    targets: &[NodeIdx],
    most: usize,
    options: &Options,
) -> Option<Found> {
    let depth = most.min(movable.len() * DEPTH);
    let each = movable.len() * (1 + 4 * targets.len());
    let width = (options.effort / (each * depth).max(1)).min(WIDTHS.0);
    if width < WIDTHS.1 {
        return None;
    }
    let price = |copied: i64| options.weigh_copy * copied as f64 / 1024.0;
    let first = State {
        placement: start.clone(),
        scorer: scorer.clone(),
        steps: vec![],
        copied: 0,
        hash: 0,
    };
    let mut seen = HashSet::from([first.hash]);
    let (mut states, mut best) = (vec![first], None::<Found>);
    let mut out = Outcome::default();
    for _ in 0..depth {
        let mut next: Vec<Candidate> = vec![];
        for (parent, state) in states.iter().enumerate() {
            let placement = &state.placement;
            for &instance in movable {
                let menu = Menu::of(placement, options, instance);
                let seat = Seat::of(placement, instance);
                let others = targets
                    .iter()
                    .filter(|node| **node != seat.primary && Some(**node) != seat.secondary);
                let kinds = menu.failover().into_iter().chain(others.flat_map(|n| menu.to(*n)));
                let working = placement.begin(instance);
                for kind in kinds {
                    let what = Move { instance, kind };
                    let copied = state.copied + Step::copied(placement, what);
                    if options.max_copy.is_some_and(|most| copied > most)
                        || !attempt(placement, &working, kind, options, &mut out)
                    {
                        continue;
                    }
                    let to = Seat { primary: out.primary, secondary: out.secondary };
                    let hash = state.hash ^ hash(instance, seat) ^ hash(instance, to);
                    let cost = state.scorer.after(placement, &out) + price(copied);
                    next.push(Candidate { cost, parent, what, hash });
                }
            }
        }
        next.sort_by(|one, other| one.cost.total_cmp(&other.cost));
        let mut kept = vec![];
        for Candidate { parent, what, hash, cost } in next {
            if kept.len() == width {
                break;
            }
            if !seen.insert(hash) {
                continue;
            }
            let State { placement, scorer, steps, copied, .. } = &states[parent];
            let working = placement.begin(what.instance);
            if !attempt(placement, &working, what.kind, options, &mut out) {
                continue;
            }
            let score = scorer.exact_after(placement, &out).total;
            let step = Step::new(placement, what, &out, score);
            let mut state = State {
                placement: placement.clone(),
                scorer: scorer.clone(),
                steps: steps.clone(),
                copied: copied + step.copied,
                hash,
            };
            state.steps.push(step);
            state.placement.apply(what.instance, &out);
            state.scorer.recompute(&state.placement);
            if best.as_ref().is_none_or(|best| cost < best.cost - super::NOTHING) {
                best = Some(Found { cost, steps: state.steps.clone() });
            }
            kept.push(state);
        }
        if kept.is_empty() {
            break;
        }
        states = kept;
    }
    best
}
