//! Machines, a network between them, and one queue of what happens next.
//!
//! ```text
//!   queue ── next ──► machine: noded or masterd ── asks, answers, timers ──► network ──► queue
//!                          │ disk: power cut?
//!                          └─► checker
//! ```

use crate::checker::Checker;
use crate::machine::{At, Conf, Copy, Entry, Machine, PowerCut, Process, id, ix};
use crate::random::Random;
use crate::{electing, leading, replica};
use roost_masterd::replication::follower::Verdict;
use roost_masterd::store::Position;
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::node::AloneNote;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// A rule that is broken on purpose, to see that the checker notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutation {
    #[default]
    None,
    /// What is written counts.
    CountWithoutMajority,
    /// An epoch is promised to everybody who asks for it.
    PromiseTwice,
    /// A promise is answered before it is on the disk.
    PromiseFromMemory,
    /// A commit is answered before it is on the disk.
    AckBeforeSync,
    /// Earlier leaderships' changes count as soon as a majority holds them.
    SkipFirst,
    /// Elections do not look at notes.
    IgnoreNotes,
    /// A copy takes what follows from anybody.
    ObeyDeposed,
    /// Noded obeys anybody.
    NoFence,
    /// The older voters lose their say before the newer ones' set counts.
    SettleEarly,
    /// The note is taken back before the other one has everything.
    ClearNoteEarly,
    /// Only notes that were heard of in the election are taken back.
    ForgetNotes,
    /// Who has promised a newer epoch meanwhile leads nevertheless.
    LeadThoughPromised,
    /// A leader's own copy counts for it after it has promised a newer epoch.
    CountAfterPromise,
    /// A whole log is put in place whatever was promised while it arrived.
    InstallUnchecked,
}

#[derive(Clone, Debug)]
pub enum Ask {
    Append { epoch: Epoch, after: Position, entries: Vec<Entry>, counts: Serial },
    Promise { epoch: Epoch },
    Fetch { epoch: Epoch, end: Position },
    Install { epoch: Epoch, log: Rc<Vec<Entry>> },
    Retire { epoch: Epoch },
    Vote { epoch: Epoch },
    Note { epoch: Epoch, note: AloneNote },
    Command { epoch: Epoch },
    List { epoch: Epoch, candidates: BTreeSet<NodeId> },
}

impl Ask {
    fn is_for_noded(&self) -> bool {
        matches!(self, Ask::Vote { .. } | Ask::Note { .. } | Ask::Command { .. } | Ask::List { .. })
    }

    /// A stream of its own, that no network repeats.
    fn is_stream(&self) -> bool {
        matches!(self, Ask::Fetch { .. } | Ask::Install { .. })
    }
}

#[derive(Clone, Debug)]
pub enum Answer {
    Appended {
        verdict: Verdict,
        end: Option<Position>,
    },
    Promised(Promised),
    Rest(Vec<Entry>),
    Whole(Rc<Vec<Entry>>),
    Vote {
        granted: bool,
        epoch: Epoch,
        alone: Option<AloneNote>,
    },
    /// It was done.
    Done,
    /// It was refused, or did not work.
    Failed,
}

#[derive(Clone, Debug)]
pub struct Promised {
    pub granted: bool,
    pub promised: Epoch,
    pub end: Option<Position>,
    pub leader: Option<(Epoch, NodeId)>,
}

/// What a masterd does with an answer.
#[derive(Clone, Debug)]
pub enum Waits {
    Append { node: NodeId, token: u64, sent: bool },
    Install { node: NodeId, token: u64 },
    ElectionCopy(NodeId),
    ElectionNode(NodeId),
    Fetch,
    Note,
    List { node: NodeId, candidates: BTreeSet<NodeId> },
    Command,
    Nothing,
}

#[derive(Clone, Debug)]
pub enum Happens {
    Ask {
        from: usize,
        run: u64,
        rpc: u64,
        ask: Ask,
    },
    Answer {
        from: usize,
        rpc: u64,
        answer: Answer,
    },
    Timeout {
        rpc: u64,
    },
    /// The leader looks after itself.
    Tick,
    /// The master tries to lead again.
    Again,
    Link {
        node: NodeId,
        token: u64,
    },
    /// The last piece of a whole log.
    Arrived {
        from: usize,
        run: u64,
        rpc: u64,
        epoch: Epoch,
        log: Rc<Vec<Entry>>,
    },
    StartOver,
    Start,
    Thaw,
}

#[derive(Clone, Debug)]
pub struct Envelope {
    pub to: usize,
    /// The masterd it is meant for; `None`: whichever is there.
    pub run: Option<u64>,
    pub what: Happens,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Net {
    pub loss: u64,
    pub repeat: u64,
    pub slow: u64,
}

#[derive(Debug)]
pub struct World {
    pub now: At,
    pub random: Random,
    queue: BTreeMap<(At, u64), Envelope>,
    order: u64,
    pub machines: Vec<Machine>,
    /// Directions in which nothing comes through.
    pub cut: BTreeSet<(usize, usize)>,
    pub net: Net,
    pub mutation: Mutation,
    pub checker: Checker,
    pub alone_after: At,
    /// So many commits are at hand for copies that lag.
    pub retain: u64,
    history: Option<Vec<String>>,
}

/// What goes into the history, made only if somebody reads it.
macro_rules! say {
    ($world:expr, $($arg:tt)*) => {
        if $world.is_heard() { let text = format!($($arg)*); $world.write_down(text); }
    };
}
pub(crate) use say;

impl World {
    /// `count` machines, of which the first `candidates` are master candidates; machine 0 is the
    /// master.
    pub fn new(
        mut random: Random,
        count: usize,
        candidates: usize,
        mutation: Mutation,
        history: bool,
    ) -> World {
        let conf = Rc::new(Conf {
            master: id(0),
            candidates: (0..candidates).map(id).collect(),
            offline: BTreeSet::new(),
            nodes: (0..count).map(id).collect(),
        });
        let voters = Rc::new(roost_masterd::replication::Voters::one(conf.wanted()));
        let at = Position { epoch: Epoch(1), serial: Serial(1) };
        let first = Rc::new(crate::machine::Commit { at, content: 1, conf: conf.clone(), voters });
        let alone_after = *random.pick(&[4_000, 8_000]);
        let retain = *random.pick(&[6, 30, 1_000]);
        let mut world = World {
            now: 1_000_000,
            random,
            queue: BTreeMap::new(),
            order: 1,
            machines: Vec::new(),
            cut: BTreeSet::new(),
            net: Net::default(),
            mutation,
            checker: Checker::default(),
            alone_after,
            retain,
            history: history.then(Vec::new),
        };
        for m in 0..count {
            let mut machine = Machine::default();
            machine.disk.listed = conf.candidates.clone();
            machine.disk.noded_epoch = Epoch(1);
            if m < candidates {
                machine.disk.log = Some(vec![first.clone()]);
                machine.disk.synced = 1;
                machine.disk.promised = Epoch(1);
            }
            world.machines.push(machine);
            world.power_on(m);
        }
        world.checker.names(at, 1);
        world
    }

    pub fn is_heard(&self) -> bool {
        self.history.is_some()
    }

    pub fn write_down(&mut self, text: String) {
        let now = self.now - 1_000_000;
        if let Some(history) = &mut self.history {
            history.push(format!("{:>4}.{:03} {text}", now / 1000, now % 1000));
        }
    }

    /// What happened, the last `lines` of it.
    pub fn history(&self, lines: usize) -> String {
        let history = self.history.as_deref().unwrap_or_default();
        history[history.len().saturating_sub(lines)..].join("\n")
    }

    /// A number nobody else has.
    pub fn number(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    pub fn schedule(&mut self, after: At, to: usize, run: Option<u64>, what: Happens) {
        let order = self.number();
        self.queue.insert((self.now + after, order), Envelope { to, run, what });
    }

    /// Something from one machine to another, through the network.
    fn transmit(&mut self, from: usize, to: usize, run: Option<u64>, what: Happens) {
        if from == to {
            return self.schedule(0, to, run, what);
        }
        if self.cut.contains(&(from, to)) || self.random.chance(self.net.loss) {
            return;
        }
        let stream = matches!(&what, Happens::Ask { ask, .. } if ask.is_stream());
        let times = if !stream && self.random.chance(self.net.repeat) { 2 } else { 1 };
        for _ in 0..times {
            let slow = self.random.chance(self.net.slow);
            let delay = if slow { self.random.range(100, 6_000) } else { self.random.range(1, 15) };
            self.schedule(delay, to, run, what.clone());
        }
    }

    /// A masterd asks somebody; `waits` says what the answer is for.
    pub fn call(
        &mut self,
        m: usize,
        p: &mut Process,
        to: NodeId,
        ask: Ask,
        waits: Waits,
        patience: At,
    ) -> u64 {
        let rpc = self.number();
        p.rpcs.insert(rpc, waits);
        self.schedule(patience, m, Some(p.run), Happens::Timeout { rpc });
        self.transmit(m, ix(to), None, Happens::Ask { from: m, run: p.run, rpc, ask });
        rpc
    }

    pub fn answer(&mut self, m: usize, to: usize, run: u64, rpc: u64, answer: Answer) {
        self.transmit(m, to, Some(run), Happens::Answer { from: m, rpc, answer });
    }

    /// Takes the next event and lets it happen; `false`: there is none before `until`.
    pub fn step(&mut self, until: At) -> bool {
        let Some((&(at, order), _)) = self.queue.first_key_value() else { return false };
        if at > until {
            self.now = until;
            return false;
        }
        self.now = at;
        if let Some(envelope) = self.queue.remove(&(at, order)) {
            self.deliver(envelope);
        }
        true
    }

    fn deliver(&mut self, envelope: Envelope) {
        let m = envelope.to;
        match &envelope.what {
            Happens::Start => return self.power_on(m),
            Happens::Thaw => return self.thaw(m),
            Happens::Ask { from, .. } | Happens::Answer { from, .. }
                if self.cut.contains(&(*from, m)) =>
            {
                return;
            }
            _ => {}
        }
        if !self.machines[m].powered {
            return;
        }
        let noded = matches!(&envelope.what, Happens::Ask { ask, .. } if ask.is_for_noded());
        let machine = &mut self.machines[m];
        if if noded { machine.noded_frozen } else { machine.frozen } {
            machine.stash.push(envelope);
            return;
        }
        let result = if noded { self.at_noded(m, envelope) } else { self.at_masterd(m, envelope) };
        if result.is_err() {
            self.breaks(m);
        }
    }

    /// The power went while something was written; it comes back after a while.
    pub fn breaks(&mut self, m: usize) {
        say!(self, "{}: power cut while writing", name(m));
        self.power_off(m);
        let after = self.random.range(500, 15_000);
        self.schedule(after, m, None, Happens::Start);
    }

    fn at_noded(&mut self, m: usize, envelope: Envelope) -> Result<(), PowerCut> {
        let Happens::Ask { from, run, rpc, ask } = envelope.what else { return Ok(()) };
        let answer = replica::noded(self, m, from, ask)?;
        self.answer(m, from, run, rpc, answer);
        Ok(())
    }

    fn at_masterd(&mut self, m: usize, envelope: Envelope) -> Result<(), PowerCut> {
        let Some(mut p) = self.machines[m].process.take() else {
            // Refused at once: nobody listens.
            if let Happens::Ask { from, run, rpc, .. } = envelope.what {
                self.answer(m, from, run, rpc, Answer::Failed);
            }
            return Ok(());
        };
        if envelope.run.is_some_and(|run| run != p.run) {
            self.machines[m].process = Some(p);
            return Ok(());
        }
        let result = self.work(m, &mut p, envelope.what);
        if self.machines[m].process.is_none() {
            self.machines[m].process = Some(p);
        }
        result
    }

    fn work(&mut self, m: usize, p: &mut Process, what: Happens) -> Result<(), PowerCut> {
        match what {
            Happens::Ask { from, run, rpc, ask } => {
                replica::masterd(self, m, p, (from, run, rpc), ask)
            }
            Happens::Arrived { from, run, rpc, epoch, log } => {
                replica::arrived(self, m, p, (from, run, rpc), epoch, &log)
            }
            Happens::Answer { from, rpc, answer } => match p.rpcs.remove(&rpc) {
                Some(waits) => self.answered(m, p, from, rpc, waits, answer),
                None => Ok(()),
            },
            Happens::Timeout { rpc } => match p.rpcs.remove(&rpc) {
                Some(waits) => self.answered(m, p, m, rpc, waits, Answer::Failed),
                None => Ok(()),
            },
            Happens::Tick => leading::tick(self, m, p),
            Happens::Link { node, token } => leading::link_wakes(self, m, p, node, token),
            Happens::Again => electing::again(self, m, p),
            Happens::StartOver => {
                say!(self, "{}: masterd starts over", name(m));
                // It takes this one's place when this is done.
                self.machines[m].process = Some(self.new_process(m));
                Ok(())
            }
            Happens::Start | Happens::Thaw => Ok(()),
        }
    }

    fn answered(
        &mut self,
        m: usize,
        p: &mut Process,
        from: usize,
        rpc: u64,
        waits: Waits,
        answer: Answer,
    ) -> Result<(), PowerCut> {
        match waits {
            Waits::Append { node, token, sent } => {
                leading::appended(self, m, p, (node, token, sent), answer)
            }
            Waits::Install { node, token } => {
                leading::link_pauses(self, m, p, node, token);
                Ok(())
            }
            Waits::ElectionCopy(node) => electing::copy_says(self, m, p, rpc, node, answer),
            Waits::ElectionNode(node) => electing::node_says(self, m, p, rpc, node, answer),
            Waits::Fetch => electing::fetched(self, m, p, answer),
            Waits::Note => leading::noted(self, m, p, rpc, &answer),
            Waits::List { node, candidates } => {
                leading::listed(p, node, candidates, &answer);
                Ok(())
            }
            Waits::Command => {
                if let (Answer::Done, Some(leads)) = (&answer, &mut p.leads) {
                    leads.obeyed.insert(id(from));
                }
                Ok(())
            }
            Waits::Nothing => Ok(()),
        }
    }

    /// The role of this process has ended: it starts over in a moment, and works until then.
    pub fn over(&mut self, m: usize, p: &mut Process, why: &str) {
        if !p.over {
            p.over = true;
            say!(self, "{}: over: {why}", name(m));
            // Usually at once; but a process may be stopped at any point.
            let late = self.random.chance(150);
            let soon = self.random.range(0, if late { 3_000 } else { 40 });
            self.schedule(soon, m, Some(p.run), Happens::StartOver);
        }
    }

    /// A masterd with nothing but what is on the disk.
    fn new_process(&mut self, m: usize) -> Process {
        let run = self.number();
        let copy = self.machines[m].disk.last().map(|last| Copy {
            visible: last.conf.clone(),
            pending: VecDeque::new(),
            held: VecDeque::new(),
            leading: None,
        });
        let first = self.random.range(0, 200);
        self.schedule(first, m, Some(run), Happens::Again);
        Process {
            run,
            copy,
            heard: None,
            leads: None,
            election: None,
            over: false,
            rpcs: BTreeMap::new(),
            incoming: BTreeSet::new(),
        }
    }

    pub fn power_on(&mut self, m: usize) {
        if !self.machines[m].powered {
            self.machines[m].powered = true;
            self.machines[m].disk.lose_unsynced();
        }
        if self.machines[m].process.is_none() {
            let process = self.new_process(m);
            self.machines[m].process = Some(process);
            say!(self, "{}: masterd is started, log ends at {:?}", name(m), end(self, m));
        }
    }

    pub fn power_off(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        machine.powered = false;
        machine.process = None;
        machine.frozen = false;
        machine.noded_frozen = false;
        machine.stash.clear();
        machine.disk.lose_unsynced();
    }

    /// Kill -9 of masterd.
    pub fn kill(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        machine.process = None;
        if !machine.noded_frozen {
            machine.frozen = false;
            machine.stash.clear();
        }
    }

    fn thaw(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        if !machine.frozen && !machine.noded_frozen {
            return;
        }
        machine.frozen = false;
        machine.noded_frozen = false;
        let stash = std::mem::take(&mut machine.stash);
        say!(self, "{}: wakes", name(m));
        for envelope in stash {
            self.schedule(0, m, envelope.run, envelope.what);
        }
    }
}

/// Machines are called by letters.
pub fn name(m: usize) -> char {
    char::from(b'A' + m as u8)
}

pub fn names<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(|node| name(ix(*node))).collect()
}

pub fn end(world: &World, m: usize) -> Option<(u64, u64)> {
    world.machines[m].disk.end().map(|end| (end.epoch.0, end.serial.0))
}
