//! The planner: better than one move after the other.
//!
//! ```text
//!   greedy ──────────────────────► a plan to beat, with so many moves
//!      │ its end
//!      ▼
//!   walks (several, hot and cool) ─► who is where in the end ─► order ─► a plan, each step legal
//!      │ for as many moves                                        └─ greedy again with what is left
//!      ▼
//!   the best of all; from its end on again, as long as moves are worth it
//! ```

mod beam;
mod order;
mod walk;

use super::parallel::pieces;
use super::{Greedy, Options, Plan, Scope, Step, walked};
use crate::model::{InstanceIdx, NodeIdx};
use crate::moves::Kind;
use crate::score::Scorer;
use crate::state::{Placement, Seat};
use beam::beam;
use order::order;
use walk::{Course, Walk};

/// The heats that walks begin with: the hot ones leave what is bad, the cool ones mend what is good already.
const HEATS: [f64; 6] = [0.005, 0.1, 0.01, 0.3, 0.01, 1.0];
/// The heats of further walks, from the best that those have found.
const AGAIN: [f64; 2] = [0.01, 0.03];
/// The heat at which all end, and at which a plan that could not be put into an order is mended.
const COOL: f64 = 0.002;
const LUKEWARM: f64 = 0.01;
/// Placements weighed by one walk for each instance and move, and at least.
const ROUNDS_EACH: usize = 64;
const ROUNDS: usize = 20_000;
/// So often a plan that could not be put into an order is mended.
const MENDINGS: usize = 4;
/// Legs after the first one, which has as many moves as greedy.
const LEGS: usize = 3;
/// A gain smaller than this is rounding.
const NOTHING: f64 = 1e-9;
/// A move after those has to win this share of the score.
const WORTH: f64 = 0.002;

/// Plans moves. `go_on` is asked after everything was tried once: as long as it says so, more is tried.
pub fn search(
    start: &Placement,
    scope: &Scope,
    options: &Options,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Plan {
    let careful = Options { keep_redundancy: true, ..options.clone() };
    let plan = improve(start, scope, &careful, go_on);
    let flees = scope.nodes.iter().any(|node| {
        let state = start.node(*node);
        start.cluster().nodes[node.at()].offline && state.primaries + state.secondaries > 0
    });
    if !flees || options.keep_redundancy {
        return plan;
    }
    // What leaves a dead node may take the memory kept for the loss of another, if there is no other way.
    let theirs = walked(Greedy::new(start.clone(), scope, options.clone()).lazy());
    if theirs.score() < plan.score() - NOTHING { theirs } else { plan }
}

fn improve(
    start: &Placement,
    scope: &Scope,
    options: &Options,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Plan {
    let mut plan = walked(Greedy::new(start.clone(), scope, options.clone()).lazy());
    let most = plan.steps.len();
    let enough = |plan: &Plan| plan.score() <= plan.floor + options.enough;
    if most > 0 && !enough(&plan) {
        let hint = ends(start, &plan.steps);
        if let Some(steps) = Leg::new(start, scope, options, most).best(&hint, 0, go_on)
            && last(&steps).is_some_and(|score| score < plan.score())
        {
            plan = Plan { steps, ..plan };
            plan.replay(start, options);
        }
    }
    // Greedy was stuck, and not only out of moves.
    for leg in 1..=LEGS {
        let left = options.max_moves - plan.steps.len();
        let most = (plan.steps.len() / 2).clamp(8, scope.movable.len().max(8)).min(left);
        if most == 0 || enough(&plan) {
            break;
        }
        let rest = Options {
            max_copy: options.max_copy.map(|most| (most - plan.copied()).max(0)),
            ..options.clone()
        };
        let from = plan.placement.clone();
        // The time there is was used already, if there was something to do.
        let once: &(dyn Fn() -> bool + Sync) = &|| false;
        let go_on = if plan.steps.is_empty() { go_on } else { once };
        let found = Leg::new(&from, scope, &rest, most).best(&[], leg, go_on);
        let worth = found.map(|steps| worthwhile(plan.score(), steps, options)).unwrap_or_default();
        if worth.is_empty() {
            break;
        }
        plan.steps.extend(worth);
        plan.replay(start, options);
    }
    plan
}

fn last(steps: &[Step]) -> Option<f64> {
    steps.last().map(|step| step.score)
}

/// The beginning of a leg that is worth its moves most; nothing if none is.
fn worthwhile(score: f64, mut steps: Vec<Step>, options: &Options) -> Vec<Step> {
    let price = if score <= options.min_gain_limit { options.min_gain } else { WORTH * score };
    let (mut most, mut length, mut spent) = (0.0, 0, 0.0);
    for (at, step) in steps.iter().enumerate() {
        spent += price + options.weigh_copy * step.copied as f64 / 1024.0;
        let gain = score - step.score - spent;
        if gain > most {
            (most, length) = (gain, at + 1);
        }
    }
    steps.truncate(length);
    steps
}

/// Where steps lead each instance, as one move from its home if it can be.
fn ends(start: &Placement, steps: &[Step]) -> Vec<(InstanceIdx, Kind)> {
    let mut ends: Vec<(InstanceIdx, Seat)> = vec![];
    for step in steps {
        match ends.iter_mut().find(|(instance, _)| *instance == step.what.instance) {
            Some(end) => end.1 = step.to,
            None => ends.push((step.what.instance, step.to)),
        }
    }
    let kind = |(instance, seat): (InstanceIdx, Seat)| {
        Some((instance, Kind::between(Seat::of(start, instance), seat)?))
    };
    ends.into_iter().filter_map(kind).collect()
}

/// Steps, and what they come to: the score with the price of copying.
#[derive(Clone, Debug)]
struct Found {
    cost: f64,
    steps: Vec<Step>,
}

/// Some moves from one placement to a better one.
struct Leg<'a> {
    start: &'a Placement,
    scope: &'a Scope,
    options: &'a Options,
    scorer: Scorer,
    targets: Vec<NodeIdx>,
    /// Moves.
    most: usize,
}

impl<'a> Leg<'a> {
    fn new(start: &'a Placement, scope: &'a Scope, options: &'a Options, most: usize) -> Leg<'a> {
        let online = |node: &NodeIdx| !start.cluster().nodes[node.at()].offline;
        let scorer = Scorer::new(start, scope.nodes.clone());
        let targets = scope.nodes.iter().copied().filter(online).collect();
        Leg { start, scope, options, scorer, targets, most }
    }

    /// The best steps found, if any were. Walks begin with `hint`.
    fn best(
        &self,
        hint: &[(InstanceIdx, Kind)],
        leg: usize,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Option<Vec<Step>> {
        if self.targets.is_empty() {
            return None;
        }
        let size = self.most.saturating_mul(self.scope.movable.len()).saturating_mul(ROUNDS_EACH);
        let rounds = size.max(ROUNDS).min(self.options.effort / (leg + 1));
        let mut seed = 0;
        let mut courses = |heats: &[f64]| -> Vec<Course> {
            let course = |heat: &f64| {
                seed += 1;
                Course { seed, rounds, heat: (*heat, COOL) }
            };
            heats.iter().map(course).collect()
        };
        let (movable, targets) = (&self.scope.movable, &self.targets);
        let mut best = beam(self.start, &self.scorer, movable, targets, self.most, self.options);
        loop {
            // What was found before has had its greatest errors mended: it needs no hot walks.
            let first = if leg == 0 { &HEATS[..] } else { &AGAIN[..] };
            let found = self.together(hint, &courses(first));
            best =
                found.into_iter().chain(best).min_by(|one, other| one.cost.total_cmp(&other.cost));
            if let Some(found) = &best {
                let again = self.together(&ends(self.start, &found.steps), &courses(&AGAIN));
                let all = again.into_iter().chain(best);
                best = all.min_by(|one, other| one.cost.total_cmp(&other.cost));
            }
            if !go_on() {
                return best.map(|found| found.steps);
            }
        }
    }

    /// Several walks, on all processors.
    fn together(&self, hint: &[(InstanceIdx, Kind)], courses: &[Course]) -> Vec<Found> {
        let walk = |piece: &[Course]| -> Vec<Found> {
            piece.iter().filter_map(|course| self.walk(hint, *course)).collect()
        };
        pieces(self.options.workers(), courses, walk).into_iter().flatten().collect()
    }

    /// One walk, put into an order, mended until all of it can be.
    fn walk(&self, hint: &[(InstanceIdx, Kind)], course: Course) -> Option<Found> {
        let Leg { start, scope, options, .. } = self;
        let (movable, targets) = (&scope.movable, &self.targets);
        let mut walk = Walk::new(start, self.scorer.clone(), movable, targets, self.most, options);
        walk.begin_with(hint);
        walk.go(course);
        let mut best: Option<Found> = None;
        for _ in 0..=MENDINGS {
            let away = walk.best().seats.clone();
            let ordered = order(start, &self.scorer, &away, options);
            let stuck = ordered.left;
            let (steps, _) = self.polish(ordered.steps, ordered.placement);
            let copied: i64 = steps.iter().map(|step| step.copied).sum();
            let cost = last(&steps)? + options.weigh_copy * copied as f64 / 1024.0;
            if best.as_ref().is_none_or(|best| cost < best.cost) {
                best = Some(Found { cost, steps: steps.clone() });
            }
            if stuck.is_empty() {
                break;
            }
            walk.bar(&stuck);
            walk.begin_with(&ends(start, &steps));
            walk.go(Course { rounds: course.rounds / 8, heat: (LUKEWARM, COOL), ..course });
        }
        best
    }

    /// Goes on as greedy does, with the moves that are left.
    fn polish(&self, mut steps: Vec<Step>, placement: Placement) -> (Vec<Step>, Placement) {
        let copied: i64 = steps.iter().map(|step| step.copied).sum();
        let rest = Options {
            max_moves: self.most - steps.len(),
            max_copy: self.options.max_copy.map(|most| (most - copied).max(0)),
            ..self.options.clone()
        };
        let mut greedy = Greedy::new(placement, self.scope, rest).lazy();
        steps.extend(greedy.by_ref());
        (steps, greedy.into_placement())
    }
}
