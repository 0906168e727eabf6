//! Becoming the master: what `replication::Election` and `role::Embedded` do, step by step.

use crate::leading::{self, Leadership};
use crate::machine::{At, Conf, PowerCut, Process, What, Wish, id};
use crate::replica;
use crate::world::{Answer, Ask, Happens, Mutation, Waits, World, name, names, say};
use roost_masterd::replication::ballot::{Ballot, CopySays, Count, NodeSays};
use roost_masterd::replication::leader::Leader;
use roost_proto::ids::{Epoch, NodeId, Serial};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

const ANSWER: At = 4_000;
const FETCH: At = 60_000;
const AGAIN: At = 1_000;
const FIRST_COMMIT: At = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Restart,
    Failover { no_voting: bool, accept_loss: bool },
}

#[derive(Debug)]
pub struct Election {
    aim: Aim,
    /// The epoch it asks everybody to promise; `None`: it only asks.
    epoch: Option<Epoch>,
    conf: Rc<Conf>,
    ballot: Ballot,
    waits: BTreeSet<u64>,
    fetches: bool,
    /// A majority of the nodes answered when it chose the epoch.
    backed: bool,
    /// The operator's flags were needed.
    forced: bool,
}

/// `Embedded::run`: the master leads again if it may.
pub fn again(w: &mut World, m: usize, p: &mut Process) -> Result<(), PowerCut> {
    if p.leads.is_some() {
        return Ok(());
    }
    w.schedule(AGAIN, m, Some(p.run), Happens::Again);
    let Some(copy) = &p.copy else { return Ok(()) };
    let other = p.heard_lately(w.now).is_some_and(|(_, node)| node != id(m));
    if p.election.is_some() || copy.visible.master != id(m) || other {
        return Ok(());
    }
    begins(w, m, p, Aim::Restart)
}

/// The operator wants this machine to lead; refused if it leads, is at it, or is no candidate.
pub fn failover(w: &mut World, m: usize, p: &mut Process, aim: Aim) -> Result<(), PowerCut> {
    let Some(copy) = &p.copy else { return Ok(()) };
    if p.leads.is_some() || p.election.is_some() || !copy.visible.candidates.contains(&id(m)) {
        return Ok(());
    }
    say!(w, "operator: master-failover on {}, {aim:?}", name(m));
    begins(w, m, p, aim)
}

fn begins(w: &mut World, m: usize, p: &mut Process, aim: Aim) -> Result<(), PowerCut> {
    let (Some(copy), Some(last)) = (&p.copy, w.machines[m].disk.last()) else { return Ok(()) };
    let ballot = Ballot {
        me: id(m),
        voters: (*last.voters).clone(),
        nodes: BTreeSet::new(),
        copies: BTreeMap::new(),
        said: BTreeMap::new(),
    };
    let conf = copy.visible.clone();
    let waits = BTreeSet::new();
    p.election = Some(Election {
        aim,
        epoch: None,
        conf,
        ballot,
        waits,
        fetches: false,
        backed: false,
        forced: false,
    });
    ask(w, m, p, None)
}

fn ask(w: &mut World, m: usize, p: &mut Process, epoch: Option<Epoch>) -> Result<(), PowerCut> {
    let Some(voters) = w.machines[m].disk.last().map(|last| last.voters.clone()) else {
        p.election = None;
        return Ok(());
    };
    let Some(election) = &p.election else { return Ok(()) };
    let mut nodes = election.conf.online();
    nodes.insert(id(m));
    let number = epoch.unwrap_or_default();
    let mut ballot = Ballot {
        me: id(m),
        nodes: nodes.clone(),
        copies: BTreeMap::new(),
        said: BTreeMap::new(),
        voters: (*voters).clone(),
    };
    let mut waits = BTreeSet::new();
    let known = election.conf.nodes.clone();
    for node in voters.all().into_iter().filter(|node| *node != id(m) && known.contains(node)) {
        let ask = Ask::Promise { epoch: number };
        waits.insert(w.call(m, p, node, ask, Waits::ElectionCopy(node), ANSWER));
    }
    for node in nodes {
        let ask = Ask::Vote { epoch: number };
        waits.insert(w.call(m, p, node, ask, Waits::ElectionNode(node), ANSWER));
    }
    let own = replica::promise(w, m, p, number)?;
    ballot.copies.extend(worth(own, epoch).map(|says| (id(m), says)));
    if let Some(election) = &mut p.election {
        (election.epoch, election.ballot, election.waits) = (epoch, ballot, waits);
    }
    Ok(())
}

/// What a copy's answer is worth: nothing without a log, or if it refused to promise.
fn worth(reply: crate::world::Promised, epoch: Option<Epoch>) -> Option<CopySays> {
    let end = reply.end?;
    let says = CopySays { promised: reply.promised, end, leader: reply.leader };
    (epoch.is_none() || reply.granted).then_some(says)
}

pub fn copy_says(
    w: &mut World,
    m: usize,
    p: &mut Process,
    rpc: u64,
    node: NodeId,
    answer: Answer,
) -> Result<(), PowerCut> {
    let Some(election) = p.election.as_mut().filter(|e| e.waits.contains(&rpc)) else {
        return Ok(());
    };
    if let Answer::Promised(reply) = answer {
        election.ballot.copies.extend(worth(reply, election.epoch).map(|says| (node, says)));
    }
    answered(w, m, p, rpc)
}

pub fn node_says(
    w: &mut World,
    m: usize,
    p: &mut Process,
    rpc: u64,
    node: NodeId,
    answer: Answer,
) -> Result<(), PowerCut> {
    let ignores = w.mutation == Mutation::IgnoreNotes;
    let Some(election) = p.election.as_mut().filter(|e| e.waits.contains(&rpc)) else {
        return Ok(());
    };
    if let Answer::Vote { granted, epoch, alone } = answer
        && (election.epoch.is_none() || granted)
    {
        let alone = alone.filter(|_| !ignores);
        election.ballot.said.insert(node, NodeSays { epoch, alone });
    }
    answered(w, m, p, rpc)
}

fn answered(w: &mut World, m: usize, p: &mut Process, rpc: u64) -> Result<(), PowerCut> {
    let Some(election) = &mut p.election else { return Ok(()) };
    election.waits.remove(&rpc);
    if !election.waits.is_empty() {
        return Ok(());
    }
    let count = election.ballot.count();
    let other = election.ballot.other_leader();
    if election.epoch.is_none() && election.aim == Aim::Restart && other.is_some() {
        p.election = None;
        return Ok(());
    }
    match judge(&count, election.aim) {
        Some(forced) => election.forced |= forced,
        None => {
            say!(
                w,
                "{}: may not lead ({:?}): copies missing {}, nodes missing {}, note {:?}",
                name(m),
                election.epoch,
                names(&count.copies_missing),
                names(&count.nodes_missing),
                count.may_lose
            );
            p.election = None;
            return Ok(());
        }
    }
    let end = w.machines[m].disk.end().unwrap_or_default();
    let chosen = count.epoch(id(m)).max(Epoch(end.epoch.0 + 1));
    let Some(epoch) = election.epoch else {
        election.backed = count.backed;
        return ask(w, m, p, Some(chosen));
    };
    if election.backed && !count.backed {
        election.backed = false;
        return ask(w, m, p, Some(chosen));
    }
    let Some((best, holder)) = count.best else {
        p.election = None;
        return Ok(());
    };
    if best > end {
        election.fetches = true;
        w.call(m, p, holder, Ask::Fetch { epoch, end }, Waits::Fetch, FETCH);
        return Ok(());
    }
    won(w, m, p)
}

/// `Election::judge`: `None`: it may not lead; else whether the operator's flags were needed.
fn judge(count: &Count, aim: Aim) -> Option<bool> {
    let (no_voting, accept_loss) = match aim {
        Aim::Restart => (false, false),
        Aim::Failover { no_voting, accept_loss } => (no_voting, accept_loss),
    };
    let lose = count.may_lose.is_none() || accept_loss;
    let nodes = count.nodes_missing.is_empty() || no_voting;
    let copies = count.copies_missing.is_empty()
        || (accept_loss && count.may_lose.is_some())
        || (no_voting && accept_loss);
    (lose && nodes && copies).then_some(!count.is_enough())
}

/// What lacked is here, or not.
pub fn fetched(w: &mut World, m: usize, p: &mut Process, answer: Answer) -> Result<(), PowerCut> {
    let Some(election) = p.election.as_ref().filter(|election| election.fetches) else {
        return Ok(());
    };
    let epoch = election.epoch.unwrap_or_default();
    match answer {
        Answer::Rest(entries) => {
            for entry in entries {
                if !replica::append(w, m, p, &[entry], Serial(0), epoch)? {
                    p.election = None;
                    return Ok(());
                }
            }
        }
        Answer::Whole(log) => {
            let unchecked = w.mutation == Mutation::InstallUnchecked;
            if w.machines[m].disk.promised == epoch || unchecked {
                w.machines[m].disk.replace(Some(log.to_vec()))?;
                w.over(m, p, "a whole log was fetched");
            }
            p.election = None;
            return Ok(());
        }
        _ => {
            p.election = None;
            return Ok(());
        }
    }
    let Some(last) = w.machines[m].disk.last().cloned() else { return Ok(()) };
    let Some(election) = &p.election else { return Ok(()) };
    let moved = *last.voters != election.ballot.voters;
    if moved || (election.aim == Aim::Restart && last.conf.master != id(m)) {
        p.election = None;
        return Ok(());
    }
    won(w, m, p)
}

fn won(w: &mut World, m: usize, p: &mut Process) -> Result<(), PowerCut> {
    let Some(election) = p.election.take() else { return Ok(()) };
    let Some(last) = w.machines[m].disk.last().cloned() else { return Ok(()) };
    let epoch = election.epoch.unwrap_or_default();
    if p.over {
        return Ok(());
    }
    if w.machines[m].disk.promised != epoch && w.mutation != Mutation::LeadThoughPromised {
        say!(w, "{}: has promised another epoch meanwhile", name(m));
        return Ok(());
    }
    let notes = election.ballot.said.values().filter_map(|says| says.alone.clone());
    let note = notes.max_by_key(|note| (note.epoch, note.round));
    let lacks: BTreeSet<_> = note.iter().flat_map(|note| note.without.iter().copied()).collect();
    let mine = note.as_ref().is_some_and(|note| note.alone && note.master == id(m));
    let mine = mine && !lacks.is_disjoint(&last.voters.all());
    let began = if mine { w.now.saturating_sub(w.alone_after) } else { w.now };
    let (written, voters) = (last.at.serial, (*last.voters).clone());
    let leader = match w.mutation {
        Mutation::SkipFirst => {
            let mut leader =
                Leader::new(id(m), epoch, Serial(0), voters.clone(), w.alone_after, began);
            leader.wrote(written, voters);
            leader
        }
        _ => Leader::new(id(m), epoch, written, voters, w.alone_after, began),
    };
    let leader = leader.while_lacking(lacks.clone());
    let forgets = w.mutation == Mutation::ForgetNotes && lacks.is_empty();
    let noted = forgets.then(|| (lacks, last.conf.online()));
    let failover = election.aim != Aim::Restart;
    let give_up = failover.then_some(w.now + FIRST_COMMIT);
    say!(
        w,
        "{}: LEADS in epoch {} with serial {} of epoch {}, by copies {} and nodes {}{}",
        name(m),
        epoch.0,
        written.0,
        last.at.epoch.0,
        names(election.ballot.copies.keys()),
        names(election.ballot.said.keys()),
        if election.forced { ", FORCED" } else { "" }
    );
    let log = w.machines[m].disk.log.clone().unwrap_or_default();
    let electors =
        election.ballot.copies.keys().chain(election.ballot.said.keys()).copied().collect();
    let nodes = &election.ballot.nodes;
    let obey =
        nodes.iter().filter(|n| w.machines[crate::machine::ix(**n)].disk.noded_epoch >= epoch);
    let fenced = obey.count() > nodes.len() / 2 || last.voters.all() == [id(m)].into();
    w.checker.won(m, epoch, log, election.forced, electors, fenced);
    p.leads = Some(Leadership::new(leader, noted, give_up));
    if let Some(copy) = &mut p.copy {
        copy.leading = Some(epoch);
    }
    let content = w.number();
    leading::tick(w, m, p)?;
    leading::commit(w, m, p, Wish { content, what: What::Begin })
}
