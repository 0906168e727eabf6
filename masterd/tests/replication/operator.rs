//! A run: faults and wishes by chance, then calm, in which everything must come right.

use crate::checker::Stats;
use crate::electing::{self, Aim};
use crate::leading;
use crate::machine::{At, PowerCut, Process, What, Wish, id, ix};
use crate::random::Random;
use crate::world::{Ask, Happens, Mutation, Net, Waits, World, end, name, names, say};
use roost_proto::ids::{Epoch, NodeId};
use std::collections::BTreeSet;

/// How long everything may take to come right when the faults have ended.
const RECOVERY: At = 150_000;
const COMMAND: At = 4_000;

/// Why a run failed.
#[derive(Debug)]
pub struct Failure {
    pub why: String,
    pub history: String,
}

/// What the operator of a run does.
#[derive(Debug)]
struct Habits {
    /// Gives --no-voting and --accept-loss.
    flags: bool,
    /// Declares nodes offline.
    declares: bool,
    /// Changes the candidates.
    candidates: bool,
    /// Logs are damaged.
    damage: bool,
    /// What happens more often than anything else.
    often: Often,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Often {
    Anything,
    Failovers,
    Candidates,
    PowerCuts,
    Partitions,
    Crashes,
}

/// One run. `history`: writes down what happens.
pub fn run(seed: u64, mutation: Mutation, history: bool) -> Result<Stats, Failure> {
    let mut random = Random::new(seed);
    let mut count = *random.pick(&[1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7]);
    let mut candidates = (*random.pick(&[1, 2, 2, 2, 3, 3, 3, 4, 5, 5])).min(count);
    let mut habits = Habits {
        flags: random.chance(150),
        declares: random.chance(300),
        candidates: random.chance(500),
        damage: random.chance(400),
        often: *random.pick(&[
            Often::Anything,
            Often::Failovers,
            Often::Candidates,
            Often::PowerCuts,
            Often::Partitions,
            Often::Crashes,
        ]),
    };
    if let Some((often, of)) = focus(mutation) {
        (count, candidates) = (3, of);
        habits.often = often;
        (habits.flags, habits.declares, habits.damage) = (false, false, false);
        habits.candidates = mutation == Mutation::SettleEarly;
    }
    let faults = random.range(40_000, 300_000);
    let mut w = World::new(random, count, candidates, mutation, history);
    say!(w, "seed {seed}: {count} machines, {candidates} candidates, {habits:?}, {mutation:?}");
    let until = w.now + faults;
    while w.now < until {
        // Much may come at once.
        let pause = if w.random.chance(300) { 40 } else { 900 };
        let pause = w.random.range(1, pause);
        let next = w.now + pause;
        while w.step(next) && w.checker.violation.is_none() {}
        if w.checker.violation.is_some() {
            return failed(w);
        }
        act(&mut w, &habits);
    }
    calm(&mut w);
    if w.checker.violation.is_some() {
        return failed(w);
    }
    Ok(w.checker.stats)
}

/// Where rules matter only now and then, what makes them matter is done more often, with so many
/// candidates of three machines.
fn focus(mutation: Mutation) -> Option<(Often, usize)> {
    match mutation {
        Mutation::PromiseFromMemory => Some((Often::PowerCuts, 3)),
        Mutation::ObeyDeposed | Mutation::SkipFirst => Some((Often::Partitions, 3)),
        Mutation::SettleEarly => Some((Often::Crashes, 2)),
        Mutation::InstallUnchecked | Mutation::LeadThoughPromised => Some((Often::Failovers, 3)),
        _ => None,
    }
}

fn failed(w: World) -> Result<Stats, Failure> {
    let lines = std::env::var("LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let why = w.checker.violation.clone().unwrap_or_default();
    let declared = w.checker.declared_text();
    let why = if declared.is_empty() { why } else { format!("{why} (declared down: {declared})") };
    Err(Failure { why, history: w.history(lines) })
}

/// Does something to the masterd of a machine.
fn with(
    w: &mut World,
    m: usize,
    work: impl FnOnce(&mut World, &mut Process) -> Result<(), PowerCut>,
) {
    if w.machines[m].frozen {
        return;
    }
    let Some(mut p) = w.machines[m].process.take() else { return };
    let result = work(w, &mut p);
    w.machines[m].process = Some(p);
    if result.is_err() {
        w.breaks(m);
    }
}

fn leaders(w: &World) -> Vec<usize> {
    let leads = |m: &usize| {
        let process = w.machines[*m].process.as_ref();
        process.is_some_and(|p| p.leads.as_ref().is_some_and(|leads| leads.ready))
    };
    (0..w.machines.len()).filter(leads).collect()
}

fn wish(w: &mut World, m: usize, what: What) {
    with(w, m, |w, p| {
        let content = w.number();
        leading::commit(w, m, p, Wish { content, what })
    });
}

/// A job of the leader commands all nodes.
fn command(w: &mut World, m: usize) {
    with(w, m, |w, p| {
        let (Some(leads), Some(copy)) = (&p.leads, &p.copy) else { return Ok(()) };
        let (epoch, nodes) = (leads.epoch, copy.visible.online());
        for node in nodes {
            w.call(m, p, node, Ask::Command { epoch }, Waits::Command, COMMAND);
        }
        Ok(())
    });
}

fn act(w: &mut World, habits: &Habits) {
    let count = w.machines.len();
    let m = w.random.below(count);
    let leaders = leaders(w);
    let leader = if leaders.is_empty() { None } else { Some(*w.random.pick(&leaders)) };
    let often = w.random.chance(350);
    // With whatever happens often also comes what makes it tell.
    let failover = w.random.chance(300);
    let action = match habits.often {
        Often::Anything => w.random.below(100),
        _ if !often => w.random.below(100),
        Often::Failovers => 80,
        _ if failover => 80,
        Often::Candidates => 90,
        Often::PowerCuts => *w.random.pick(&[46, 46, 50, 58, 65]),
        Often::Partitions => *w.random.pick(&[58, 58, 65]),
        Often::Crashes => *w.random.pick(&[40, 46]),
    };
    match action {
        0..36 => {
            for leader in leaders {
                for _ in 0..w.random.range(1, 4) {
                    wish(w, leader, What::Client);
                }
            }
        }
        36..40 => leaders.into_iter().for_each(|leader| command(w, leader)),
        40..46 => {
            say!(w, "{}: masterd is killed", name(m));
            w.kill(m);
            starts_in(w, m, 100, 8_000);
        }
        46..50 => {
            say!(w, "{}: power cut", name(m));
            w.power_off(m);
            let quick = w.random.chance(500);
            starts_in(w, m, 50, if quick { 500 } else { 20_000 });
        }
        50..54 => {
            let cut = (w.random.range(0, 5) as u32, w.random.chance(500));
            w.machines[m].disk.cut_in = Some(cut);
        }
        54..58 => freeze(w, m),
        58..65 => partition(w, m),
        65..71 => {
            say!(w, "network heals");
            w.cut.clear();
        }
        71..73 => {
            let chance = |w: &mut World, of: &[u64]| *w.random.pick(of);
            w.net = Net {
                loss: chance(w, &[0, 0, 10, 80]),
                repeat: chance(w, &[0, 10, 100]),
                slow: chance(w, &[0, 0, 20, 200]),
            };
        }
        73..74 => w.machines[m].wall += w.random.range(0, 200_000_000) as i64 - 100_000_000,
        74..86 => {
            let flags = habits.flags && w.random.chance(500);
            let accept_loss = flags && w.random.chance(700);
            let no_voting = flags && w.random.chance(600);
            with(w, m, |w, p| {
                electing::failover(w, m, p, Aim::Failover { no_voting, accept_loss })
            });
        }
        86..88 => w.machines[m].disk.full_until = w.now + w.random.range(500, 8_000),
        88..90 if habits.damage => damage(w, m),
        90..94 if habits.candidates => {
            if let Some(leader) = leader {
                let some = w.random.range(1, 4);
                let nodes: BTreeSet<_> = (0..some).map(|_| id(w.random.below(count))).collect();
                say!(w, "operator: flips candidates {} on {}", names(&nodes), name(leader));
                wish(w, leader, What::Flip(nodes.into_iter().collect()));
            }
        }
        94..97 if habits.declares => {
            if let Some(leader) = leader {
                offline(w, leader, id(m));
            }
        }
        97..99 if habits.declares => {
            if let Some(leader) = leader {
                wish(w, leader, What::Online(id(m)));
            }
        }
        _ => {}
    }
}

fn starts_in(w: &mut World, m: usize, low: At, high: At) {
    let after = w.random.range(low, high);
    w.schedule(after, m, None, Happens::Start);
}

fn freeze(w: &mut World, m: usize) {
    if !w.machines[m].powered || w.machines[m].process.is_none() {
        return;
    }
    say!(w, "{}: is frozen", name(m));
    w.machines[m].frozen = true;
    w.machines[m].noded_frozen = w.random.chance(300);
    let after = *w.random.pick(&[1_500, 5_000, 15_000, 40_000]);
    w.schedule(after, m, None, Happens::Thaw);
}

fn partition(w: &mut World, m: usize) {
    let count = w.machines.len();
    let other = w.random.below(count);
    if other != m && w.random.chance(300) {
        // Others still reach both.
        say!(w, "network: {} and {} do not reach each other", name(m), name(other));
        w.cut.extend([(m, other), (other, m)]);
        return;
    }
    let apart: BTreeSet<usize> = match w.random.below(3) {
        0 => (0..count).filter(|_| w.random.chance(500)).collect(),
        _ => BTreeSet::from([m]),
    };
    let (to, from) = *w.random.pick(&[(true, true), (true, true), (true, false), (false, true)]);
    for a in &apart {
        for b in (0..count).filter(|b| !apart.contains(b)) {
            if to {
                w.cut.insert((b, *a));
            }
            if from {
                w.cut.insert((*a, b));
            }
        }
    }
    let text: String = apart.iter().map(|m| name(*m)).collect();
    say!(w, "network: {text} apart (to them {to}, from them {from})");
}

/// A log is found damaged, if the others still have everything.
fn damage(w: &mut World, m: usize) {
    let newest = w.machines.iter().filter_map(|machine| machine.disk.last());
    let Some(voters) = newest.max_by_key(|last| last.at).map(|last| last.voters.clone()) else {
        return;
    };
    let good = |node: &&NodeId| {
        let disk = &w.machines[ix(**node)].disk;
        **node != id(m) && disk.log.as_ref().is_some_and(|log| w.checker.has_all(log))
    };
    let alone = w.machines.iter().any(|x| x.disk.note.as_ref().is_some_and(|note| note.alone));
    let bearable = !w.checker.split()
        && voters.sets().len() == 1
        && voters.sets().iter().all(|set| {
            let left = set.iter().filter(good).count();
            left > set.len() / 2 || (set.len() == 2 && left == 1 && !alone)
        });
    if bearable && w.machines[m].disk.log.is_some() && !w.machines[m].frozen {
        say!(w, "{}: its log is damaged", name(m));
        w.kill(m);
        w.machines[m].disk.log = None;
        w.machines[m].disk.synced = 0;
        starts_in(w, m, 100, 8_000);
    }
}

/// `gnt-node modify --offline yes`: the leader is told, then the configuration.
fn offline(w: &mut World, leader: usize, node: NodeId) {
    with(w, leader, |w, p| {
        let (Some(leads), Some(copy)) = (&mut p.leads, &p.copy) else { return Ok(()) };
        let voter =
            copy.visible.candidates.contains(&node) && !copy.visible.offline.contains(&node);
        match leads.leader.exclude(node, w.now) {
            Some(counts) => {
                say!(w, "operator: {} is down, on {}", name(ix(node)), name(leader));
                w.checker.declares(node);
                leading::told(w, leader, p, counts)?;
            }
            None if voter => return Ok(()),
            None => {}
        }
        let content = w.number();
        leading::commit(w, leader, p, Wish { content, what: What::Offline(node) })
    });
}

/// The faults end; everything must come right, with an operator who knows what to do.
fn calm(w: &mut World) {
    say!(w, "the faults end");
    w.cut.clear();
    w.net = Net::default();
    let began = w.now;
    for m in 0..w.machines.len() {
        w.machines[m].disk.cut_in = None;
        w.machines[m].disk.full_until = 0;
        w.schedule(0, m, None, Happens::Thaw);
        w.power_on(m);
        if let Some(leads) = w.machines[m].process.as_mut().and_then(|p| p.leads.as_mut()) {
            leads.obeyed.clear();
        }
    }
    let (mut without, mut why) = (0, String::new());
    while w.now < began + RECOVERY {
        let next = w.now + w.random.range(800, 1_200);
        while w.step(next) && w.checker.violation.is_none() {}
        if w.checker.violation.is_some() {
            return;
        }
        match all_is_well(w) {
            Ok(log) => {
                w.checker.ends(&log);
                w.checker.stats.recovery = w.now - began;
                return;
            }
            Err(error) => {
                why = error;
                let leaders = leaders(w);
                if w.now > began + 60_000 && w.checker.stats.restarted == 0 {
                    restart_refused(w);
                }
                without = if leaders.is_empty() { without + 1 } else { 0 };
                for leader in leaders {
                    wish(w, leader, What::Client);
                    command(w, leader);
                    let offline =
                        w.machines[leader].disk.last().map(|last| last.conf.offline.clone());
                    for node in offline.unwrap_or_default() {
                        wish(w, leader, What::Online(node));
                    }
                }
                if w.now > began + 30_000 {
                    readd(w);
                }
                if without >= 8 && without % 3 == 0 {
                    let m = (without / 3) % w.machines.len();
                    // The one way out the product has, when new voters got no copy in time.
                    let stuck = without > 40 && voters_without_copies(w);
                    w.checker.stats.stuck |= u64::from(stuck);
                    // Who has forced a master has to say which of two is to be given up.
                    let forced = without > 60 && w.checker.stats.forced > 0;
                    let aim = Aim::Failover { no_voting: stuck, accept_loss: stuck || forced };
                    with(w, m, |w, p| electing::failover(w, m, p, aim));
                }
            }
        }
    }
    let ends: Vec<_> = (0..w.machines.len()).map(|m| (name(m), end(w, m))).collect();
    w.checker.fails(format!("long after the faults: {why}; logs end at {ends:?}"));
}

/// `gnt-node add --readd`: a node that slept while candidates changed may not know the one who
/// leads now, and nobody it knows can tell it.
fn readd(w: &mut World) {
    let newest = w.machines.iter().filter_map(|machine| machine.disk.last());
    let Some(conf) = newest.max_by_key(|last| last.at).map(|last| last.conf.clone()) else {
        return;
    };
    for m in 0..w.machines.len() {
        if !w.machines[m].disk.listed.is_superset(&conf.candidates) {
            say!(w, "operator: adds {} again", name(m));
            w.machines[m].disk.listed = conf.candidates.clone();
            w.checker.stats.readded += 1;
        }
    }
}

/// A node may have promised its epoch to somebody who was not elected after all, and refuses the
/// master that leads: masterd there is to be started again, and asks for a newer epoch.
fn restart_refused(w: &mut World) {
    for leader in leaders(w) {
        let epoch = w.machines[leader].process.as_ref().and_then(|p| Some(p.leads.as_ref()?.epoch));
        if w.machines.iter().any(|machine| Some(machine.disk.noded_epoch) > epoch) {
            say!(w, "operator: starts masterd on {} again", name(leader));
            w.checker.stats.restarted += 1;
            w.kill(leader);
            starts_in(w, leader, 100, 200);
        }
    }
}

/// Of a set of voters most have no copy (yet): without flags nobody can be elected any more.
fn voters_without_copies(w: &World) -> bool {
    let newest = w.machines.iter().filter_map(|machine| machine.disk.last());
    newest.max_by_key(|last| last.at).is_some_and(|last| {
        let has_one = |node: &&NodeId| w.machines[ix(**node)].disk.log.is_some();
        let few = |set: &BTreeSet<_>| set.iter().filter(has_one).count() <= set.len() / 2;
        last.voters.sets().iter().any(few)
    })
}

/// All copies are level, clients and nodes are served, nobody is alone. Returns the leader's log.
fn all_is_well(w: &World) -> Result<Vec<crate::machine::Entry>, String> {
    let mut found: Option<(Epoch, usize)> = None;
    for m in 0..w.machines.len() {
        let leads = w.machines[m].process.as_ref().and_then(|p| p.leads.as_ref());
        if let Some(leads) = leads {
            if found.is_some() {
                return Err("two lead".into());
            }
            if !leads.ready {
                return Err(format!("{} cannot make its first change count", name(m)));
            }
            found = Some((leads.epoch, m));
        }
    }
    let Some((_, m)) = found else { return Err("nobody leads".into()) };
    let disk = &w.machines[m].disk;
    let Some(p) = &w.machines[m].process else { return Err("nobody leads".into()) };
    let (Some(leads), Some(last)) = (&p.leads, disk.last()) else { return Err("no log".into()) };
    if leads.leader.counts() != last.at.serial {
        return Err(format!("changes on {} wait", name(m)));
    }
    if last.voters.sets().len() > 1 || *last.voters.newest() != last.conf.wanted() {
        return Err("the change of the voters has not ended".into());
    }
    for node in last.voters.newest() {
        if w.machines[ix(*node)].disk.end() != disk.end() {
            return Err(format!("the copy on {} is not level", name(ix(*node))));
        }
    }
    if !last.conf.offline.is_empty() {
        return Err("nodes are offline".into());
    }
    if let Some(node) = last.conf.nodes.difference(&leads.obeyed).next() {
        return Err(format!("{} does not obey {}", name(ix(*node)), name(m)));
    }
    let notes = w.machines.iter().filter_map(|machine| machine.disk.note.as_ref());
    let newest = notes.max_by_key(|note| (note.epoch, note.round));
    if let Some(note) = newest
        && last.voters.newest().len() > 1
        // Who has no say any more may be kept out for ever.
        && (note.without.is_empty() || !note.without.is_disjoint(last.voters.newest()))
    {
        let kept = w.machines.iter().filter(|x| x.disk.note.as_ref() == Some(note)).count();
        // A majority without any of those is none.
        if note.alone || kept * 2 < w.machines.len() {
            return Err(format!("the note of {} still counts", name(ix(note.master))));
        }
    }
    Ok(disk.log.clone().unwrap_or_default())
}
