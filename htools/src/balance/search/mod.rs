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

mod order;
mod walk;

use super::{Greedy, Options, Plan, Scope, Step, greedy};
use crate::model::{InstanceIdx, NodeIdx};
use crate::moves::Kind;
use crate::score::Scorer;
use crate::state::Placement;
use walk::{Away, Course, Walk};

/// Plans moves.
pub fn search(start: &Placement, scope: &Scope, options: &Options) -> Plan {
    let base = greedy(start, scope, options);
    if base.steps.is_empty() {
        return base;
    }
    let found = leg(start, scope, options, &base, base.steps.len());
    if found.score() < base.score() { found } else { base }
}

fn leg(start: &Placement, scope: &Scope, options: &Options, base: &Plan, most: usize) -> Plan {
    let scorer = Scorer::new(start, scope.nodes.clone());
    let online = |node: &NodeIdx| !start.cluster().nodes[node.at()].offline;
    let targets: Vec<NodeIdx> = scope.nodes.iter().copied().filter(online).collect();
    let mut best = Away { seats: vec![], cost: f64::INFINITY };
    let rounds = std::env::var("ROUNDS").map_or(2_000_000, |r| r.parse().unwrap_or(1));
    for heat in std::env::var("HEAT").unwrap_or("0.02,0.2".into()).split(',') {
        let heat: f64 = heat.parse().unwrap_or(0.1);
        let mut walk = Walk::new(start, scorer.clone(), &scope.movable, &targets, most, options);
        walk.begin_with(&ends(start, &base.steps));
        let t = std::time::Instant::now();
        walk.go(Course { seed: 1, rounds, heat: (heat, 0.002) });
        eprintln!("heat {heat}: {} away {} {:?}", walk.best().cost, walk.best().seats.len(), t.elapsed());
        if walk.best().cost < best.cost {
            best = walk.best().clone();
        }
    }
    let ordered = order::order(start, &scorer, &best.seats, options.ignore_soft_errors);
    eprintln!("ordered {} left {} {:?}", ordered.steps.len(), ordered.left.len(), ordered.steps.last().map(|s| s.score));
    let mut steps: Vec<Step> = ordered.steps;
    let rest = Options { max_moves: most - steps.len(), ..options.clone() };
    let mut more = Greedy::new(ordered.placement, scope, rest);
    steps.extend(more.by_ref());
    eprintln!("polished {} {:?}", steps.len(), steps.last().map(|s| s.score));
    Plan { initial: base.initial, floor: base.floor, steps, placement: more.into_placement() }
}

/// Where greedy's steps lead each instance, as one move from its home if that is one.
fn ends(_start: &Placement, steps: &[Step]) -> Vec<(InstanceIdx, Kind)> {
    let mut ends: Vec<(InstanceIdx, Kind)> = vec![];
    for step in steps {
        match ends.iter_mut().find(|(instance, _)| *instance == step.what.instance) {
            Some(end) => end.1 = step.what.kind,
            None => ends.push((step.what.instance, step.what.kind)),
        }
    }
    ends
}
