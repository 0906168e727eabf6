//! Clusters so small that all placements can be tried: what the best one scores, and how far plans end from it.
//!
//! ```text
//!   4 nodes, 6 instances ─► all legal placements ─► the best one ─ the plan gets there ─► no gap
//!                                                       └─ it does not: is there a way of legal moves at all?
//! ```

use super::figure;
use super::htools::{cluster, place, plan};
use crate::generate_cluster::Shape;
use anyhow::Result;
use roost_htools::balance;
use roost_htools::model::{Cluster, GroupIdx, InstanceIdx, NodeIdx};
use roost_htools::moves::Kind;
use roost_htools::score::{Score, Scorer};
use roost_htools::state::{Outcome, Placement, Seat};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Scores that differ less are the same.
const NOTHING: f64 = 1e-9;

/// A small cluster.
#[derive(Clone, Debug)]
pub struct Tiny {
    pub start: Placement,
    /// The score of the best of all legal placements.
    best: f64,
}

/// Prints how far plans end from the best placement that legal moves lead to.
pub fn gaps(count: usize) -> Result<()> {
    let (mut gaps, mut cut_off) = (vec![], 0);
    for tiny in clusters().take(count) {
        let (plan, _) = plan(&tiny.start, &balance::Options::default())?;
        let best = tiny.reachable(plan.score());
        cut_off += u8::from(best > tiny.best + NOTHING);
        gaps.push((plan.score() / best - 1.0) * 100.0);
    }
    let worst = gaps.iter().copied().fold(0.0, f64::max);
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    figure("gap to the best placement, 4 nodes, 6 instances, mean", mean, "%");
    figure("gap to the best placement, 4 nodes, 6 instances, worst", worst, "%");
    let name = format!("tiny clusters whose best placement no legal moves reach, of {count}");
    figure(&name, f64::from(cut_off), "clusters");
    Ok(())
}

/// Clusters of 4 nodes and 6 mirrored instances in which every node can fail.
pub fn clusters() -> impl Iterator<Item = Tiny> {
    (1..).filter_map(|seed| {
        let start = place(cluster(&Shape::new(4, 6, seed)).ok()?);
        let sound = (0..4).all(|node| !start.node(NodeIdx(node)).n1_fails);
        let best = optimum(start.cluster()).filter(|_| sound)?;
        Some(Tiny { start, best })
    })
}

impl Tiny {
    /// The score of the best placement that legal moves lead to. `found`: one that they do lead to.
    pub fn reachable(&self, found: f64) -> f64 {
        if found <= self.best + NOTHING {
            return found;
        }
        let mut least = found;
        for score in Reach::new(self.start.clone()) {
            least = least.min(score);
            if least <= self.best + NOTHING {
                break;
            }
        }
        least
    }
}

/// All placements that legal moves lead to, the best of those known first. Yields their scores.
struct Reach {
    placement: Placement,
    scorer: Scorer,
    nodes: Vec<NodeIdx>,
    seen: HashSet<u64>,
    /// Scores are never negative: their bits are in their order.
    next: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Reach {
    fn new(placement: Placement) -> Reach {
        let nodes: Vec<NodeIdx> = placement.cluster().nodes_of(GroupIdx(0)).collect();
        let scorer = Scorer::new(&placement, nodes.clone());
        let mut reach =
            Reach { placement, scorer, nodes, seen: HashSet::new(), next: BinaryHeap::new() };
        let here = reach.instances().fold(0, |key, at| {
            let Seat { primary, secondary } = Seat::of(&reach.placement, at);
            put(key, at, primary, secondary)
        });
        reach.seen.insert(here);
        reach.next.push(Reverse((reach.scorer.now().to_bits(), here)));
        reach
    }

    fn instances(&self) -> impl Iterator<Item = InstanceIdx> + use<> {
        (0..self.placement.cluster().instances.len()).map(InstanceIdx::of)
    }

    /// Makes the placement that a number stands for.
    fn make(&mut self, key: u64) {
        let mut out = Outcome::default();
        for at in self.instances() {
            let seat = seat(key, at);
            if Seat::of(&self.placement, at) != seat {
                self.placement.begin(at).settle(seat.primary, seat.secondary, &mut out);
                self.placement.apply(at, &out);
            }
        }
        self.scorer.recompute(&self.placement);
    }
}

impl Iterator for Reach {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let Reverse((score, key)) = self.next.pop()?;
        self.make(key);
        let mut out = Outcome::default();
        for at in self.instances() {
            let working = self.placement.begin(at);
            let home = Seat::of(&self.placement, at);
            let others = self
                .nodes
                .iter()
                .copied()
                .filter(|node| *node != home.primary && Some(*node) != home.secondary);
            let to = |node| {
                [
                    Kind::ReplacePrimary(node),
                    Kind::ReplaceSecondary(node),
                    Kind::ReplaceAndFailover(node),
                    Kind::FailoverAndReplace(node),
                ]
            };
            for kind in std::iter::once(Kind::Failover).chain(others.flat_map(to)) {
                let fails = |out: &Outcome| out.changed().iter().any(|node| node.state.n1_fails);
                if kind.attempt(&working, false, &mut out).is_err() || fails(&out) {
                    continue;
                }
                let there = put(key, at, out.primary, out.secondary);
                if self.seen.insert(there) {
                    let score = self.scorer.after(&self.placement, &out);
                    self.next.push(Reverse((score.to_bits(), there)));
                }
            }
        }
        Some(f64::from_bits(score))
    }
}

/// Four bits for each instance: primary and secondary.
fn put(key: u64, at: InstanceIdx, primary: NodeIdx, secondary: Option<NodeIdx>) -> u64 {
    let secondary = secondary.unwrap_or(primary);
    let bits = u64::from(primary.0) << 2 | u64::from(secondary.0);
    key & !(15 << (4 * at.at())) | bits << (4 * at.at())
}

fn seat(key: u64, at: InstanceIdx) -> Seat {
    let bits = (key >> (4 * at.at())) as u32 & 15;
    Seat { primary: NodeIdx(bits >> 2), secondary: Some(NodeIdx(bits & 3)) }
}

/// The score of the best of all legal placements of a small cluster of mirrored instances, if there is any.
fn optimum(cluster: &Cluster) -> Option<f64> {
    let mut empty = cluster.clone();
    for instance in &mut empty.instances {
        let nodes = [Some(instance.primary), instance.secondary];
        if instance.uses_memory() {
            empty.nodes[instance.primary.at()].free_memory += instance.memory;
        }
        for node in nodes.into_iter().flatten().filter(|_| instance.template.uses_lvm()) {
            empty.nodes[node.at()].free_disk += instance.disk;
        }
        (instance.primary, instance.secondary) = (NodeIdx::NONE, None);
    }
    let nodes: Vec<NodeIdx> = empty.nodes_of(GroupIdx(0)).collect();
    let placement = place(empty);
    let scorer = Scorer::new(&placement, nodes);
    let mut best: Option<(f64, Placement)> = None;
    descend(&placement, &scorer, 0, &mut best);
    best.map(|(_, placement)| Score::of(&placement, scorer.nodes()).total)
}

/// Tries all places of the instances from this one on. What is legal at the end was legal at every step:
/// instances only take room.
fn descend(placement: &Placement, scorer: &Scorer, at: usize, best: &mut Option<(f64, Placement)>) {
    let index = InstanceIdx::of(at);
    let last = at + 1 == placement.cluster().instances.len();
    let working = placement.begin(index);
    let mut outcome = Outcome::default();
    for &primary in scorer.nodes() {
        for &secondary in scorer.nodes().iter().filter(|node| **node != primary) {
            let force = (false, false);
            if working.place(primary, Some(secondary), force, &mut outcome).is_err() {
                continue;
            }
            let after = scorer.after(placement, &outcome);
            if last && best.as_ref().is_some_and(|(least, _)| after >= *least) {
                continue;
            }
            let mut next = placement.clone();
            next.apply(index, &outcome);
            if last {
                *best = Some((after, next));
                continue;
            }
            let mut scores = scorer.clone();
            scores.apply(placement, &outcome);
            descend(&next, &scores, at + 1, best);
        }
    }
}
