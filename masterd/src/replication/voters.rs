//! Who must hold a change before it counts.
//!
//! ```text
//!   {A B C} ── a commit changes the candidates ──► {A B C}+{A B D} ── that commit counts ──► {A B D}
//! ```
//!
//! A set of voters never jumps: while a change of the set is under way a majority of the old *and*
//! of the new set is needed, for changes and for elections alike, so two masters never find
//! disjoint majorities (the joint consensus of the Raft paper, section 6). The sets are a document
//! in the log itself: whoever holds the log knows who may decide about it.

use crate::config::Config;
use crate::store::{Key, Space};
use roost_proto::ids::{NodeId, Serial};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One set of voters, or the older and the newer ones during a change. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<BTreeSet<NodeId>>", into = "Vec<BTreeSet<NodeId>>")]
pub struct Voters(Vec<BTreeSet<NodeId>>);

impl TryFrom<Vec<BTreeSet<NodeId>>> for Voters {
    type Error = &'static str;

    /// Of no voters everybody would be a majority.
    fn try_from(sets: Vec<BTreeSet<NodeId>>) -> Result<Voters, Self::Error> {
        match sets.is_empty() || sets.iter().any(BTreeSet::is_empty) {
            true => Err("a set of voters is empty"),
            false => Ok(Voters(sets)),
        }
    }
}

impl From<Voters> for Vec<BTreeSet<NodeId>> {
    fn from(voters: Voters) -> Self {
        voters.0
    }
}

impl Voters {
    /// The document that says who votes.
    pub fn key() -> Key {
        Key::new(Space::Meta, "voters")
    }

    /// One set.
    pub fn one(set: BTreeSet<NodeId>) -> Voters {
        Voters(vec![set])
    }

    /// The set a configuration asks for: master candidates that are not marked offline, and the
    /// master.
    pub fn wanted(config: &Config) -> BTreeSet<NodeId> {
        let candidates = config.nodes.values().filter(|n| n.master_candidate && !n.offline);
        candidates.map(|n| n.uuid).chain([config.master()]).collect()
    }

    /// With the set that is wanted now; `None` if nothing changes.
    pub fn changed_to(&self, wanted: BTreeSet<NodeId>) -> Option<Voters> {
        if *self.newest() == wanted {
            return None;
        }
        let mut sets = self.0.clone();
        sets.push(wanted);
        Some(Voters(sets))
    }

    /// After the change has counted: only the newest set. `None` if there is only one.
    pub fn settled(&self) -> Option<Voters> {
        (self.0.len() > 1).then(|| Voters::one(self.newest().clone()))
    }

    /// As [`Voters::settled`], once everything up to `counts` counts of a log that ends at `written`:
    /// until these sets count themselves, the older ones keep their say. Of what an earlier
    /// leadership left, a new leader knows that only when its own first change counts.
    pub fn settled_by(&self, written: Serial, counts: Serial) -> Option<Voters> {
        self.settled().filter(|_| counts >= written)
    }

    /// The older sets first.
    pub fn sets(&self) -> &[BTreeSet<NodeId>] {
        &self.0
    }

    /// The set that will be the only one.
    pub fn newest(&self) -> &BTreeSet<NodeId> {
        self.0.last().expect("it is never made empty")
    }

    /// Everybody in any set.
    pub fn all(&self) -> BTreeSet<NodeId> {
        self.0.iter().flatten().copied().collect()
    }

    /// A majority of every set, each without `excluded`, answers yes.
    pub fn majority(&self, excluded: &BTreeSet<NodeId>, yes: impl Fn(NodeId) -> bool) -> bool {
        self.0.iter().all(|set| {
            let (mut of, mut for_it) = (0, 0);
            for node in set.difference(excluded) {
                of += 1;
                for_it += usize::from(yes(*node));
            }
            for_it > of / 2
        })
    }

    /// The largest serial that a majority of every set, each without `excluded`, holds.
    pub fn held_by_majority(
        &self,
        excluded: &BTreeSet<NodeId>,
        held: impl Fn(NodeId) -> Serial,
    ) -> Serial {
        let of_set = |set: &BTreeSet<NodeId>| {
            let mut all: Vec<Serial> = set.difference(excluded).map(|n| held(*n)).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        self.0.iter().map(of_set).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(n: u8) -> NodeId {
        NodeId(uuid::Uuid::from_u128(n.into()))
    }

    fn set(nodes: &[u8]) -> BTreeSet<NodeId> {
        nodes.iter().map(|n| node(*n)).collect()
    }

    #[test]
    fn a_majority_is_needed_of_both_sets_during_a_change() {
        let none = BTreeSet::new();
        let old = Voters::one(set(&[1, 2, 3]));
        let joint = old.changed_to(set(&[1, 4, 5])).expect("a change");
        let yes = |who: &'static [u8]| move |n: NodeId| who.iter().any(|w| node(*w) == n);
        assert!(old.majority(&none, yes(&[1, 2])));
        assert!(!old.majority(&none, yes(&[1, 4, 5])));
        assert!(!joint.majority(&none, yes(&[1, 4, 5])), "the old set has no majority");
        assert!(!joint.majority(&none, yes(&[1, 2, 3])), "the new set has no majority");
        assert!(joint.majority(&none, yes(&[1, 2, 4])));
        assert_eq!(joint.settled(), Some(Voters::one(set(&[1, 4, 5]))));
        assert_eq!(joint.settled_by(Serial(5), Serial(4)), None, "it does not count yet");
        assert_eq!(joint.settled_by(Serial(5), Serial(5)), joint.settled());
        assert_eq!(old.settled(), None);
        assert_eq!(old.changed_to(set(&[3, 2, 1])), None);
    }

    #[test]
    fn a_document_without_voters_is_refused() {
        for text in ["[]", "[[]]", "{}"] {
            serde_json::from_str::<Voters>(text).expect_err(text);
        }
        let joint = Voters::one(set(&[1, 2])).changed_to(set(&[2])).expect("a change");
        let text = serde_json::to_string(&joint).expect("plain data");
        assert_eq!(serde_json::from_str::<Voters>(&text).expect("the same"), joint);
    }

    #[test]
    fn excluded_voters_do_not_count() {
        let voters = Voters::one(set(&[1, 2, 3]));
        assert!(voters.majority(&set(&[2, 3]), |n| n == node(1)));
        assert!(!voters.majority(&set(&[3]), |n| n == node(1)));
        let held = |n: NodeId| Serial(if n == node(1) { 9 } else { 4 });
        assert_eq!(voters.held_by_majority(&BTreeSet::new(), held), Serial(4));
        assert_eq!(voters.held_by_majority(&set(&[2, 3]), held), Serial(9));
        assert_eq!(voters.held_by_majority(&set(&[3]), held), Serial(4));
    }

    proptest! {
        /// What is said of a serial agrees with what is said of a majority.
        #[test]
        fn held_serials_are_held_by_a_majority(
            held in proptest::collection::vec(0u64..5, 6),
            old in proptest::collection::btree_set(0u8..6, 1..6),
            new in proptest::collection::btree_set(0u8..6, 1..6),
        ) {
            let old = Voters::one(old.into_iter().map(node).collect());
            let new = new.into_iter().map(node).collect();
            let voters = old.changed_to(new).unwrap_or(old);
            let none = BTreeSet::new();
            let of = |n: NodeId| Serial(held[n.0.as_u128() as usize]);
            let serial = voters.held_by_majority(&none, of);
            prop_assert!(voters.majority(&none, |n| of(n) >= serial));
            prop_assert!(!voters.majority(&none, |n| of(n) > serial));
        }
    }
}
