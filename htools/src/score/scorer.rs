//! The score after a move, from sums kept of all nodes.
//!
//! Of each spread S = Σ(x − c) and Q = Σ(x − c)² are kept, c being about its mean, so that little is lost to
//! rounding; its variance is Q/n − (S/n)².

use super::{SPREADS, Score, Spread, Term, amounts, counts, is_disk, ratio, wholes};
use crate::model::{Cluster, Instance, Node, NodeIdx};
use crate::rules::Ruling;
use crate::state::{Limits, NodeState, Outcome, Placement};

const ROWS: usize = SPREADS.len();

/// Positions in [`SPREADS`]: first those that always say something of their own, then those that mostly repeat
/// another: all loads but the disk's are the same where nothing is known of them, and what is only reserved
/// changes nothing where nothing is.
const ORDER: [usize; ROWS] = [0, 1, 2, 3, 4, 6, 8, 9, 5, 7, 10, 11, 12];
/// Which of the first each of the others repeats, by its position in `ORDER`.
const REPEATED: [usize; ROWS - OWN] = [4, 4, 1, 3, 6];
/// How many say something of their own.
const OWN: usize = 8;

/// Values in the order of [`ORDER`].
type Rows = [f64; ROWS];

#[inline]
fn ordered(values: Spread) -> Rows {
    let mut rows = [0.0; ROWS];
    for (row, at) in rows.iter_mut().zip(ORDER) {
        *row = values[at];
    }
    rows
}

/// What one node adds.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Around the centre.
    spread: Rows,
    counted: f64,
    online: bool,
    /// Whether the node is looked at at all.
    inside: bool,
}

/// How a node's amounts become what it adds: times `factor`, plus `offset`.
#[derive(Clone, Copy, Debug)]
struct Scale {
    factor: Rows,
    offset: Rows,
}

impl Scale {
    fn of(node: &Node, limits: &Limits) -> Scale {
        let (mut factor, mut offset) = ([0.0; ROWS], [0.0; ROWS]);
        for (row, (whole, then)) in wholes(node, limits).into_iter().enumerate() {
            match whole {
                0.0 if is_disk(row) && !node.exclusive_storage => offset[row] = 1.0,
                _ => factor[row] = ratio(ratio(1.0, whole), then),
            }
        }
        Scale { factor: ordered(factor), offset: ordered(offset) }
    }
}

/// Whether nothing is known of the instances' loads but by the disk's, and none is only reserved.
fn repeats(cluster: &Cluster) -> bool {
    let alike = |instance: &Instance| {
        let load = &instance.utilisation;
        !instance.forthcoming && load.cpu == load.memory && load.cpu == load.net
    };
    cluster.own_cpu_load.iter().all(|load| *load == 0.0) && cluster.instances.iter().all(alike)
}

/// Weights with those of repeated rows where they are repeated from.
fn gathered(mut weights: Rows) -> Rows {
    for (at, repeated) in REPEATED.into_iter().enumerate() {
        weights[repeated] += weights[OWN + at];
        weights[OWN + at] = 0.0;
    }
    weights
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Scorer {
    nodes: Vec<NodeIdx>,
    /// Of every node of the cluster.
    scales: Vec<Scale>,
    /// Of every node of the cluster.
    shares: Vec<Share>,
    sum: Rows,
    squares: Rows,
    weights: Rows,
    /// Whether the rows that mostly repeat others do so: then they are counted with those.
    repeats: bool,
    online: f64,
    counted: f64,
    conflicts: f64,
}

impl Scorer {
    /// For the nodes named.
    pub fn new(placement: &Placement, nodes: Vec<NodeIdx>) -> Scorer {
        let (repeats, weights) =
            (repeats(placement.cluster()), ORDER.map(|at| SPREADS[at].weight()));
        let weights = if repeats { gathered(weights) } else { weights };
        let outside = Share { spread: [0.0; ROWS], counted: 0.0, online: false, inside: false };
        let mut scorer = Scorer {
            scales: placement
                .cluster()
                .nodes
                .iter()
                .enumerate()
                .map(|(at, node)| Scale::of(node, placement.limits(NodeIdx::of(at))))
                .collect(),
            shares: vec![outside; placement.cluster().nodes.len()],
            nodes,
            sum: [0.0; ROWS],
            squares: [0.0; ROWS],
            weights,
            repeats,
            online: 0.0,
            counted: 0.0,
            conflicts: 0.0,
        };
        scorer.recompute(placement);
        scorer
    }

    /// The nodes that count.
    pub fn nodes(&self) -> &[NodeIdx] {
        &self.nodes
    }

    fn share(&self, placement: &Placement, node: NodeIdx, state: &NodeState) -> Share {
        let given = &placement.cluster().nodes[node.at()];
        let (mut values, scale) = (ordered(amounts(given, state)), &self.scales[node.at()]);
        for (value, (factor, offset)) in
            values.iter_mut().zip(scale.factor.iter().zip(&scale.offset))
        {
            *value = *value * factor + offset;
        }
        let counted = counts(given, state).weighted();
        Share { spread: values, counted, online: !given.offline, inside: true }
    }

    /// Takes everything from the placement again: nothing of rounding stays.
    pub fn recompute(&mut self, placement: &Placement) {
        for pass in 0..2 {
            (self.sum, self.squares) = ([0.0; ROWS], [0.0; ROWS]);
            (self.online, self.counted) = (0.0, 0.0);
            for at in 0..self.nodes.len() {
                let node = self.nodes[at];
                let share = self.share(placement, node, placement.node(node));
                self.counted += share.counted;
                if share.online {
                    self.online += 1.0;
                    for row in 0..ROWS {
                        self.sum[row] += share.spread[row];
                        self.squares[row] += share.spread[row] * share.spread[row];
                    }
                }
                self.shares[node.at()] = share;
            }
            if pass == 0 && self.online > 0.0 {
                // Little is lost to rounding when all values are around 0.
                for row in 0..ROWS {
                    let mean = self.sum[row] / self.online;
                    self.scales.iter_mut().for_each(|scale| scale.offset[row] -= mean);
                }
            }
        }
        self.conflicts = placement.location_conflicts() as f64;
        self.counted += Ruling::score(placement.ruling().penalty());
    }

    /// The score now.
    pub fn now(&self) -> f64 {
        self.total::<ROWS>(&self.sum, &self.squares, self.counted, self.conflicts)
    }

    /// The score after a move.
    pub fn after(&self, placement: &Placement, outcome: &Outcome) -> f64 {
        match self.repeats {
            true => self.after_rows::<OWN>(placement, outcome),
            false => self.after_rows::<ROWS>(placement, outcome),
        }
    }

    /// Looking at the first `N` rows.
    #[inline]
    fn after_rows<const N: usize>(&self, placement: &Placement, outcome: &Outcome) -> f64 {
        let (mut sum, mut squares, mut counted) = (self.sum, self.squares, self.counted);
        for changed in outcome.changed() {
            let old = &self.shares[changed.node.at()];
            if !old.inside {
                continue;
            }
            let node = &placement.cluster().nodes[changed.node.at()];
            counted += counts(node, &changed.state).weighted() - old.counted;
            if old.online {
                let values = ordered(amounts(node, &changed.state));
                let scale = &self.scales[changed.node.at()];
                for row in 0..N {
                    let is = values[row] * scale.factor[row] + scale.offset[row];
                    let was = old.spread[row];
                    sum[row] += is - was;
                    squares[row] += is * is - was * was;
                }
            }
        }
        counted += Ruling::score(outcome.rules);
        let conflicts = self.conflicts + outcome.location_conflicts as f64;
        self.total::<N>(&sum, &squares, counted, conflicts)
    }

    #[inline]
    fn total<const N: usize>(
        &self,
        sum: &Rows,
        squares: &Rows,
        counted: f64,
        conflicts: f64,
    ) -> f64 {
        if self.online == 0.0 {
            return 0.0;
        }
        let each = 1.0 / self.online;
        let mut total = counted + Term::LocationExclusion.weight() * conflicts;
        let mut deviations = [0.0; N];
        for row in 0..N {
            let mean = sum[row] * each;
            deviations[row] = (squares[row] * each - mean * mean).max(0.0).sqrt();
        }
        for (weight, deviation) in self.weights.iter().zip(deviations) {
            total += weight * deviation;
        }
        total
    }

    /// The move happens. Rounding adds up: [`Scorer::recompute`] from time to time.
    pub fn apply(&mut self, placement: &Placement, outcome: &Outcome) {
        for changed in outcome.changed() {
            let old = self.shares[changed.node.at()];
            if !old.inside {
                continue;
            }
            let new = self.share(placement, changed.node, &changed.state);
            self.counted += new.counted - old.counted;
            if new.online {
                for row in 0..ROWS {
                    let (is, was) = (new.spread[row], old.spread[row]);
                    self.sum[row] += is - was;
                    self.squares[row] += is * is - was * was;
                }
            }
            self.shares[changed.node.at()] = new;
        }
        self.counted += Ruling::score(outcome.rules);
        self.conflicts += outcome.location_conflicts as f64;
    }

    /// The score as the reference computes it.
    pub fn exact(&self, placement: &Placement) -> Score {
        Score::of(placement, &self.nodes)
    }

    /// The score after a move as the reference computes it.
    pub fn exact_after(&self, placement: &Placement, outcome: &Outcome) -> Score {
        Score::after(placement, &self.nodes, outcome)
    }
}
