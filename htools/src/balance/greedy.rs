//! The reference's balancer: always the one move that makes the score least.
//!
//! Stuck as soon as no single move makes it better. Kept because its plans are what people know; see the
//! planner for better ones. Source: Ganeti's reference on htools, hbal.

use super::lazy::{Kept, Tops};
use super::menu::Menu;
use super::parallel::pieces;
use super::trial::attempt;
use super::{Options, Scope, Step};
use crate::model::{InstanceIdx, NodeIdx};
use crate::moves::{Kind, Move};
use crate::score::{Scorer, unavoidable};
use crate::state::{Outcome, Placement, Seat};

/// Scores closer than this are compared as the reference computes them.
const CLOSE: f64 = 1e-9;

/// With fewer nodes to look at than this, one thread is faster than several.
const SMALL: usize = 20_000;

/// With more nodes than this, one of several equal moves is as good as another.
const MANY: usize = 128;

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
    /// Looks at what may have changed only.
    lazy: bool,
    kept: Kept,
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
            lazy: false,
            kept: Kept::default(),
        }
    }

    /// Much faster with many nodes, and nearly always the same.
    pub fn lazy(mut self) -> Greedy {
        self.lazy = true;
        self
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

    /// As many processors as are worth it for so many moves to look at.
    fn workers(&self, moves: usize) -> usize {
        if moves < SMALL { 1 } else { self.options.workers() }
    }

    /// The best move, if one makes the score less.
    fn best(&self) -> Option<Candidate> {
        let workers = self.workers(self.movable.len() * self.targets.len());
        let close =
            pieces(workers, &self.movable, |piece| self.closest(piece)).into_iter().flatten();
        self.decide(close.collect())
    }

    /// The best of moves that are about equal, compared as the reference computes scores.
    fn decide(&self, close: Vec<Candidate>) -> Option<Candidate> {
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

    /// The best move, or nearly, see [`lazy`](super::lazy). If what is known offers none, everything is looked at.
    fn next_best(&mut self) -> Option<Candidate> {
        if !self.lazy {
            return self.best();
        }
        let best = self.nearly_best();
        if best.is_some() || self.kept.steps <= 1 {
            return best;
        }
        self.kept = Kept::default();
        self.nearly_best()
    }

    fn nearly_best(&mut self) -> Option<Candidate> {
        let mut kept = std::mem::take(&mut self.kept);
        let whole = kept.is_stale(self.targets.len());
        if whole {
            kept = Kept { tops: vec![Tops::default(); self.movable.len()], ..Kept::default() };
        }
        let looks = if whole { self.targets.len() } else { kept.changed.len() * 2 };
        let positions: Vec<usize> = (0..self.movable.len()).collect();
        let (tops, changed) = (&kept.tops, &kept.changed);
        let look = |at: &usize| match whole {
            true => self.look(self.movable[*at], None, &tops[*at]),
            false => self.look(self.movable[*at], Some(changed), &tops[*at]),
        };
        let workers = self.workers(self.movable.len() * looks);
        let looked =
            pieces(workers, &positions, |piece| piece.iter().map(look).collect::<Vec<_>>());
        kept.tops = looked.into_iter().flatten().collect();
        kept.steps += 1;
        kept.changed.clear();
        let least = kept.tops.iter().map(Tops::least).fold(f64::INFINITY, f64::min);
        let ties = |(instance, tops): (&InstanceIdx, &Tops)| {
            (tops.least() <= least + CLOSE).then_some(*instance)
        };
        let mut first: Vec<InstanceIdx> =
            self.movable.iter().zip(&kept.tops).filter_map(ties).collect();
        self.kept = kept;
        if self.targets.len() > MANY {
            // Comparing them all would take longer than finding them did.
            first.truncate(1);
        }
        let mut close = self.closest(&first);
        if self.targets.len() > MANY {
            close.truncate(1);
        }
        self.decide(close)
    }

    /// The best moves of one instance, if it is known what they were before these nodes changed.
    fn look(&self, instance: InstanceIdx, changed: Option<&Vec<NodeIdx>>, tops: &Tops) -> Tops {
        let working = self.placement.begin(instance);
        let (mut found, mut out) = (Tops::default(), Outcome::default());
        let disk = self.placement.instance(instance).disk;
        let mut each = |kind: Kind| {
            let affordable = !kind.copies() || disk <= self.copy_left;
            if affordable && attempt(&self.placement, &working, kind, &self.options, &mut out) {
                found.add(self.scorer.after(&self.placement, &out), kind);
            }
        };
        let Seat { primary, secondary } = Seat::of(&self.placement, instance);
        let on = |node: &NodeIdx| *node == primary || Some(*node) == secondary;
        match changed {
            Some(changed) if !changed.iter().any(on) => {
                let menu = Menu::of(&self.placement, &self.options, instance);
                menu.failover().into_iter().for_each(&mut each);
                let targets = changed.iter().filter(|node| self.targets.contains(node));
                targets.for_each(|node| menu.to(*node).for_each(&mut each));
                tops.kinds(changed).for_each(&mut each);
            }
            _ => self.kinds(instance, each),
        }
        found
    }

    /// The moves of some instances that are as good as the best of them, in order.
    fn closest(&self, movable: &[InstanceIdx]) -> Vec<Candidate> {
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
                if !attempt(&self.placement, &working, kind, &self.options, &mut outcome) {
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
        if self.made >= self.options.max_moves || self.score <= self.floor + self.options.enough {
            return None;
        }
        let best = self.next_best()?;
        let gain = self.score - best.score;
        if self.score <= self.options.min_gain_limit && gain < self.options.min_gain {
            return None;
        }
        let step = Step::new(&self.placement, best.what, &best.outcome, best.score);
        self.kept.changed.extend(best.outcome.changed().iter().map(|changed| changed.node));
        self.placement.apply(best.what.instance, &best.outcome);
        self.scorer.recompute(&self.placement);
        self.score = step.score;
        self.made += 1;
        self.copy_left = self.copy_left.saturating_sub(step.copied);
        Some(step)
    }
}
