//! The best move without looking at all of them after each step.
//!
//! A move changes three nodes. What another move wins changes much only if it touches one of those; so of every
//! instance the best moves are kept, and looked at again after a step together with those to the changed nodes.
//! Instances on changed nodes are looked at whole. From time to time everything is, because the rest changes a
//! little, too: this is nearly, and not always, what looking at everything would find.

use crate::model::NodeIdx;
use crate::moves::Kind;

/// So many moves of each instance are kept.
const KEPT: usize = 12;

/// With so few nodes, everything is looked at often: then it is the same in practice.
const FEW: usize = 64;

/// The best moves of one instance, best first, with the score after them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tops([Option<(f64, Kind)>; KEPT]);

impl Tops {
    /// One more; those that are too many fall out.
    pub fn add(&mut self, score: f64, kind: Kind) {
        let better = |kept: &Option<(f64, Kind)>| kept.is_none_or(|(other, _)| score < other);
        if let Some(at) = self.0.iter().position(better) {
            self.0[at..].rotate_right(1);
            self.0[at] = Some((score, kind));
        }
    }

    /// The score after the best.
    pub fn least(&self) -> f64 {
        self.0[0].map_or(f64::INFINITY, |(score, _)| score)
    }

    /// All of them, but those to nodes that are looked at anyway.
    pub fn kinds(&self, but: &[NodeIdx]) -> impl Iterator<Item = Kind> {
        let other = |kind: &Kind| kind.target().is_some_and(|node| !but.contains(&node));
        self.0.into_iter().flatten().map(|(_, kind)| kind).filter(other)
    }
}

/// What is known of all instances.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// By position among the movable ones; empty: nothing is known yet.
    pub tops: Vec<Tops>,
    /// Nodes that changed since.
    pub changed: Vec<NodeIdx>,
    /// Steps since everything was looked at.
    pub steps: usize,
}

impl Kept {
    /// Whether it is time to look at everything.
    pub fn is_stale(&self, nodes: usize) -> bool {
        let patience = if nodes <= FEW { 3 } else { nodes / 8 };
        self.tops.is_empty() || self.steps > patience
    }
}
