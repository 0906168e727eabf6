//! The side that is asked: what `replication::Replica` and noded's fence do, in the same order.

use crate::leading;
use crate::machine::{Pending, PowerCut, Process, id};
use crate::world::{Answer, Ask, Happens, Mutation, Promised, World, name, say};
use roost_masterd::replication::follower::{Follower, Verdict};
use roost_masterd::store::Position;
use roost_proto::ids::{Epoch, Serial};
use std::rc::Rc;

/// Who asks: the machine, its masterd, the number of the call.
type Asker = (usize, u64, u64);

/// What noded answers.
pub fn noded(w: &mut World, m: usize, from: usize, ask: Ask) -> Result<Answer, PowerCut> {
    if !w.machines[m].disk.listed.contains(&id(from)) {
        return Ok(Answer::Failed);
    }
    Ok(match ask {
        Ask::Vote { epoch } => {
            let seen = w.machines[m].disk.noded_epoch;
            let twice = w.mutation == Mutation::PromiseTwice && epoch == seen && epoch.0 > 0;
            let granted = epoch > seen || twice;
            if epoch > seen {
                raise_noded(w, m, epoch)?;
            }
            let disk = &w.machines[m].disk;
            Answer::Vote { granted, epoch: disk.noded_epoch, alone: disk.note.clone() }
        }
        Ask::Note { epoch, note } => {
            if !admit(w, m, epoch)? || note.epoch < w.machines[m].disk.noded_epoch {
                return Ok(Answer::Failed);
            }
            let kept = &w.machines[m].disk.note;
            if kept.as_ref().is_none_or(|kept| note.is_newer_than(kept)) {
                w.machines[m].disk.write(|disk| disk.note = Some(note))?;
            }
            Answer::Done
        }
        Ask::Command { epoch } => {
            if !admit(w, m, epoch)? {
                return Ok(Answer::Failed);
            }
            w.checker.obeys(m, epoch, w.machines[m].obeyed);
            Answer::Done
        }
        Ask::List { epoch, candidates } => {
            if !admit(w, m, epoch)? {
                return Ok(Answer::Failed);
            }
            w.machines[m].disk.write(|disk| disk.listed = candidates)?;
            Answer::Done
        }
        _ => Answer::Failed,
    })
}

fn admit(w: &mut World, m: usize, epoch: Epoch) -> Result<bool, PowerCut> {
    let seen = w.machines[m].disk.noded_epoch;
    if epoch < seen {
        return Ok(w.mutation == Mutation::NoFence);
    }
    if epoch > seen {
        raise_noded(w, m, epoch)?;
    }
    Ok(true)
}

fn raise_noded(w: &mut World, m: usize, epoch: Epoch) -> Result<(), PowerCut> {
    w.machines[m].disk.write(|disk| disk.noded_epoch = epoch)?;
    w.machines[m].obeyed = epoch;
    Ok(())
}

/// Keeps a promise of the copy; durable when it returns.
fn raise(w: &mut World, m: usize, epoch: Epoch) -> Result<(), PowerCut> {
    let forgets = w.mutation == Mutation::PromiseFromMemory;
    w.machines[m].disk.write(|disk| {
        if forgets && disk.promised_lost.is_none() {
            disk.promised_lost = Some(disk.promised);
        }
        disk.promised = disk.promised.max(epoch);
    })
}

/// What masterd does when it is asked.
pub fn masterd(
    w: &mut World,
    m: usize,
    p: &mut Process,
    asker: Asker,
    ask: Ask,
) -> Result<(), PowerCut> {
    let (from, run, rpc) = asker;
    if !w.machines[m].disk.listed.contains(&id(from)) {
        w.answer(m, from, run, rpc, Answer::Failed);
        return Ok(());
    }
    // It has another log on the disk than in memory, perhaps.
    if p.over && matches!(ask, Ask::Append { .. } | Ask::Promise { .. }) {
        w.answer(m, from, run, rpc, Answer::Failed);
        return Ok(());
    }
    let answer = match ask {
        Ask::Append { epoch, after, entries, counts } => {
            take(w, m, p, from, epoch, after, &entries, counts)?
        }
        Ask::Promise { epoch } => {
            let reply = promise(w, m, p, epoch)?;
            if reply.granted {
                say!(
                    w,
                    "{}: promises epoch {} to {}, log {:?}",
                    name(m),
                    epoch.0,
                    name(from),
                    reply.end
                );
                depose_before(w, m, p, epoch);
            }
            Answer::Promised(reply)
        }
        Ask::Fetch { epoch, end } => fetch(w, m, p, epoch, end),
        Ask::Install { epoch, log } => {
            if epoch < w.machines[m].disk.promised || depose_before(w, m, p, epoch) {
                Answer::Failed
            } else {
                // It arrives in pieces; the last one decides.
                let long = w.random.chance(200);
                let takes = w.random.range(5, if long { 20_000 } else { 2_000 });
                p.incoming.insert(rpc);
                w.schedule(takes, m, Some(p.run), Happens::Arrived { from, run, rpc, epoch, log });
                return Ok(());
            }
        }
        Ask::Retire { epoch } => {
            if epoch < w.machines[m].disk.promised {
                Answer::Failed
            } else {
                if p.copy.is_some() {
                    say!(w, "{}: drops its copy", name(m));
                    w.machines[m].disk.replace(None)?;
                    w.over(m, p, "no master candidate any more");
                }
                Answer::Done
            }
        }
        _ => Answer::Failed,
    };
    w.answer(m, from, run, rpc, answer);
    Ok(())
}

/// A promise of this machine's copy, for itself or for others.
pub fn promise(
    w: &mut World,
    m: usize,
    p: &mut Process,
    epoch: Epoch,
) -> Result<Promised, PowerCut> {
    let disk = &w.machines[m].disk;
    let end = p.copy.as_ref().and_then(|_| disk.end());
    let copy = Follower { promised: disk.promised, end };
    let twice = w.mutation == Mutation::PromiseTwice && epoch == disk.promised && end.is_some();
    let granted = epoch.0 > 0 && (copy.can_promise(epoch) || twice);
    if granted {
        if w.mutation != Mutation::CountAfterPromise
            && let Some(leads) = &mut p.leads
        {
            leads.leader.promised(epoch);
        }
        raise(w, m, epoch)?;
    }
    let lately = p.heard_lately(w.now);
    let leading = p.leads.as_ref().map(|leads| (leads.epoch, id(m)));
    let promised = w.machines[m].disk.promised;
    Ok(Promised { granted, promised, end, leader: leading.or(lately) })
}

fn depose_before(w: &mut World, m: usize, p: &mut Process, epoch: Epoch) -> bool {
    let deposed = p.leads.as_ref().is_some_and(|own| own.epoch < epoch);
    if deposed {
        w.over(m, p, "another one leads or wants to");
    }
    deposed
}

#[allow(clippy::too_many_arguments, reason = "they are what the request consists of")]
fn take(
    w: &mut World,
    m: usize,
    p: &mut Process,
    from: usize,
    epoch: Epoch,
    after: Position,
    entries: &[crate::machine::Entry],
    counts: Serial,
) -> Result<Answer, PowerCut> {
    let disk = &w.machines[m].disk;
    let end = p.copy.as_ref().and_then(|_| disk.end());
    let follower = Follower { promised: disk.promised, end };
    let verdict = match follower.judge(epoch, after) {
        Verdict::Deposed if w.mutation == Mutation::ObeyDeposed && end == Some(after) => {
            Verdict::Take { raise: false }
        }
        verdict => verdict,
    };
    if verdict == Verdict::Deposed {
        return Ok(Answer::Appended { verdict, end });
    }
    if depose_before(w, m, p, epoch) {
        return Ok(Answer::Failed);
    }
    p.heard = Some((epoch, id(from), w.now));
    let higher = match verdict {
        Verdict::Take { raise } => raise,
        _ => return Ok(Answer::Appended { verdict, end }),
    };
    if higher {
        raise(w, m, epoch)?;
    }
    if !append(w, m, p, entries, counts, epoch)? {
        return Ok(Answer::Failed);
    }
    let end = w.machines[m].disk.end();
    Ok(Answer::Appended { verdict, end })
}

/// `Writer::append`: `false` if it cannot be.
pub fn append(
    w: &mut World,
    m: usize,
    p: &mut Process,
    entries: &[crate::machine::Entry],
    counts: Serial,
    leader: Epoch,
) -> Result<bool, PowerCut> {
    let Some(copy) = &mut p.copy else { return Ok(false) };
    if copy.leading.is_some() {
        return Ok(false);
    }
    let Some(mut have) = w.machines[m].disk.end() else { return Ok(false) };
    for entry in entries {
        if entry.at.serial.0 != have.serial.0 + 1 || entry.at.epoch < have.epoch {
            return Ok(false);
        }
        have = entry.at;
    }
    if !entries.is_empty() {
        if w.machines[m].disk.full_until > w.now {
            return Ok(false);
        }
        w.machines[m].disk.append(entries, w.mutation)?;
    }
    for entry in entries {
        let (end, conf) = (entry.at.serial, entry.conf.clone());
        copy.pending.push_back(Pending { end, conf, replies: vec![] });
    }
    leading::publish(w, m, p, counts, leader)?;
    Ok(true)
}

fn fetch(w: &mut World, m: usize, p: &Process, epoch: Epoch, end: Position) -> Answer {
    let disk = &w.machines[m].disk;
    let Some(log) = disk.log.as_ref().filter(|_| p.copy.is_some()) else { return Answer::Failed };
    if epoch != disk.promised {
        return Answer::Failed;
    }
    let near = (log.len() as u64).saturating_sub(end.serial.0) <= w.retain;
    match disk.epoch_of(end.serial) == Some(end.epoch) && near {
        true => Answer::Rest(log[end.serial.0 as usize..].to_vec()),
        false => Answer::Whole(Rc::new(log.clone())),
    }
}

/// The last piece of a whole log is here: it takes the old one's place.
pub fn arrived(
    w: &mut World,
    m: usize,
    p: &mut Process,
    (from, run, rpc): Asker,
    epoch: Epoch,
    log: &[crate::machine::Entry],
) -> Result<(), PowerCut> {
    if !p.incoming.remove(&rpc) {
        return Ok(());
    }
    let unchecked = w.mutation == Mutation::InstallUnchecked;
    if (epoch < w.machines[m].disk.promised || p.leads.is_some()) && !unchecked {
        w.answer(m, from, run, rpc, Answer::Failed);
        return Ok(());
    }
    if w.machines[m].disk.full_until > w.now {
        w.answer(m, from, run, rpc, Answer::Failed);
        return Ok(());
    }
    if !unchecked {
        raise(w, m, epoch)?;
    }
    w.machines[m].disk.replace(Some(log.to_vec()))?;
    say!(
        w,
        "{}: a whole log from {} is in place, ends at {:?}",
        name(m),
        name(from),
        log.last().map(|e| e.at)
    );
    w.over(m, p, "a new copy has arrived");
    w.answer(m, from, run, rpc, Answer::Done);
    Ok(())
}
