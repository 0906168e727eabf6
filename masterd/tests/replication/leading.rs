//! The leader's side: what `state::Writer`, `replication::Leadership` and its links do.

use crate::machine::{At, Conf, Entry, Pending, PowerCut, Process, What, Wish, id, ix};
use crate::world::{Answer, Ask, Happens, Mutation, Waits, World, name, names, say};
use roost_masterd::replication::follower::Verdict;
use roost_masterd::replication::leader::Leader;
use roost_masterd::store::Position;
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::node::AloneNote;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

const TICK: At = 500;
const SILENCE: At = 10_000;
const NOTE: At = 3_000;
/// Commits in one message.
const LIMIT: usize = 4;
/// The pause between two attempts to copy the list of candidates.
const LISTS: At = 5_000;

#[derive(Debug)]
pub struct Leadership {
    pub leader: Leader,
    pub epoch: Epoch,
    links: BTreeMap<NodeId, Link>,
    blocked: bool,
    round: u64,
    /// Who lacks something, and on which nodes that is noted.
    noted: Option<(BTreeSet<NodeId>, BTreeSet<NodeId>)>,
    noting: Option<Noting>,
    /// The first commit counts: clients are served.
    pub ready: bool,
    /// When a failover whose first commit does not count gives up.
    pub give_up: Option<At>,
    retired: BTreeSet<NodeId>,
    lists: BTreeMap<NodeId, BTreeSet<NodeId>>,
    lists_at: At,
    /// Nodes that obeyed a command.
    pub obeyed: BTreeSet<NodeId>,
}

/// A note on its way to the nodes.
#[derive(Debug)]
struct Noting {
    note: AloneNote,
    away: Option<NodeId>,
    nodes: BTreeSet<NodeId>,
    asked: BTreeSet<u64>,
    kept: usize,
}

#[derive(Debug)]
struct Link {
    token: u64,
    end: Position,
    known: bool,
    /// For something to be written, or a while.
    waits: bool,
}

impl Leadership {
    pub fn new(
        leader: Leader,
        noted: Option<(BTreeSet<NodeId>, BTreeSet<NodeId>)>,
        give_up: Option<At>,
    ) -> Leadership {
        Leadership {
            epoch: leader.epoch(),
            leader,
            links: BTreeMap::new(),
            blocked: false,
            round: 0,
            noted,
            noting: None,
            ready: false,
            give_up,
            retired: BTreeSet::new(),
            lists: BTreeMap::new(),
            lists_at: 0,
            obeyed: BTreeSet::new(),
        }
    }
}

/// One turn of `Leadership::run`.
pub fn tick(w: &mut World, m: usize, p: &mut Process) -> Result<(), PowerCut> {
    w.schedule(TICK, m, Some(p.run), Happens::Tick);
    if p.leads.as_ref().is_some_and(|l| !l.ready && l.give_up.is_some_and(|at| at <= w.now)) {
        w.over(m, p, "no majority took the first change");
    }
    turn(w, m, p);
    look_after_being_alone(w, m, p);
    copy_lists(w, m, p);
    Ok(())
}

/// Links and retired copies follow the voters.
fn turn(w: &mut World, m: usize, p: &mut Process) {
    let Some(leads) = &mut p.leads else { return };
    let mut voters = leads.leader.voters().all();
    voters.remove(&id(m));
    leads.links.retain(|node, _| voters.contains(node));
    let fresh: Vec<_> =
        voters.iter().filter(|node| !leads.links.contains_key(node)).copied().collect();
    for node in fresh {
        link_begins(w, m, p, node);
    }
    let (Some(leads), Some(last)) = (&mut p.leads, w.machines[m].disk.last()) else { return };
    leads.retired.retain(|node| !voters.contains(node));
    // While a change of the voters is under way, the older ones are still needed.
    let settled = leads.leader.voters_count();
    let conf = last.conf.clone();
    let epoch = leads.epoch;
    let told: Vec<_> = (conf.nodes.iter().copied())
        .filter(|node| settled && !voters.contains(node) && *node != id(m))
        .filter(|node| !conf.candidates.contains(node) && !conf.offline.contains(node))
        .filter(|node| leads.retired.insert(*node))
        .collect();
    for node in told {
        w.call(m, p, node, Ask::Retire { epoch }, Waits::Nothing, SILENCE);
    }
}

fn copy_lists(w: &mut World, m: usize, p: &mut Process) {
    let (Some(leads), Some(copy)) = (&mut p.leads, &p.copy) else { return };
    if !leads.ready || leads.lists_at > w.now {
        return;
    }
    let (conf, epoch) = (copy.visible.clone(), leads.epoch);
    let stale: Vec<_> = (conf.online().into_iter())
        .filter(|node| leads.lists.get(node) != Some(&conf.candidates))
        .collect();
    if !stale.is_empty() {
        leads.lists_at = w.now + LISTS;
    }
    for node in stale {
        let candidates = conf.candidates.clone();
        let ask = Ask::List { epoch, candidates: candidates.clone() };
        w.call(m, p, node, ask, Waits::List { node, candidates }, SILENCE);
    }
}

/// A node has the list of candidates, or not.
pub fn listed(p: &mut Process, node: NodeId, list: BTreeSet<NodeId>, answer: &Answer) {
    if let (Some(leads), Answer::Done) = (&mut p.leads, answer) {
        leads.lists.insert(node, list);
    }
}

fn look_after_being_alone(w: &mut World, m: usize, p: &mut Process) {
    let Some(leads) = &p.leads else { return };
    if leads.noting.is_some() {
        return;
    }
    let away = leads.leader.may_go_alone(w.now);
    let early = w.mutation == Mutation::ClearNoteEarly
        && away.is_none()
        && leads.leader.is_alone_without().is_none();
    let should = match early {
        true => Some(BTreeSet::new()),
        false => leads.leader.should_note(w.now),
    };
    let Some(without) = should else { return };
    let online = w.machines[m].disk.last().map(|last| last.conf.online()).unwrap_or_default();
    let same = |(lacks, on): &(_, BTreeSet<_>)| *lacks == without && online.is_subset(on);
    if away.is_some() || !leads.noted.as_ref().is_some_and(same) {
        put_note(w, m, p, without, away);
    }
}

fn put_note(
    w: &mut World,
    m: usize,
    p: &mut Process,
    without: BTreeSet<NodeId>,
    away: Option<NodeId>,
) {
    let (Some(leads), Some(last)) = (&mut p.leads, w.machines[m].disk.last()) else { return };
    leads.round += 1;
    leads.noted = None;
    let since = (w.now as i64 + w.machines[m].wall).max(0) as u64 / 1000;
    let (epoch, round, master) = (leads.epoch, leads.round, id(m));
    let alone = !without.is_empty();
    let note = AloneNote { epoch, round, master, alone, without, since };
    let (nodes, epoch) = (last.conf.online(), leads.epoch);
    let mut asked = BTreeSet::new();
    for node in &nodes {
        let ask = Ask::Note { epoch, note: note.clone() };
        asked.insert(w.call(m, p, *node, ask, Waits::Note, NOTE));
    }
    say!(w, "{}: notes '{}' lack something on {}", name(m), names(&note.without), names(&nodes));
    let Some(leads) = &mut p.leads else { return };
    leads.noting = Some(Noting { note, away, nodes, asked, kept: 0 });
}

/// A node has kept the note, or not.
pub fn noted(
    w: &mut World,
    m: usize,
    p: &mut Process,
    rpc: u64,
    answer: &Answer,
) -> Result<(), PowerCut> {
    let Some(leads) = &mut p.leads else { return Ok(()) };
    let Some(noting) = &mut leads.noting else { return Ok(()) };
    if !noting.asked.remove(&rpc) {
        return Ok(());
    }
    noting.kept += usize::from(matches!(answer, Answer::Done));
    if !noting.asked.is_empty() {
        return Ok(());
    }
    let Some(Noting { note, away, nodes, kept, .. }) = leads.noting.take() else { return Ok(()) };
    let of_two = nodes.len() == 2 && away.is_some_and(|away| nodes.contains(&away));
    if !(kept > nodes.len() / 2 || (of_two && kept == 1)) {
        return Ok(());
    }
    leads.noted = Some((note.without, nodes));
    match away {
        Some(other) => {
            let counts = leads.leader.go_alone(other, w.now);
            let alone = leads.leader.is_alone_without().is_some();
            say!(w, "{}: alone without {}: {alone}", name(m), name(ix(other)));
            told(w, m, p, counts)
        }
        None => {
            say!(w, "{}: replicated again", name(m));
            Ok(())
        }
    }
}

fn link_begins(w: &mut World, m: usize, p: &mut Process, node: NodeId) {
    let Some(end) = w.machines[m].disk.end() else { return };
    let token = w.number();
    let Some(leads) = &mut p.leads else { return };
    leads.links.insert(node, Link { token, end, known: false, waits: false });
    link_sends(w, m, p, node);
}

fn link_sends(w: &mut World, m: usize, p: &mut Process, node: NodeId) {
    let Some(leads) = &mut p.leads else { return };
    let Some(link) = leads.links.get_mut(&node) else { return };
    link.waits = false;
    let (token, after, epoch) = (link.token, link.end, leads.epoch);
    let log = w.machines[m].disk.log.as_deref().unwrap_or_default();
    if (log.len() as u64) < after.serial.0 {
        // Its copy was taken away, and it is about to start over.
        return;
    }
    let lag = (log.len() as u64).saturating_sub(after.serial.0);
    let whole = lag > w.retain && w.random.chance(600);
    if link.known && whole {
        let log = Rc::new(log.to_vec());
        w.call(m, p, node, Ask::Install { epoch, log }, Waits::Install { node, token }, 60_000);
        return;
    }
    let entries: Vec<Entry> = match link.known {
        true => log[after.serial.0 as usize..].iter().take(LIMIT).cloned().collect(),
        false => vec![],
    };
    let (sent, counts) = (!entries.is_empty(), leads.leader.counts());
    let ask = Ask::Append { epoch, after, entries, counts };
    w.call(m, p, node, ask, Waits::Append { node, token, sent }, SILENCE);
}

/// A link's pause is over.
pub fn link_wakes(
    w: &mut World,
    m: usize,
    p: &mut Process,
    node: NodeId,
    token: u64,
) -> Result<(), PowerCut> {
    let link = p.leads.as_ref().and_then(|leads| leads.links.get(&node));
    match link {
        Some(link) if link.token == token && link.waits => link_sends(w, m, p, node),
        // It paused after something broke: from the beginning.
        Some(link) if link.token == token && !link.known => link_begins(w, m, p, node),
        _ => {}
    }
    Ok(())
}

/// Something broke, or a whole log went over: from the beginning after a pause.
pub fn link_pauses(w: &mut World, m: usize, p: &mut Process, node: NodeId, token: u64) {
    let link = p.leads.as_mut().and_then(|leads| leads.links.get_mut(&node));
    if let Some(link) = link.filter(|link| link.token == token) {
        link.known = false;
        link.waits = false;
        w.schedule(TICK, m, Some(p.run), Happens::Link { node, token });
    }
}

/// A copy answered, or not.
pub fn appended(
    w: &mut World,
    m: usize,
    p: &mut Process,
    (node, token, sent): (NodeId, u64, bool),
    answer: Answer,
) -> Result<(), PowerCut> {
    let Some(leads) = &mut p.leads else { return Ok(()) };
    let Some(link) = leads.links.get_mut(&node).filter(|link| link.token == token) else {
        return Ok(());
    };
    let Answer::Appended { verdict, end } = answer else {
        link_pauses(w, m, p, node, token);
        return Ok(());
    };
    match (verdict, end) {
        (Verdict::Deposed, _) => {
            let why = format!("{} obeys another", name(ix(node)));
            w.over(m, p, &why);
            link_pauses(w, m, p, node, token);
            return Ok(());
        }
        (Verdict::Take { .. }, Some(theirs)) => {
            (link.end, link.known) = (theirs, true);
            heard(w, m, p, node, theirs.serial)?;
        }
        (Verdict::Elsewhere, Some(theirs))
            if w.machines[m].disk.epoch_of(theirs.serial) == Some(theirs.epoch) =>
        {
            (link.end, link.known) = (theirs, true);
            heard(w, m, p, node, theirs.serial)?;
            link_sends(w, m, p, node);
            return Ok(());
        }
        _ => {
            let log = w.machines[m].disk.log.clone().unwrap_or_default();
            let ask = Ask::Install { epoch: leads.epoch, log: Rc::new(log) };
            w.call(m, p, node, ask, Waits::Install { node, token }, 60_000);
            return Ok(());
        }
    }
    let written = p.leads.as_ref().map(|leads| leads.leader.written());
    let Some(link) = p.leads.as_mut().and_then(|leads| leads.links.get_mut(&node)) else {
        return Ok(());
    };
    if sent && Some(link.end.serial) != written {
        link_sends(w, m, p, node);
    } else {
        link.waits = true;
        w.schedule(TICK, m, Some(p.run), Happens::Link { node, token });
    }
    Ok(())
}

/// `Leadership::heard`.
fn heard(
    w: &mut World,
    m: usize,
    p: &mut Process,
    node: NodeId,
    holds: Serial,
) -> Result<(), PowerCut> {
    let Some(leads) = &mut p.leads else { return Ok(()) };
    let before = leads.leader.counts();
    let counts = leads.leader.heard(node, holds, w.now);
    if holds >= counts {
        w.checker.level_again(node);
    }
    let may = leads.leader.may_write(w.now);
    if counts > before || (may && std::mem::take(&mut leads.blocked)) {
        told(w, m, p, counts)?;
    }
    Ok(())
}

/// `State::counts`, and what the writer does with it.
pub fn told(w: &mut World, m: usize, p: &mut Process, counts: Serial) -> Result<(), PowerCut> {
    let epoch = p.leads.as_ref().map_or(Epoch(0), |leads| leads.epoch);
    publish(w, m, p, counts, epoch)?;
    write_held(w, m, p)
}

/// Somebody wants something to be committed.
pub fn commit(w: &mut World, m: usize, p: &mut Process, wish: Wish) -> Result<(), PowerCut> {
    if let Some(copy) = &mut p.copy {
        copy.held.push_back(wish);
    }
    write_held(w, m, p)
}

fn write_held(w: &mut World, m: usize, p: &mut Process) -> Result<(), PowerCut> {
    let Some(copy) = p.copy.as_mut().filter(|copy| !copy.held.is_empty()) else { return Ok(()) };
    if copy.leading.is_none() {
        copy.held.clear();
        return Ok(());
    }
    let Some(leads) = &mut p.leads else { return Ok(()) };
    if !leads.leader.may_write(w.now) {
        leads.blocked = true;
        return Ok(());
    }
    let group: Vec<Wish> = copy.held.drain(..).collect();
    write(w, m, p, group)
}

/// The configuration after a wish, if it changes it; `Err`: it does not fit.
fn apply(conf: &Conf, me: NodeId, what: &What) -> Result<Option<Conf>, ()> {
    let mut next = conf.clone();
    match what {
        What::Client => return Ok(None),
        What::Begin => {
            next.master = me;
            next.candidates.insert(me);
            next.offline.remove(&me);
        }
        What::Offline(node) => {
            if *node == conf.master || !next.offline.insert(*node) {
                return Err(());
            }
        }
        What::Online(node) => {
            if !next.offline.remove(node) {
                return Err(());
            }
        }
        What::Flip(nodes) => {
            for node in nodes.iter().filter(|n| **n != conf.master && !conf.offline.contains(n)) {
                if !next.candidates.remove(node) {
                    next.candidates.insert(*node);
                }
            }
        }
    }
    Ok((next != *conf).then_some(next))
}

fn write(w: &mut World, m: usize, p: &mut Process, group: Vec<Wish>) -> Result<(), PowerCut> {
    let (Some(leads), Some(last)) = (&mut p.leads, w.machines[m].disk.last().cloned()) else {
        return Ok(());
    };
    let mut conf = last.conf.clone();
    let mut accepted = Vec::new();
    for wish in group {
        match apply(&conf, id(m), &wish.what) {
            Ok(Some(next)) => conf = Rc::new(next),
            Ok(None) => {}
            Err(()) => continue,
        }
        accepted.push((wish, conf.clone()));
    }
    if accepted.is_empty() {
        return Ok(());
    }
    if w.machines[m].disk.full_until > w.now {
        say!(w, "{}: disk full", name(m));
        if accepted.iter().any(|(wish, _)| wish.what == What::Begin) {
            w.over(m, p, "the first change cannot be stored");
        }
        return Ok(());
    }
    let mut voters = last.voters.clone();
    let is_first = last.at.epoch != leads.epoch;
    if (!Rc::ptr_eq(&conf, &last.conf) || is_first)
        && let Some(changed) = voters.changed_to(conf.wanted())
    {
        voters = Rc::new(changed);
    }
    let (count, epoch) = (accepted.len(), leads.epoch);
    let (mut entries, mut replies) = (Vec::new(), Vec::new());
    for (n, (wish, conf)) in accepted.into_iter().enumerate() {
        let at = Position { epoch, serial: Serial(last.at.serial.0 + 1 + n as u64) };
        let voters = if n + 1 == count { voters.clone() } else { last.voters.clone() };
        entries.push(Rc::new(crate::machine::Commit { at, content: wish.content, conf, voters }));
        replies.push((at.serial, wish));
    }
    stored(w, m, p, entries, replies)
}

/// Makes commits durable, and tells the quorum.
fn stored(
    w: &mut World,
    m: usize,
    p: &mut Process,
    entries: Vec<Entry>,
    replies: Vec<(Serial, Wish)>,
) -> Result<(), PowerCut> {
    let Some(last) = entries.last().cloned() else { return Ok(()) };
    for entry in &entries {
        w.checker.names(entry.at, entry.content);
    }
    say!(
        w,
        "{}: writes up to {} of epoch {} voters {:?}",
        name(m),
        last.at.serial.0,
        last.at.epoch.0,
        last.voters.sets().iter().map(names).collect::<Vec<_>>()
    );
    w.machines[m].disk.append(&entries, w.mutation)?;
    let (Some(copy), Some(leads)) = (&mut p.copy, &mut p.leads) else { return Ok(()) };
    copy.pending.push_back(Pending { end: last.at.serial, conf: last.conf.clone(), replies });
    let mut counts = leads.leader.wrote(last.at.serial, (*last.voters).clone());
    if w.mutation == Mutation::CountWithoutMajority {
        counts = last.at.serial;
    }
    let waiting: Vec<_> =
        leads.links.iter().filter(|(_, link)| link.waits).map(|(node, _)| *node).collect();
    let epoch = leads.epoch;
    for node in waiting {
        link_sends(w, m, p, node);
    }
    turn(w, m, p);
    publish(w, m, p, counts, epoch)
}

/// `Writer::publish`: everything up to `counts` is for everybody to see.
pub fn publish(
    w: &mut World,
    m: usize,
    p: &mut Process,
    counts: Serial,
    leader: Epoch,
) -> Result<(), PowerCut> {
    let Some(copy) = &mut p.copy else { return Ok(()) };
    let mut counted = Vec::new();
    while let Some(group) = copy.pending.pop_front_if(|group| group.end <= counts) {
        copy.visible = group.conf;
        let log = w.machines[m].disk.log.as_deref().unwrap_or_default();
        if let Some(entry) = log.get(group.end.0 as usize - 1) {
            w.checker.visible(entry.at, m, leader);
        }
        for (serial, wish) in group.replies {
            if let Some(entry) = log.get(serial.0 as usize - 1) {
                w.checker.acknowledged(entry.at, wish.content, entry.content);
            }
            if wish.what == What::Begin
                && let Some(leads) = &mut p.leads
            {
                leads.ready = true;
            }
            counted.push((serial, wish.what));
        }
    }
    for (serial, what) in counted.into_iter().filter(|(_, what)| *what != What::Client) {
        say!(w, "{}: serial {serial} counts: {what:?}", name(m));
    }
    settle(w, m, p, counts)
}

/// A change of the voters that counts is over.
fn settle(w: &mut World, m: usize, p: &mut Process, counts: Serial) -> Result<(), PowerCut> {
    let (Some(copy), Some(leads)) = (&p.copy, &p.leads) else { return Ok(()) };
    let Some(last) = w.machines[m].disk.last().cloned() else { return Ok(()) };
    if copy.leading.is_none() {
        return Ok(());
    }
    let settled = match w.mutation {
        Mutation::SettleEarly if copy.pending.is_empty() => last.voters.settled(),
        Mutation::SettleEarly => None,
        _ => last.voters.settled_by(last.at.serial, counts),
    };
    let Some(settled) = settled else { return Ok(()) };
    if w.machines[m].disk.full_until > w.now {
        return Ok(());
    }
    let at = Position { epoch: leads.epoch, serial: Serial(last.at.serial.0 + 1) };
    let content = w.number();
    let (conf, voters) = (last.conf.clone(), Rc::new(settled));
    stored(w, m, p, vec![Rc::new(crate::machine::Commit { at, content, conf, voters })], vec![])
}
