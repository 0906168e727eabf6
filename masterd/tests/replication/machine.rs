//! One machine: a disk that can lose what was not synced, noded, and a masterd that may be gone.
//!
//! Whoever writes to the disk may meet the power cut that is armed on it: the write has happened or
//! not, and nothing after it has.

use crate::electing::Election;
use crate::leading::Leadership;
use crate::world::{Envelope, Mutation, Waits};
use roost_masterd::replication::{LEASE, Voters};
use roost_masterd::store::Position;
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::node::AloneNote;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Milliseconds of the simulation.
pub type At = u64;

/// The identifier of machine `m`.
pub fn id(m: usize) -> NodeId {
    NodeId(uuid::Uuid::from_u128(m as u128 + 1))
}

/// The machine of an identifier.
pub fn ix(node: NodeId) -> usize {
    node.0.as_u128() as usize - 1
}

/// The part of a configuration that elections look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    pub master: NodeId,
    pub candidates: BTreeSet<NodeId>,
    pub offline: BTreeSet<NodeId>,
    pub nodes: BTreeSet<NodeId>,
}

impl Conf {
    /// As `Voters::wanted`.
    pub fn wanted(&self) -> BTreeSet<NodeId> {
        let candidates = self.candidates.difference(&self.offline).copied();
        candidates.chain([self.master]).collect()
    }

    pub fn online(&self) -> BTreeSet<NodeId> {
        self.nodes.difference(&self.offline).copied().collect()
    }
}

/// A commit in a log, with what configuration and voters are after it.
#[derive(Debug)]
pub struct Commit {
    pub at: Position,
    /// Names what it says; no two are the same.
    pub content: u64,
    pub conf: Rc<Conf>,
    pub voters: Rc<Voters>,
}

pub type Entry = Rc<Commit>;

/// The power went while something was written.
#[derive(Debug)]
pub struct PowerCut;

#[derive(Debug, Default)]
pub struct Disk {
    pub log: Option<Vec<Entry>>,
    /// Commits of the log that survive a power cut.
    pub synced: usize,
    pub promised: Epoch,
    pub noded_epoch: Epoch,
    pub note: Option<AloneNote>,
    pub listed: BTreeSet<NodeId>,
    /// The promise as it is on the disk itself, if it was forgotten to write it.
    pub promised_lost: Option<Epoch>,
    pub full_until: At,
    /// After so many writes the power goes; whether the last of them still happens.
    pub cut_in: Option<(u32, bool)>,
}

impl Disk {
    /// Returns whether the write happens.
    fn survives(&mut self) -> (bool, Result<(), PowerCut>) {
        match &mut self.cut_in {
            Some((0, happens)) => (*happens, Err(PowerCut)),
            Some((left, _)) => {
                *left -= 1;
                (true, Ok(()))
            }
            None => (true, Ok(())),
        }
    }

    /// A file of its own, durable when it returns.
    pub fn write(&mut self, change: impl FnOnce(&mut Disk)) -> Result<(), PowerCut> {
        let (happens, result) = self.survives();
        if happens {
            change(self);
        }
        result
    }

    /// Appends to the log; durable when it returns, unless the mutation forgets that.
    pub fn append(&mut self, entries: &[Entry], mutation: Mutation) -> Result<(), PowerCut> {
        let (happens, result) = self.survives();
        let log = self.log.as_mut().expect("whoever appends has a log");
        log.extend(entries.iter().cloned());
        if happens && mutation != Mutation::AckBeforeSync {
            self.synced = log.len();
        }
        result
    }

    /// Another whole log in place of this one.
    pub fn replace(&mut self, log: Option<Vec<Entry>>) -> Result<(), PowerCut> {
        self.write(|disk| {
            disk.synced = log.as_ref().map_or(0, Vec::len);
            disk.log = log;
        })
    }

    /// What a power cut leaves.
    pub fn lose_unsynced(&mut self) {
        self.cut_in = None;
        if let Some(log) = &mut self.log {
            log.truncate(self.synced);
        }
        if let Some(promised) = self.promised_lost.take() {
            self.promised = promised;
        }
    }

    pub fn end(&self) -> Option<Position> {
        Some(self.log.as_ref()?.last().map_or_else(Position::default, |entry| entry.at))
    }

    pub fn last(&self) -> Option<&Entry> {
        self.log.as_ref()?.last()
    }

    /// The epoch of a commit in the log.
    pub fn epoch_of(&self, serial: Serial) -> Option<Epoch> {
        if serial.0 == 0 {
            return Some(Epoch(0));
        }
        let entry = self.log.as_ref()?.get(usize::try_from(serial.0 - 1).ok()?)?;
        Some(entry.at.epoch)
    }
}

/// Whether a log has exactly this commit.
pub fn holds(log: &[Entry], at: Position) -> bool {
    at.serial.0.checked_sub(1).and_then(|n| log.get(n as usize)).is_some_and(|e| e.at == at)
}

/// A commit that is written, and not known to count.
#[derive(Debug)]
pub struct Pending {
    pub end: Serial,
    pub conf: Rc<Conf>,
    /// Who waits: the serial and content of each client's commit.
    pub replies: Vec<(Serial, Wish)>,
}

/// What somebody wants to be committed.
#[derive(Clone, Debug)]
pub struct Wish {
    pub content: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The first commit of a leadership.
    Begin,
    Client,
    Offline(NodeId),
    Online(NodeId),
    /// Each of them is made a candidate, or is one no more.
    Flip(Vec<NodeId>),
}

/// The writer's memory, as `state::Writer` has it.
#[derive(Debug)]
pub struct Copy {
    pub visible: Rc<Conf>,
    pub pending: VecDeque<Pending>,
    pub held: VecDeque<Wish>,
    pub leading: Option<Epoch>,
}

/// A masterd.
#[derive(Debug)]
pub struct Process {
    /// Tells incarnations apart.
    pub run: u64,
    pub copy: Option<Copy>,
    pub heard: Option<(Epoch, NodeId, At)>,
    pub leads: Option<Leadership>,
    pub election: Option<Election>,
    pub over: bool,
    pub rpcs: BTreeMap<u64, Waits>,
    /// Whole logs that arrive.
    pub incoming: BTreeSet<u64>,
}

impl Process {
    pub fn heard_lately(&self, now: At) -> Option<(Epoch, NodeId)> {
        self.heard.filter(|(.., at)| now - at < LEASE).map(|(epoch, node, _)| (epoch, node))
    }
}

#[derive(Debug, Default)]
pub struct Machine {
    pub disk: Disk,
    /// Has power: noded is at work.
    pub powered: bool,
    pub process: Option<Process>,
    pub frozen: bool,
    /// What came while it was frozen.
    pub stash: Vec<Envelope>,
    /// Noded is frozen too.
    pub noded_frozen: bool,
    /// Wall clock minus the simulation's, milliseconds.
    pub wall: i64,
    /// The highest epoch it has ever obeyed or promised, known to the checker only.
    pub obeyed: Epoch,
}
