//! The reference's balancer: always the one move that makes the score least.
//!
//! Stuck as soon as no single move makes it better. Kept because its plans are what people know; see the
//! planner for better ones. Source: Ganeti's reference on htools, hbal.

use super::menu::Menu;
use super::{Options, Scope, Step};
use crate::model::{InstanceIdx, NodeIdx};
use crate::moves::{Kind, Move};
use crate::score::{Scorer, unavoidable};
use crate::state::{Outcome, Placement, Seat};
use std::thread::ScopedJoinHandle;

/// Scores closer than this are compared as the reference computes them.
const CLOSE: f64 = 1e-9;

/// With fewer candidates than this, one thread is faster than several.
const SMALL: usize = 20_000;

/// A move that may be the best.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    score: f64,
    what: Move,
    outcome: Outcome,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Greedy {
    placement: Placement,
    scorer: Scorer,
    score: f64,
    options: Options,
    movable: Vec<InstanceIdx>,
    targets: Vec<NodeIdx>,
    floor: f64,
    made: usize,
    /// MiB that may still be copied.
    copy_left: i64,
}

impl Greedy {
    /// Balances what is in scope.
    pub fn new(placement: Placement, scope: &Scope, options: Options) -> Greedy {
        let scorer = Scorer::new(&placement, scope.nodes.clone());
        let score = scorer.exact(&placement).total;
        let cluster = placement.cluster();
        let online = |node: &NodeIdx| !cluster.nodes[node.at()].offline;
        let targets = scorer.nodes().iter().copied().filter(online).collect();
        let floor = unavoidable(&placement, scorer.nodes());
        let copy_left = options.max_copy.unwrap_or(i64::MAX);
        Greedy {
            movable: scope.movable.clone(),
            placement,
            scorer,
            score,
            options,
            targets,
            floor,
            made: 0,
            copy_left,
        }
    }

    /// The placement after the moves so far.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The placement after all moves.
    pub fn into_placement(self) -> Placement {
        self.placement
    }

    /// What even the best placement scores.
    pub fn floor(&self) -> f64 {
        self.floor
    }

    /// The score after the moves so far.
    pub fn score(&self) -> f64 {
        self.score
    }

    /// What may be done with an instance, in the order in which ties are decided.
    fn kinds(&self, instance: InstanceIdx, mut each: impl FnMut(Kind)) {
        let menu = Menu::of(&self.placement, &self.options, instance);
        let Seat { primary, secondary } = Seat::of(&self.placement, instance);
        menu.failover().into_iter().for_each(&mut each);
        for &node in &self.targets {
            if node != primary && Some(node) != secondary {
                menu.to(node).for_each(&mut each);
            }
        }
    }

    /// The best move, if one makes the score less.
    fn best(&self) -> Option<Candidate> {
        let workers = self.options.workers();
        let piece = self.movable.len().div_ceil(workers).max(1);
        // One that is small is done before a thread has begun.
        let close: Vec<Candidate> = if self.movable.len() * self.targets.len() < SMALL {
            self.scan(&self.movable)
        } else {
            std::thread::scope(|scope| {
                let pieces = self.movable.chunks(piece);
                let scans: Vec<_> = pieces.map(|piece| scope.spawn(|| self.scan(piece))).collect();
                let join = |scan: ScopedJoinHandle<'_, Vec<Candidate>>| match scan.join() {
                    Ok(found) => found,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                scans.into_iter().flat_map(join).collect()
            })
        };
        let least = close.iter().map(|found| found.score).fold(f64::INFINITY, f64::min);
        let mut best: Option<Candidate> = None;
        for Candidate { what, outcome, .. } in
            close.into_iter().filter(|found| found.score <= least + CLOSE)
        {
            let score = self.scorer.exact_after(&self.placement, &outcome).total;
            if score < best.map_or(self.score, |best| best.score) {
                best = Some(Candidate { score, what, outcome });
            }
        }
        best
    }

    /// The moves of some instances that are as good as the best of them, in order.
    fn scan(&self, movable: &[InstanceIdx]) -> Vec<Candidate> {
        let force = self.options.ignore_soft_errors;
        let mut least = self.scorer.now();
        let mut close: Vec<Candidate> = vec![];
        let mut outcome = Outcome::default();
        for &instance in movable {
            let working = self.placement.begin(instance);
            let disk = self.placement.instance(instance).disk;
            self.kinds(instance, |kind| {
                if kind.copies() && disk > self.copy_left {
                    return;
                }
                if kind.attempt(&working, force, &mut outcome).is_err() {
                    return;
                }
                let score = self.scorer.after(&self.placement, &outcome);
                if score <= least + CLOSE {
                    if score < least {
                        least = score;
                        close.retain(|other| other.score <= least + CLOSE);
                    }
                    close.push(Candidate { score, what: Move { instance, kind }, outcome });
                }
            });
        }
        close
    }
}

impl Iterator for Greedy {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let options = &self.options;
        if self.made >= options.max_moves || self.score <= self.floor + options.enough {
            return None;
        }
        let best = self.best()?;
        let gain = self.score - best.score;
        if self.score <= options.min_gain_limit && gain < options.min_gain {
            return None;
        }
        let step = Step::new(&self.placement, best.what, &best.outcome, best.score);
        self.placement.apply(best.what.instance, &best.outcome);
        self.scorer.recompute(&self.placement);
        self.score = step.score;
        self.made += 1;
        self.copy_left -= step.copied;
        Some(step)
    }
}
