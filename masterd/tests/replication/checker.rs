//! What replication promises, checked whenever something happens.
//!
//! The checker knows everything at once. What became visible anywhere, or was acknowledged to a
//! client, must be in the log of every later leader. Two things excuse a loss, and only that of
//! what the new leader lacks: the operator's flags were needed to elect it, or nodes helped to
//! elect it that the operator had declared down and that have not been level since.

use crate::machine::{Entry, holds, id, ix};
use crate::world::name;
use roost_masterd::store::Position;
use roost_proto::ids::{Epoch, NodeId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Win {
    me: usize,
    epoch: Epoch,
    log: Vec<Entry>,
    /// What it lacks is lost with somebody's consent.
    excused: bool,
    /// Elected by nodes that somebody else no longer counts with: what it accepts may be lost, too.
    loose: bool,
}

#[derive(Debug, Default)]
pub struct Checker {
    /// What a position says.
    names: BTreeMap<Position, u64>,
    /// What was visible or acknowledged, by serial.
    counted: BTreeMap<u64, Position>,
    /// The epoch of the leader that first let it be seen.
    by: BTreeMap<u64, Epoch>,
    wins: Vec<Win>,
    /// Declared down by the operator, and not level since.
    declared: BTreeSet<NodeId>,
    pub violation: Option<String>,
    pub stats: Stats,
}

/// What a run was worth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub acknowledged: u64,
    pub elections: u64,
    pub forced: u64,
    pub excused: u64,
    /// Runs that came right only with --no-voting --accept-loss: too many voters have no copy yet.
    pub stuck: u64,
    /// Nodes that had to be added again, because they did not know the new master.
    pub readded: u64,
    /// Masters that had to be started again, because a node had promised itself to nobody.
    pub restarted: u64,
    /// Milliseconds until all was well after the faults.
    pub recovery: u64,
}

impl Checker {
    pub fn fails(&mut self, why: String) {
        self.violation.get_or_insert(why);
    }

    /// A leader writes `content` at `at`.
    pub fn names(&mut self, at: Position, content: u64) {
        let known = *self.names.entry(at).or_insert(content);
        let excused = self.wins.iter().any(|win| win.epoch == at.epoch && win.excused);
        if known != content && !excused {
            self.fails(format!("{at} names two contents"));
        }
    }

    /// The operator says that a node is down, and the leader believes it.
    pub fn declares(&mut self, node: NodeId) {
        self.declared.insert(node);
    }

    /// It has everything again.
    pub fn level_again(&mut self, node: NodeId) {
        self.declared.remove(&node);
    }

    /// A leader of `epoch` let everybody see it, on machine `m`.
    pub fn visible(&mut self, at: Position, m: usize, epoch: Epoch) {
        if self.wins.iter().any(|win| win.epoch == epoch && win.loose) {
            return;
        }
        let lacks = |win: &&Win| win.epoch > epoch && !holds(&win.log, at);
        let mut excused = false;
        let mut found = None;
        for win in self.wins.iter().filter(lacks) {
            // Also somebody who leads may have been declared down.
            excused |= win.excused || self.declared.contains(&id(win.me));
            found = Some((win.me, win.epoch));
        }
        if excused {
            return;
        }
        if let Some((me, newer)) = found {
            let (m, me) = (name(m), name(me));
            self.fails(format!(
                "{at} is visible on {m} by the leader of epoch {epoch}, and {me} leads in epoch \
                 {newer} without it"
            ));
        }
        self.by.entry(at.serial.0).or_insert(epoch);
        let known = *self.counted.entry(at.serial.0).or_insert(at);
        if known != at {
            self.fails(format!("{at} is visible on {}, and so was {known}", name(m)));
        }
    }

    /// A client was told that its commit has happened.
    pub fn acknowledged(&mut self, at: Position, wanted: u64, says: u64) {
        self.stats.acknowledged += 1;
        if wanted != says {
            self.fails(format!("{at} says something else than was acknowledged"));
        }
    }

    /// Somebody was elected, with this log.
    pub fn won(
        &mut self,
        me: usize,
        epoch: Epoch,
        log: Vec<Entry>,
        forced: bool,
        electors: BTreeSet<NodeId>,
        fenced: bool,
    ) {
        self.stats.elections += 1;
        self.stats.forced += u64::from(forced);
        if !forced && !fenced {
            self.fails(format!(
                "{} leads in epoch {epoch}, and most nodes would obey another",
                name(me)
            ));
        }
        let excused = forced || !self.declared.is_disjoint(&electors);
        if let Some(win) = self.wins.iter().find(|win| win.epoch == epoch && !win.excused)
            && !excused
        {
            let both = (name(win.me), name(me));
            self.fails(format!("{} and {} both lead in epoch {epoch}", both.0, both.1));
        }
        // One whose election took too long leads nobody: later leaders need not be its concern.
        let before = |serial: &u64| self.by.get(serial).is_some_and(|by| *by < epoch);
        let lost: Vec<Position> = (self.counted.iter())
            .filter(|(serial, at)| before(serial) && !holds(&log, **at))
            .map(|(_, at)| *at)
            .collect();
        if excused {
            self.stats.excused += lost.len() as u64;
            for at in lost {
                self.counted.remove(&at.serial.0);
                self.by.remove(&at.serial.0);
            }
        } else if let Some(at) = lost.first() {
            self.fails(format!("{} leads in epoch {epoch} without {at}, which counted", name(me)));
        }
        self.wins.push(Win { me, epoch, log, excused, loose: excused && !forced });
    }

    /// A node obeys a command of `epoch`; it has obeyed `before` already.
    pub fn obeys(&mut self, m: usize, epoch: Epoch, before: Epoch) {
        if epoch < before {
            self.fails(format!("node {} obeys epoch {epoch} after epoch {before}", name(m)));
        }
    }

    /// Everything that counted must be in this log: the one of the leader in the end.
    pub fn ends(&mut self, log: &[Entry]) {
        if let Some(at) = self.counted.values().find(|at| !holds(log, **at)).copied() {
            self.fails(format!("{at} counted, and is not in the leader's log in the end"));
        }
    }

    /// The operator brought about that two may have led at once.
    pub fn split(&self) -> bool {
        self.wins.iter().any(|win| win.excused)
    }

    /// Whether a log has all that counted.
    pub fn has_all(&self, log: &[Entry]) -> bool {
        self.counted.values().next_back().is_none_or(|at| holds(log, *at))
    }

    /// For messages.
    pub fn declared_text(&self) -> String {
        self.declared.iter().map(|node| name(ix(*node))).collect()
    }
}
