//! Whether somebody may lead: what the others said, added up. Pure.
//!
//! ```text
//!   ask all ──► enough?  best log? ──► all promise the next epoch ──► enough? ──► fetch what lacks ──► lead
//!                 └─► refused: who is missing, what may be lost
//! ```
//!
//! Two groups have a say. *Copies* (masterd on the candidates) hold changes: of every set of voters
//! a majority must promise the new epoch, so whatever counted is with one of them. *Nodes* (noded
//! everywhere) obey: a majority must promise as well, so that the old master can do nothing.
//!
//! Of a set of two, one is enough if a majority of the nodes promises and none of them has a note
//! that the other went on alone: then nothing counted without the one that is here.

use super::voters::Voters;
use crate::store::Position;
use roost_proto::ids::{Epoch, NodeId};
use roost_proto::node::AloneNote;
use std::collections::{BTreeMap, BTreeSet};

/// What a copy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySays {
    /// The highest epoch it has promised.
    pub promised: Epoch,
    /// Where its log ends.
    pub end: Position,
    /// The leader it heard lately.
    pub leader: Option<(Epoch, NodeId)>,
}

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSays {
    /// The highest epoch it has seen.
    pub epoch: Epoch,
    /// The note of a master that goes on alone.
    pub alone: Option<AloneNote>,
}

/// An election, seen by the one who wants to lead.
#[derive(Clone, Debug)]
pub struct Ballot {
    pub me: NodeId,
    pub voters: Voters,
    /// All nodes that are not marked offline.
    pub nodes: BTreeSet<NodeId>,
    /// With this one's own.
    pub copies: BTreeMap<NodeId, CopySays>,
    /// With this one's own.
    pub said: BTreeMap<NodeId, NodeSays>,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Voters without whom there is no majority of the copies; empty if there is one.
    pub copies_missing: Vec<NodeId>,
    /// Nodes without whom there is no majority of the nodes; empty if there is one.
    pub nodes_missing: Vec<NodeId>,
    /// A master that may have accepted changes nobody else holds, and cannot be asked.
    pub may_lose: Option<AloneNote>,
    /// Whose log has most.
    pub best: Option<(Position, NodeId)>,
    /// The epoch to ask for next: higher than any that was heard of.
    pub next: Epoch,
    /// A majority of the nodes answered: nobody else has their promise of the same epoch.
    pub backed: bool,
}

/// The distance between epochs of those who lead without a majority of the nodes.
const STRIDE: u64 = 1_000;

impl Count {
    /// Nothing stands in the way.
    pub fn is_enough(&self) -> bool {
        self.copies_missing.is_empty() && self.nodes_missing.is_empty() && self.may_lose.is_none()
    }

    /// The epoch that `me` asks for. Without a majority of the nodes another one may choose at the
    /// same time, and two masters of one epoch would be told apart by nobody, not even by the logs
    /// they leave: so it is one that others hardly choose.
    pub fn epoch(&self, me: NodeId) -> Epoch {
        if self.backed {
            return self.next;
        }
        let own = u64::try_from(me.0.as_u128() % u128::from(STRIDE)).unwrap_or_default();
        Epoch((self.next.0 / STRIDE + 1) * STRIDE + own)
    }
}

impl Ballot {
    /// Adds up.
    pub fn count(&self) -> Count {
        let nodes_yes = self.nodes.iter().filter(|n| self.said.contains_key(n)).count();
        let nodes_enough = nodes_yes > self.nodes.len() / 2;
        // A single voter has everything there is: it needs nobody's word to go on.
        let single = self.voters.all() == BTreeSet::from([self.me]);
        let note = self.note();
        let yes = |set: &BTreeSet<_>| set.iter().filter(|n| self.copies.contains_key(n)).count();
        let majority = self.voters.sets().iter().all(|set| yes(set) > set.len() / 2);
        // What the master that went alone has, it can still be asked for. Besides, a majority has
        // what counted since there are more than two, and who came after the one that was away was
        // given it; that one itself may know of neither.
        let has_a_say = |node: &NodeId| self.voters.all().contains(node);
        let matters = |n: &&AloneNote| {
            n.without.contains(&self.me) || (!majority && n.without.iter().any(has_a_say))
        };
        let lost = note.filter(|n| n.master != self.me && !self.copies.contains_key(&n.master));
        // A log of a later leadership has it: who was elected then had heard of the note, too.
        let last = self.best().map(|(end, _)| end.epoch).unwrap_or_default();
        let lost = lost.filter(matters).filter(|n| n.epoch >= last);
        let copies_enough = self.voters.sets().iter().all(|set| {
            let of_two = set.len() == 2 && yes(set) == 1 && nodes_enough && lost.is_none();
            yes(set) > set.len() / 2 || of_two
        });
        let absent = |of: &BTreeSet<NodeId>, has: &dyn Fn(&NodeId) -> bool| -> Vec<NodeId> {
            of.iter().filter(|n| !has(n)).copied().collect()
        };
        let copies_missing = match copies_enough && self.copies.contains_key(&self.me) {
            true => vec![],
            false => absent(&self.voters.all(), &|n| self.copies.contains_key(n)),
        };
        let nodes_missing = match nodes_enough || single {
            true => vec![],
            false => absent(&self.nodes, &|n| self.said.contains_key(n)),
        };
        let promised = self.copies.values().map(|c| c.promised.max(c.end.epoch));
        let seen = self.said.values().map(|n| n.epoch);
        Count {
            copies_missing,
            nodes_missing,
            may_lose: lost.cloned(),
            best: self.best(),
            backed: nodes_enough,
            next: Epoch(promised.chain(seen).max().unwrap_or_default().0 + 1),
        }
    }

    /// Somebody else who leads already, as a copy heard lately.
    pub fn other_leader(&self) -> Option<(Epoch, NodeId)> {
        let leaders = self.copies.values().filter_map(|copy| copy.leader);
        leaders.filter(|(_, node)| *node != self.me).max()
    }

    /// The newest note, if it says that a master is alone.
    fn note(&self) -> Option<&AloneNote> {
        let notes = self.said.values().filter_map(|n| n.alone.as_ref());
        notes.max_by_key(|n| (n.epoch, n.round)).filter(|n| n.alone)
    }

    /// Of logs with the same end this one's own is best: nothing is to be fetched.
    fn best(&self) -> Option<(Position, NodeId)> {
        let all = self.copies.iter().map(|(node, copy)| (copy.end, *node == self.me, *node));
        all.max().map(|(end, _, node)| (end, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::ids::Serial;

    fn node(n: u8) -> NodeId {
        NodeId(uuid::Uuid::from_u128(n.into()))
    }

    fn set(nodes: &[u8]) -> BTreeSet<NodeId> {
        nodes.iter().map(|n| node(*n)).collect()
    }

    fn copy(promised: u64, epoch: u64, serial: u64) -> CopySays {
        let end = Position { epoch: Epoch(epoch), serial: Serial(serial) };
        CopySays { promised: Epoch(promised), end, leader: None }
    }

    fn ballot(voters: &[u8], nodes: &[u8]) -> Ballot {
        Ballot {
            me: node(1),
            voters: Voters::one(set(voters)),
            nodes: set(nodes),
            copies: [(node(1), copy(1, 1, 10))].into(),
            said: [(node(1), NodeSays { epoch: Epoch(1), alone: None })].into(),
        }
    }

    fn says(epoch: u64) -> NodeSays {
        NodeSays { epoch: Epoch(epoch), alone: None }
    }

    fn alone(master: u8, round: u64, alone: bool) -> NodeSays {
        let epoch = Epoch(1);
        let without = set(&[3 - master]);
        let note = AloneNote { epoch, round, master: node(master), alone, without, since: 7 };
        NodeSays { epoch: Epoch(1), alone: Some(note) }
    }

    #[test]
    fn of_three_two_are_enough_and_the_best_log_wins() {
        let mut b = ballot(&[1, 2, 3], &[1, 2, 3]);
        let count = b.count();
        assert_eq!(count.copies_missing, [node(2), node(3)]);
        assert_eq!(count.nodes_missing, [node(2), node(3)]);
        b.copies.insert(node(3), copy(4, 1, 12));
        b.said.insert(node(3), says(6));
        let count = b.count();
        assert!(count.is_enough());
        assert_eq!(count.best.expect("a log").1, node(3));
        assert_eq!(count.next, Epoch(7));
    }

    #[test]
    fn a_newer_epoch_beats_a_longer_log() {
        let mut b = ballot(&[1, 2, 3], &[1, 2, 3]);
        b.copies.insert(node(2), copy(2, 2, 9));
        assert_eq!(b.count().best.expect("a log").1, node(2));
        b.copies.insert(node(2), copy(1, 1, 10));
        assert_eq!(b.count().best.expect("a log").1, node(1), "nothing to fetch");
    }

    #[test]
    fn of_two_one_is_enough_unless_the_other_went_on_alone() {
        let mut b = ballot(&[1, 2], &[1, 2, 3]);
        assert!(!b.count().is_enough(), "one node of three");
        b.said.insert(node(3), says(1));
        assert!(b.count().is_enough(), "{:?}", b.count());
        b.said.insert(node(3), alone(2, 1, true));
        assert_eq!(b.count().may_lose.expect("a note").master, node(2));
        assert!(!b.count().copies_missing.is_empty());
        b.said.insert(node(1), alone(2, 2, false));
        assert!(b.count().is_enough(), "the newest note counts");
        b.said.insert(node(1), alone(1, 3, true));
        assert!(b.count().is_enough(), "its own note takes nothing away");
        b.said.insert(node(1), alone(2, 4, true));
        b.copies.insert(node(2), copy(1, 1, 30));
        assert!(b.count().is_enough(), "the one that was alone is here");
        assert_eq!(b.count().best.expect("a log").1, node(2));
    }

    #[test]
    fn a_note_about_another_does_not_stop_a_majority() {
        let mut b = ballot(&[1, 2, 3], &[1, 2, 3]);
        b.me = node(3);
        b.copies.insert(node(3), copy(1, 1, 12));
        b.said.insert(node(3), alone(2, 1, true));
        assert!(b.count().is_enough(), "of three, two have what counted");
        b.me = node(1);
        assert_eq!(b.count().may_lose.expect("a note").master, node(2), "it was away then");
        let mut b = ballot(&[1, 2], &[1, 2, 3]);
        let mut other = alone(2, 1, true);
        other.alone.as_mut().expect("a note").without = set(&[3]);
        b.said.insert(node(3), other);
        assert!(b.count().is_enough(), "it came after 3, which has no say any more");
    }

    #[test]
    fn of_two_machines_one_is_never_enough() {
        let b = ballot(&[1, 2], &[1, 2]);
        assert_eq!(b.count().nodes_missing, [node(2)]);
    }

    #[test]
    fn a_single_voter_needs_nobody() {
        assert!(ballot(&[1], &[1, 2, 3, 4]).count().is_enough());
    }

    #[test]
    fn both_sets_have_a_say_during_a_change() {
        let mut b = ballot(&[1, 2, 3], &[1]);
        b.voters = b.voters.changed_to(set(&[1, 4, 5])).expect("a change");
        b.copies.insert(node(2), copy(1, 1, 10));
        assert!(!b.count().is_enough());
        b.copies.insert(node(5), copy(1, 1, 10));
        assert!(b.count().is_enough());
    }

    #[test]
    fn without_the_nodes_everybody_has_epochs_of_his_own() {
        let mut b = ballot(&[1, 2], &[1, 2, 3]);
        assert_eq!(b.count().epoch(node(1)), Epoch(1_001));
        assert_eq!(b.count().epoch(node(2)), Epoch(1_002));
        b.copies.insert(node(1), copy(1_001, 1, 10));
        assert_eq!(b.count().epoch(node(1)), Epoch(2_001), "it has promised that already");
        b.said.insert(node(3), says(1));
        assert_eq!(b.count().epoch(node(1)), Epoch(1_002), "the next one");
    }

    #[test]
    fn a_note_older_than_the_log_is_settled() {
        let mut b = ballot(&[1], &[1, 2, 3]);
        b.said.insert(node(3), alone(2, 1, true));
        assert!(b.count().may_lose.is_some());
        b.copies.insert(node(1), copy(2, 2, 11));
        assert_eq!(b.count().may_lose, None, "the leader of epoch 2 had to deal with it");
    }

    #[test]
    fn a_living_leader_is_known() {
        let mut b = ballot(&[1, 2, 3], &[1, 2, 3]);
        let heard = |epoch, who| CopySays {
            leader: Some((Epoch(epoch), node(who))),
            ..copy(epoch, epoch, 10)
        };
        b.copies.insert(node(2), heard(1, 1));
        assert_eq!(b.other_leader(), None, "itself, before it was started again");
        b.copies.insert(node(3), heard(2, 3));
        assert_eq!(b.other_leader(), Some((Epoch(2), node(3))));
    }
}
