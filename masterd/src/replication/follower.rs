//! What a copy of the log may take, and whom it obeys. Pure.
//!
//! ```text
//!            promise E (E higher than any before)                  append from the leader of E
//!   follows ───────────────────────────────────► obeys only E ───────────────────────────────► longer log
//!   no log  ── a whole copy from the leader ──► follows
//! ```
//!
//! Two rules keep acknowledged changes safe. A copy that has promised an epoch takes nothing from
//! an older one. A copy without a log, new or lost, promises nothing: it cannot know what it held.

use crate::store::Position;
use roost_proto::ids::Epoch;

/// What a copy knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The highest epoch it has promised, durable.
    pub promised: Epoch,
    /// Where its log ends; `None` without one.
    pub end: Option<Position>,
}

/// What to do with commits that a leader sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From a leader that was replaced: nothing.
    Deposed,
    /// There is no log they could follow: ask for all of it.
    Empty,
    /// They do not follow this log's end: the leader has to look where they part.
    Elsewhere,
    /// Take them. `raise`: first keep the leader's epoch as promised.
    Take { raise: bool },
}

impl Follower {
    /// What to do with commits of the leader of `epoch` that follow `after`.
    pub fn judge(&self, epoch: Epoch, after: Position) -> Verdict {
        if epoch < self.promised {
            return Verdict::Deposed;
        }
        match self.end {
            None => Verdict::Empty,
            Some(end) if end != after => Verdict::Elsewhere,
            Some(_) => Verdict::Take { raise: epoch > self.promised },
        }
    }

    /// Whether it can promise an epoch to somebody who wants to lead.
    pub fn can_promise(&self, epoch: Epoch) -> bool {
        self.end.is_some() && epoch > self.promised
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::ids::Serial;

    fn at(epoch: u64, serial: u64) -> Position {
        Position { epoch: Epoch(epoch), serial: Serial(serial) }
    }

    #[test]
    fn takes_only_what_follows_from_whom_it_obeys() {
        let copy = Follower { promised: Epoch(4), end: Some(at(3, 10)) };
        assert_eq!(copy.judge(Epoch(3), at(3, 10)), Verdict::Deposed);
        assert_eq!(copy.judge(Epoch(4), at(3, 10)), Verdict::Take { raise: false });
        assert_eq!(copy.judge(Epoch(5), at(3, 10)), Verdict::Take { raise: true });
        assert_eq!(copy.judge(Epoch(5), at(3, 9)), Verdict::Elsewhere);
        assert_eq!(copy.judge(Epoch(5), at(4, 10)), Verdict::Elsewhere, "same serial, other epoch");
        assert!(copy.can_promise(Epoch(5)));
        assert!(!copy.can_promise(Epoch(4)), "one epoch is promised to one only");
    }

    #[test]
    fn without_a_log_it_has_no_say() {
        let copy = Follower { promised: Epoch(4), end: None };
        assert!(!copy.can_promise(Epoch(9)));
        assert_eq!(copy.judge(Epoch(5), at(0, 0)), Verdict::Empty);
        assert_eq!(copy.judge(Epoch(3), at(0, 0)), Verdict::Deposed);
    }
}
