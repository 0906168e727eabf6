//! A random walk over placements that cools down: simulated annealing.
//!
//! ```text
//!   home: as the instances are ──► away: at most `most` of them, each one move from home
//!
//!   a proposal:  one goes somewhere (from home, or from where it went before)
//!                one goes home, and at the limit another leaves instead
//!   taken:       if it makes the score less; else with a probability that falls with the heat
//! ```
//!
//! Only the end counts: in which order the moves can be made is found out afterwards. The walk is repeated
//! exactly for the same seed.
//! Source: Kirkpatrick, Gelatt, Vecchi, "Optimization by Simulated Annealing", Science 220 (1983).

use super::super::Options;
use super::super::menu::Menu;
use super::super::trial::breaks_redundancy;
use crate::model::{InstanceIdx, NodeIdx};
use crate::moves::Kind;
use crate::score::Scorer;
use crate::state::{Outcome, Placement, Seat};
use fastrand::Rng;
use std::collections::HashSet;

/// A gain smaller than this is rounding.
const NOTHING: f64 = 1e-9;
/// After so many changes the sums are computed anew: rounding adds up.
const FRESH: usize = 4096;

/// Of so many that could leave instead of one that goes home, the best is looked at.
const TRIES: usize = 3;

/// How a walk goes.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub seed: u64,
    /// Placements weighed.
    pub rounds: usize,
    /// Heat at the beginning and at the end, in units of the score.
    pub heat: (f64, f64),
}

/// A placement as a list of what is not at home.
#[derive(Clone, Debug, Default)]
pub struct Away {
    pub seats: Vec<(InstanceIdx, Kind)>,
    /// With what copying costs.
    pub cost: f64,
}

/// See the module.
pub struct Walk<'o> {
    options: &'o Options,
    start: (Placement, Scorer),
    placement: Placement,
    scorer: Scorer,
    /// By instance: where it began, and what may be done with it.
    home: Vec<Seat>,
    menus: Vec<Menu>,
    movable: Vec<InstanceIdx>,
    targets: Vec<NodeIdx>,
    /// By instance: its place in `away`, if it is.
    place: Vec<Option<u32>>,
    away: Vec<(InstanceIdx, Kind)>,
    most: usize,
    /// MiB to be copied.
    copied: i64,
    cost: f64,
    best: Away,
    changes: usize,
    weighed: usize,
    /// Moves that could not be made in any order.
    barred: HashSet<(InstanceIdx, Kind)>,
    out: Outcome,
}

impl<'o> Walk<'o> {
    /// From home, with at most `most` instances away at any time.
    pub fn new(
        start: &Placement,
        scorer: Scorer,
        movable: &[InstanceIdx],
        targets: &[NodeIdx],
        most: usize,
        options: &'o Options,
    ) -> Walk<'o> {
        let all = || (0..start.cluster().instances.len()).map(InstanceIdx::of);
        let menus: Vec<Menu> = all().map(|at| Menu::of(start, options, at)).collect();
        let useful = |at: &InstanceIdx| !menus[at.at()].is_empty();
        let cost = scorer.now();
        Walk {
            options,
            start: (start.clone(), scorer.clone()),
            scorer,
            home: all().map(|at| Seat::of(start, at)).collect(),
            movable: movable.iter().copied().filter(useful).collect(),
            targets: targets.to_vec(),
            place: vec![None; start.cluster().instances.len()],
            away: vec![],
            most,
            copied: 0,
            cost,
            best: Away { seats: vec![], cost },
            changes: 0,
            weighed: 0,
            barred: HashSet::new(),
            out: Outcome::default(),
            menus,
            placement: start.clone(),
        }
    }

    /// Begins with these away, and no others. Those that do not fit stay at home.
    pub fn begin_with(&mut self, seats: &[(InstanceIdx, Kind)]) {
        (self.placement, self.scorer) = self.start.clone();
        self.place.fill(None);
        self.away.clear();
        (self.copied, self.cost) = (0, self.scorer.now());
        self.best = Away { seats: vec![], cost: f64::INFINITY };
        for (instance, kind) in seats.iter().take(self.most) {
            if let Some(cost) = self.weigh(*instance, Some(*kind)) {
                self.take(*instance, Some(*kind), cost);
            }
        }
        self.remember();
    }

    /// These are not done any more.
    pub fn bar(&mut self, moves: &[(InstanceIdx, Kind)]) {
        self.barred.extend(moves);
    }

    /// The best placement since it began.
    pub fn best(&self) -> &Away {
        &self.best
    }

    /// Walks.
    pub fn go(&mut self, course: Course) {
        if self.movable.is_empty() || self.most == 0 {
            return;
        }
        let mut rng = Rng::with_seed(course.seed);
        let (from, to) = course.heat;
        let cooling = (to / from).ln();
        self.weighed = 0;
        while self.weighed < course.rounds {
            let heat = from * (cooling * self.weighed as f64 / course.rounds as f64).exp();
            for _ in 0..64 {
                self.step(&mut rng, heat);
                self.weighed += 1;
            }
        }
    }

    fn step(&mut self, rng: &mut Rng, heat: f64) {
        let full = self.away.len() >= self.most;
        if full && rng.u8(..3) > 0 {
            self.exchange(rng, heat);
            return;
        }
        if full || (!self.away.is_empty() && rng.u8(..3) == 0) {
            let (instance, kind) = self.away[rng.usize(..self.away.len())];
            // A sixth of those go home.
            let next = if rng.u8(..6) == 0 { None } else { self.any_kind(rng, instance) };
            if next != Some(kind) {
                self.propose(rng, heat, instance, next);
            }
            return;
        }
        let instance = self.movable[rng.usize(..self.movable.len())];
        let Some(kind) = self.any_kind(rng, instance) else { return };
        self.propose(rng, heat, instance, Some(kind));
    }

    /// Something that may be done with an instance from its home.
    fn any_kind(&self, rng: &mut Rng, instance: InstanceIdx) -> Option<Kind> {
        let (menu, home) = (self.menus[instance.at()], self.home[instance.at()]);
        let failover = menu.failover();
        // As often as a move to any one node.
        if failover.is_some() && rng.usize(..=self.targets.len()) == 0 {
            return failover;
        }
        let node = self.targets[rng.usize(..self.targets.len())];
        if node == home.primary || Some(node) == home.secondary {
            return failover;
        }
        let (mut kinds, mut count) = ([Kind::Failover; 5], 0);
        for kind in menu.to(node) {
            kinds[count] = kind;
            count += 1;
        }
        let kind = (count > 0).then(|| kinds[rng.usize(..count)])?;
        let barred = !self.barred.is_empty() && self.barred.contains(&(instance, kind));
        (!barred).then_some(kind)
    }

    fn accepts(rng: &mut Rng, heat: f64, worse: f64) -> bool {
        worse <= 0.0 || rng.f64() < (-worse / heat).exp()
    }

    fn propose(&mut self, rng: &mut Rng, heat: f64, instance: InstanceIdx, kind: Option<Kind>) {
        let Some(cost) = self.weigh(instance, kind) else { return };
        if Walk::accepts(rng, heat, cost - self.cost) {
            self.take(instance, kind, cost);
            self.note();
        }
    }

    /// One that is away goes home, and the best of some others leaves.
    fn exchange(&mut self, rng: &mut Rng, heat: f64) {
        let (back, was) = self.away[rng.usize(..self.away.len())];
        let before = self.cost;
        let Some(cost) = self.weigh(back, None) else { return };
        let undo = self.out.undo(&self.placement, back);
        self.take(back, None, cost);
        let mut best: Option<(f64, InstanceIdx, Kind)> = None;
        for _ in 0..TRIES {
            let instance = self.movable[rng.usize(..self.movable.len())];
            if self.place[instance.at()].is_some() {
                continue;
            }
            let Some(kind) = self.any_kind(rng, instance) else { continue };
            let Some(cost) = self.weigh(instance, Some(kind)) else { continue };
            if best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, instance, kind));
            }
        }
        if let Some((cost, instance, kind)) = best
            && Walk::accepts(rng, heat, cost - before)
            && let Some(cost) = self.weigh(instance, Some(kind))
        {
            self.take(instance, Some(kind), cost);
            self.note();
            return;
        }
        self.out = undo;
        self.take(back, Some(was), before);
    }

    /// Where a move from home leads.
    fn seat(&self, instance: InstanceIdx, kind: Option<Kind>) -> Seat {
        let home = self.home[instance.at()];
        kind.map_or(home, |kind| kind.leads(home))
    }

    /// What it would cost in all if an instance were there; nothing if it cannot be. Fills `out`.
    fn weigh(&mut self, instance: InstanceIdx, kind: Option<Kind>) -> Option<f64> {
        let home = self.home[instance.at()];
        let rules = self.placement.rules();
        if let Some(kind) = kind
            && !kind.way(home).all(|(from, to)| rules.can_migrate(from, to))
        {
            return None;
        }
        let offline = |node: NodeIdx| self.placement.cluster().nodes[node.at()].offline;
        let fled = offline(home.primary) || home.secondary.is_some_and(offline);
        let force = self.options.ignore_soft_errors || (kind.is_some() && fled);
        self.weigh_with(instance, kind, force)
    }

    fn weigh_with(
        &mut self,
        instance: InstanceIdx,
        kind: Option<Kind>,
        force: bool,
    ) -> Option<f64> {
        self.weighed += 1;
        let copied = self.copied_with(instance, kind);
        if self.options.max_copy.is_some_and(|most| copied > most && copied > self.copied) {
            return None;
        }
        let seat = self.seat(instance, kind);
        let working = self.placement.begin(instance);
        working.place(seat.primary, seat.secondary, (force, force), &mut self.out).ok()?;
        if self.options.keep_redundancy && breaks_redundancy(&self.placement, &self.out) {
            return None;
        }
        let score = self.scorer.after(&self.placement, &self.out);
        Some(score + self.options.weigh_copy * copied as f64 / 1024.0)
    }

    fn copied_with(&self, instance: InstanceIdx, kind: Option<Kind>) -> i64 {
        let disk = self.placement.instance(instance).disk;
        let of = |kind: Kind| if kind.copies() { disk } else { 0 };
        let was = self.place[instance.at()].map_or(0, |at| of(self.away[at as usize].1));
        self.copied - was + kind.map_or(0, of)
    }

    /// The instance goes where `out` says.
    fn take(&mut self, instance: InstanceIdx, kind: Option<Kind>, cost: f64) {
        self.copied = self.copied_with(instance, kind);
        self.scorer.apply(&self.placement, &self.out);
        self.placement.apply(instance, &self.out);
        self.cost = cost;
        match (self.place[instance.at()], kind) {
            (Some(at), Some(kind)) => self.away[at as usize].1 = kind,
            (None, Some(kind)) => {
                self.place[instance.at()] = u32::try_from(self.away.len()).ok();
                self.away.push((instance, kind));
            }
            (Some(at), None) => {
                self.away.swap_remove(at as usize);
                if let Some((other, _)) = self.away.get(at as usize) {
                    self.place[other.at()] = Some(at);
                }
                self.place[instance.at()] = None;
            }
            (None, None) => {}
        }
        self.changes += 1;
        if self.changes.is_multiple_of(FRESH) {
            self.scorer.recompute(&self.placement);
            self.cost = self.scorer.now() + self.options.weigh_copy * self.copied as f64 / 1024.0;
        }
    }

    fn note(&mut self) {
        if self.cost < self.best.cost - NOTHING {
            self.remember();
        }
    }

    fn remember(&mut self) {
        if self.cost < self.best.cost - NOTHING {
            self.best.cost = self.cost;
            self.best.seats.clone_from(&self.away);
        }
    }
}
