//! What a leader knows of the copies, and when a change counts. Pure.
//!
//! ```text
//!                     a majority holds it
//!   written here ────────────────────────────► counts: visible, acknowledged
//!        │
//!        └─ no majority: waits ── voters return
//!                              ── the operator says they are down (excluded)
//!                              ── of two, one has been away long enough, and a majority of the
//!                                 nodes has noted it (alone)
//! ```
//!
//! A change of an earlier leadership counts only together with the first of this one (the Raft
//! paper, section 5.4.2). Before anything is written, a majority must have been heard lately: a
//! master that slept does not even write.

use super::voters::Voters;
use roost_proto::ids::{Epoch, NodeId, Serial};
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds of a clock that only runs forward, also while the process is stopped.
pub type Millis = u64;

/// A copy counts as there if it was heard within this time.
pub const LEASE: Millis = 3_000;

/// A leadership. See the module.
#[derive(Clone, Debug)]
pub struct Leader {
    me: NodeId,
    epoch: Epoch,
    /// The last serial that is durable here.
    written: Serial,
    /// The first serial of this leadership.
    first: Serial,
    /// The last serial that counts.
    counts: Serial,
    voters: Voters,
    copies: BTreeMap<NodeId, Copy>,
    /// Down by the operator's word.
    excluded: BTreeSet<NodeId>,
    /// The one of two that is away, noted by a majority of the nodes.
    alone_without: Option<NodeId>,
    /// Were away while changes counted without them, and have not been level since.
    lacks: BTreeSet<NodeId>,
    /// The serial that gave the voters their say.
    voters_since: Serial,
    alone_after: Millis,
    began: Millis,
    /// Its own copy has promised a newer epoch: nothing counts any more.
    deposed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Copy {
    /// Holds everything up to here.
    holds: Serial,
    heard: Option<Millis>,
}

/// How safe changes are at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Safety {
    /// There is one voter.
    Single,
    /// A majority holds every change that counts.
    Replicated,
    /// The other of two is away: changes are held here only.
    Alone { without: NodeId },
    /// No majority: changes wait.
    Waiting,
}

impl Leader {
    /// Begins to lead with a log that ends at `written`, all of it from earlier leaderships.
    pub fn new(
        me: NodeId,
        epoch: Epoch,
        written: Serial,
        voters: Voters,
        alone_after: Millis,
        now: Millis,
    ) -> Leader {
        Leader {
            me,
            epoch,
            written,
            first: Serial(written.0 + 1),
            counts: Serial(0),
            voters,
            copies: BTreeMap::new(),
            excluded: BTreeSet::new(),
            alone_without: None,
            lacks: BTreeSet::new(),
            voters_since: written,
            alone_after,
            began: now,
            deposed: false,
        }
    }

    /// In earlier leaderships changes counted without these, as nodes have noted.
    pub fn while_lacking(mut self, nodes: BTreeSet<NodeId>) -> Leader {
        self.lacks = nodes;
        self.lacks.remove(&self.me);
        self
    }

    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last serial that counts.
    pub fn counts(&self) -> Serial {
        self.counts
    }

    /// Who has a say.
    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    /// The last serial written here.
    pub fn written(&self) -> Serial {
        self.written
    }

    /// Something was made durable here. Returns what counts now.
    pub fn wrote(&mut self, upto: Serial, voters: Voters) -> Serial {
        self.written = upto;
        if voters != self.voters {
            self.voters_since = upto;
        }
        self.voters = voters;
        // Of two others than before, the one that was away is not one any more.
        self.alone_without =
            self.alone_without.filter(|without| self.other_of_two() == Some(*without));
        self.count()
    }

    /// A copy answered: it holds everything up to `holds`. Returns what counts now.
    pub fn heard(&mut self, node: NodeId, holds: Serial, now: Millis) -> Serial {
        let copy = self.copies.entry(node).or_default();
        copy.heard = Some(now);
        copy.holds = holds;
        if holds >= self.written && self.alone_without == Some(node) {
            // From here on both hold everything again.
            self.alone_without = None;
        }
        if holds >= self.counts {
            self.excluded.remove(&node);
        }
        // Without the one it is alone without, more may count the next moment.
        let level = holds >= self.first && holds >= self.counts;
        if level && self.alone_without != Some(node) {
            self.lacks.remove(&node);
        }
        self.count()
    }

    /// Its own copy is about to promise `epoch`: from here on nothing more counts, because the one
    /// who is elected with that promise knows only what this copy holds now.
    pub fn promised(&mut self, epoch: Epoch) {
        self.deposed |= epoch > self.epoch;
    }

    /// The operator says that a voter is down. Refused for one that is there. Returns what counts.
    pub fn exclude(&mut self, node: NodeId, now: Millis) -> Option<Serial> {
        if node == self.me || self.is_near(node, now) {
            return None;
        }
        self.excluded.insert(node);
        Some(self.count())
    }

    /// Who is down by the operator's word.
    pub fn excluded(&self) -> &BTreeSet<NodeId> {
        &self.excluded
    }

    /// The operator's word is taken back: it was not put into the configuration.
    pub fn include(&mut self, node: NodeId) {
        self.excluded.remove(&node);
    }

    /// With two voters and the other away for long enough: who that is, to be noted by the nodes
    /// before [`Leader::go_alone`].
    pub fn may_go_alone(&self, now: Millis) -> Option<NodeId> {
        let other = self.other_of_two()?;
        let since = self.copies.get(&other).and_then(|c| c.heard).unwrap_or(self.began);
        let long = now.saturating_sub(since) >= self.alone_after;
        (long && self.alone_without.is_none()).then_some(other)
    }

    /// A majority of the nodes has noted it: changes count without `other`.
    pub fn go_alone(&mut self, other: NodeId, now: Millis) -> Serial {
        if self.may_go_alone(now) == Some(other) {
            self.alone_without = Some(other);
            self.lacks.insert(other);
        }
        self.count()
    }

    /// Changes count without this one.
    pub fn is_alone_without(&self) -> Option<NodeId> {
        self.alone_without
    }

    /// Whom nodes should note as lacking something; `None`: what they have noted stays. Before it
    /// goes alone, that includes the one that is away. It is taken back when what counts is with a
    /// majority of the voters, nobody left out, and the one that was away has everything: it may
    /// believe to be one of two, although others have joined. A single voter takes nothing back: it
    /// may not have asked anybody whom it once went alone without.
    pub fn should_note(&self, now: Millis) -> Option<BTreeSet<NodeId>> {
        let away = self.may_go_alone(now);
        let replicated = self.alone_without.is_none()
            && self.excluded.is_disjoint(&self.voters.all())
            && self.counts >= self.first
            && self.voters.all().len() > 1;
        let lacks = self.lacks.iter().copied().chain(away).collect();
        (away.is_some() || self.alone_without.is_some() || replicated).then_some(lacks)
    }

    /// Whether the set of voters counts itself: who is not in it has no say any more.
    pub fn voters_count(&self) -> bool {
        self.counts >= self.voters_since
    }

    /// Whether to write at all: a majority was heard lately, so nobody else leads (or will learn
    /// of it from that majority).
    pub fn may_write(&self, now: Millis) -> bool {
        let near = |node| node == self.me || self.is_near(node, now);
        !self.deposed && self.voters.majority(&self.not_counted(), near)
    }

    /// How safe changes are.
    pub fn safety(&self, now: Millis) -> Safety {
        if let Some(without) = self.alone_without {
            return Safety::Alone { without };
        }
        if !self.may_write(now) {
            return Safety::Waiting;
        }
        match self.voters.newest().len() {
            1 => Safety::Single,
            _ => Safety::Replicated,
        }
    }

    /// All other voters: what they hold, and how long they have not been heard; `None` since
    /// this leadership began.
    pub fn copies(&self, now: Millis) -> Vec<(NodeId, Serial, Option<Millis>)> {
        let others = self.voters.all().into_iter().filter(|node| *node != self.me);
        others
            .map(|node| {
                let copy = self.copies.get(&node).copied().unwrap_or_default();
                (node, copy.holds, copy.heard.map(|heard| now.saturating_sub(heard)))
            })
            .collect()
    }

    fn is_near(&self, node: NodeId, now: Millis) -> bool {
        let heard = self.copies.get(&node).and_then(|copy| copy.heard);
        heard.is_some_and(|heard| now.saturating_sub(heard) < LEASE)
    }

    /// The other voter of a set of two.
    fn other_of_two(&self) -> Option<NodeId> {
        self.voters.sets().iter().find_map(|set| {
            let set: Vec<_> = set.difference(&self.excluded).collect();
            match set[..] {
                [a, b] if *a == self.me => Some(*b),
                [a, b] if *b == self.me => Some(*a),
                _ => None,
            }
        })
    }

    fn not_counted(&self) -> BTreeSet<NodeId> {
        self.excluded.iter().copied().chain(self.alone_without).collect()
    }

    fn count(&mut self) -> Serial {
        let held = |node| match node == self.me {
            true => self.written,
            false => self.copies.get(&node).map_or(Serial(0), |copy| copy.holds),
        };
        let held = self.voters.held_by_majority(&self.not_counted(), held);
        if held >= self.first && held > self.counts && !self.deposed {
            self.counts = held;
        }
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId(uuid::Uuid::from_u128(n.into()))
    }

    fn voters(nodes: &[u8]) -> Voters {
        Voters::one(nodes.iter().map(|n| node(*n)).collect())
    }

    fn leader(nodes: &[u8]) -> Leader {
        Leader::new(node(1), Epoch(2), Serial(10), voters(nodes), 10_000, 0)
    }

    #[test]
    fn a_change_counts_when_a_majority_holds_it() {
        let mut leader = leader(&[1, 2, 3]);
        assert_eq!(leader.heard(node(2), Serial(10), 1), Serial(0), "an earlier leader's");
        assert_eq!(leader.wrote(Serial(12), voters(&[1, 2, 3])), Serial(0));
        assert_eq!(leader.heard(node(3), Serial(11), 2), Serial(11));
        assert_eq!(leader.heard(node(2), Serial(12), 3), Serial(12));
        assert_eq!(leader.safety(4), Safety::Replicated);
        assert_eq!(leader.safety(5_000), Safety::Waiting);
        assert!(!leader.may_write(5_000), "a master that slept writes nothing");
    }

    #[test]
    fn the_operator_may_say_that_voters_are_down() {
        let mut leader = leader(&[1, 2, 3]);
        leader.heard(node(2), Serial(10), 100);
        leader.wrote(Serial(11), voters(&[1, 2, 3]));
        assert_eq!(leader.exclude(node(2), 200), None, "it was heard just now");
        assert_eq!(leader.exclude(node(3), 200), Some(Serial(0)), "both are still needed");
        assert_eq!(leader.exclude(node(2), 5_000), Some(Serial(11)));
        assert_eq!(leader.safety(5_000), Safety::Replicated);
        leader.heard(node(2), Serial(10), 6_000);
        assert_eq!(leader.wrote(Serial(12), voters(&[1, 2, 3])), Serial(12), "it lacks a change");
        leader.heard(node(2), Serial(12), 6_001);
        assert_eq!(leader.wrote(Serial(13), voters(&[1, 2, 3])), Serial(12), "it is back");
    }

    #[test]
    fn of_two_one_goes_on_alone_after_a_while() {
        let mut leader = leader(&[1, 2]);
        leader.heard(node(2), Serial(10), 100);
        assert_eq!(leader.wrote(Serial(11), voters(&[1, 2])), Serial(0));
        assert_eq!(leader.may_go_alone(9_000), None);
        assert_eq!(leader.go_alone(node(2), 9_000), Serial(0), "too early");
        assert_eq!(leader.may_go_alone(10_100), Some(node(2)));
        assert_eq!(leader.go_alone(node(2), 10_100), Serial(11));
        assert_eq!(leader.safety(10_101), Safety::Alone { without: node(2) });
        assert_eq!(leader.wrote(Serial(12), voters(&[1, 2])), Serial(12));
        leader.heard(node(2), Serial(11), 11_000);
        assert_eq!(leader.wrote(Serial(13), voters(&[1, 2])), Serial(13), "not level yet");
        leader.heard(node(2), Serial(13), 11_001);
        assert_eq!(leader.safety(11_002), Safety::Replicated);
        assert_eq!(leader.wrote(Serial(14), voters(&[1, 2])), Serial(13), "both again");
    }

    #[test]
    fn nothing_counts_after_a_newer_epoch_is_promised() {
        let mut leader = leader(&[1, 2, 3]);
        assert_eq!(leader.wrote(Serial(11), voters(&[1, 2, 3])), Serial(0));
        leader.promised(Epoch(2));
        assert_eq!(leader.heard(node(2), Serial(11), 1), Serial(11), "its own epoch");
        leader.wrote(Serial(12), voters(&[1, 2, 3]));
        leader.promised(Epoch(3));
        assert_eq!(leader.heard(node(2), Serial(12), 2), Serial(11));
        assert!(!leader.may_write(2));
    }

    #[test]
    fn a_note_stays_until_both_have_everything() {
        let mut leader = leader(&[1, 2]);
        leader.heard(node(2), Serial(4), 100);
        leader.wrote(Serial(11), voters(&[1, 2]));
        assert_eq!(leader.should_note(150), None, "what an earlier leadership wrote is not there");
        leader.heard(node(2), Serial(11), 200);
        assert_eq!(leader.should_note(201), Some([].into()));
        leader.exclude(node(2), 9_000).expect("it is down");
        leader.wrote(Serial(12), voters(&[1, 2]));
        assert_eq!(leader.should_note(9_001), None, "left out");
        let mut single = Leader::new(node(1), Epoch(2), Serial(10), voters(&[1]), 10_000, 0);
        single.wrote(Serial(11), voters(&[1]));
        assert_eq!(single.should_note(1), None, "the former other one may come back");
    }

    #[test]
    fn a_note_stays_until_the_one_that_was_away_is_level() {
        let mut leader = leader(&[1, 2]);
        assert_eq!(leader.should_note(20_000), Some([node(2)].into()));
        leader.go_alone(node(2), 20_000);
        let joint = voters(&[1, 2]).changed_to([1, 2, 3].map(node).into()).expect("a change");
        leader.wrote(Serial(11), joint.clone());
        assert!(!leader.voters_count());
        leader.heard(node(3), Serial(11), 20_001);
        assert!(leader.voters_count());
        leader.wrote(Serial(12), joint.settled().expect("a change"));
        assert_eq!(leader.heard(node(3), Serial(12), 20_002), Serial(12));
        assert_eq!(leader.is_alone_without(), None);
        let still = leader.should_note(20_003);
        assert_eq!(still, Some([node(2)].into()), "2 still believes to be one of two");
        leader.heard(node(2), Serial(12), 20_003);
        assert_eq!(leader.should_note(20_004), Some([].into()));
    }

    #[test]
    fn who_is_left_alone_lacks_what_counts_next() {
        let mut leader = leader(&[1, 2]);
        leader.wrote(Serial(11), voters(&[1, 2]));
        leader.heard(node(2), Serial(11), 100);
        let joint = voters(&[1, 2]).changed_to([1, 2, 3].map(node).into()).expect("a change");
        leader.wrote(Serial(12), joint);
        assert_eq!(leader.go_alone(node(2), 20_000), Serial(11), "3 does not hold it yet");
        leader.heard(node(2), Serial(11), 20_001);
        assert_eq!(leader.heard(node(3), Serial(12), 20_002), Serial(12), "without 2");
        assert_eq!(leader.should_note(20_003), Some([node(2)].into()));
    }

    #[test]
    fn of_three_nobody_goes_on_alone() {
        let mut leader = leader(&[1, 2, 3]);
        assert_eq!(leader.may_go_alone(1_000_000), None);
        leader.wrote(Serial(11), voters(&[1, 2, 3]));
        assert_eq!(leader.safety(1_000_000), Safety::Waiting);
    }

    #[test]
    fn a_third_voter_ends_being_alone() {
        let mut leader = leader(&[1, 2]);
        leader.go_alone(node(2), 20_000);
        let three = voters(&[1, 2]).changed_to([1, 2, 3].map(node).into()).expect("a change");
        assert_eq!(leader.wrote(Serial(11), three.clone()), Serial(0), "the third must hold it");
        assert_eq!(leader.heard(node(3), Serial(11), 20_001), Serial(11));
        let settled = three.settled().expect("a change");
        assert_eq!(leader.wrote(Serial(12), settled), Serial(11));
        assert_eq!(leader.is_alone_without(), None);
        assert_eq!(leader.heard(node(3), Serial(12), 20_002), Serial(12), "two of three");
    }

    #[test]
    fn another_second_voter_ends_being_alone() {
        let mut leader = leader(&[1, 2]);
        leader.go_alone(node(2), 20_000);
        let joint = voters(&[1, 2]).changed_to([1, 3].map(node).into()).expect("a change");
        leader.wrote(Serial(11), joint.clone());
        assert_eq!(leader.is_alone_without(), Some(node(2)));
        assert_eq!(leader.heard(node(3), Serial(11), 20_001), Serial(11));
        leader.wrote(Serial(12), joint.settled().expect("a change"));
        assert_eq!(leader.is_alone_without(), None, "2 has no say any more");
        assert_eq!(leader.may_go_alone(40_000), Some(node(3)));
    }

    #[test]
    fn one_voter_needs_nobody() {
        let mut leader = leader(&[1]);
        assert_eq!(leader.wrote(Serial(11), voters(&[1])), Serial(11));
        assert_eq!(leader.safety(1_000_000), Safety::Single);
    }
}
