//! How badly a rule is broken, kept as instances move: each change costs the same whatever the size of the
//! cluster.

use super::{Domains, Rule, Seat, Shape};
use crate::model::NodeIdx;

/// Members in a place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Place {
    primaries: i64,
    /// Mirrors of members whose primary is somewhere else.
    mirrors: i64,
    /// Members with both sides here.
    both: i64,
}

impl Place {
    /// Pairs that meet here, or would if one failed over.
    fn meetings(self) -> i64 {
        let pairs = self.primaries * (self.primaries - 1) / 2;
        pairs + self.primaries * self.mirrors + self.both * (self.primaries - 1)
    }

    fn plus(self, other: Place, times: i64) -> Place {
        Place {
            primaries: self.primaries + times * other.primaries,
            mirrors: self.mirrors + times * other.mirrors,
            both: self.both + times * other.both,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    places: Vec<Place>,
    /// How many places have so many members, for `together`.
    with: Vec<u32>,
    /// The members of the fullest place, and those of all.
    most: usize,
    placed: usize,
    broken: i64,
}

/// Nodes where nothing counts.
pub(super) type Ignored = [bool];

fn counts(node: NodeIdx, ignored: &Ignored) -> bool {
    node != NodeIdx::NONE && !ignored[node.at()]
}

/// What a member adds, by place.
type Sides = [Option<(u32, Place)>; 2];

fn sides(domains: &Domains, mirrors: bool, seat: Seat, ignored: &Ignored) -> Sides {
    let place = |node: NodeIdx| counts(node, ignored).then(|| domains.of(node));
    let primary = place(seat.0);
    let mirror = seat.1.filter(|_| mirrors).and_then(place);
    let one = Place { primaries: 1, ..Place::default() };
    match (primary, mirror) {
        (Some(here), Some(there)) if here == there => {
            [Some((here, Place { both: 1, ..one })), None]
        }
        (primary, mirror) => [
            primary.map(|here| (here, one)),
            mirror.map(|there| (there, Place { mirrors: 1, ..Place::default() })),
        ],
    }
}

fn outside(allowed: &[bool], seat: Seat, ignored: &Ignored) -> i64 {
    let wrong = |node: NodeIdx| i64::from(counts(node, ignored) && !allowed[node.at()]);
    wrong(seat.0) + seat.1.map_or(0, wrong)
}

impl Tally {
    /// Of a rule none of whose members has a place.
    pub fn new(rule: &Rule) -> Tally {
        match &rule.shape {
            Shape::Together(domains) => Tally {
                places: vec![Place::default(); domains.count()],
                with: vec![0; rule.members.len() + 2],
                ..Tally::default()
            },
            Shape::Apart(domains) => {
                Tally { places: vec![Place::default(); domains.count()], ..Tally::default() }
            }
            Shape::Only(_) => Tally::default(),
        }
    }

    /// One more member, without a place.
    pub fn add_member(&mut self) {
        if !self.with.is_empty() {
            self.with.push(0);
        }
    }

    /// How badly it is broken.
    pub fn broken(&self) -> i64 {
        self.broken
    }

    /// By how much more if a member goes from one place to another.
    pub fn change(&self, rule: &Rule, from: Seat, to: Seat, ignored: &Ignored) -> i64 {
        match &rule.shape {
            Shape::Together(domains) => {
                let place = |node| counts(node, ignored).then(|| domains.of(node));
                let (from, to) = (place(from.0), place(to.0));
                if from == to { 0 } else { self.together(from, to) - self.broken }
            }
            Shape::Apart(domains) => {
                let mirrors = rule.spec.mirrors;
                let leaves = sides(domains, mirrors, from, ignored);
                let comes = sides(domains, mirrors, to, ignored);
                let mut change = 0;
                for (at, (place, _)) in leaves.iter().chain(&comes).flatten().enumerate() {
                    let earlier = leaves.iter().chain(&comes).flatten().take(at);
                    if earlier.clone().any(|(other, _)| other == place) {
                        continue;
                    }
                    let old = self.places[*place as usize];
                    let sum = |old: Place, sides: &Sides, times| {
                        let here = sides.iter().flatten().filter(|(other, _)| other == place);
                        here.fold(old, |sum, (_, side)| sum.plus(*side, times))
                    };
                    let new = sum(sum(old, &leaves, -1), &comes, 1);
                    change += new.meetings() - old.meetings();
                }
                change
            }
            Shape::Only(allowed) => outside(allowed, to, ignored) - outside(allowed, from, ignored),
        }
    }

    /// Members that would be outside of the fullest place.
    fn together(&self, from: Option<u32>, to: Option<u32>) -> i64 {
        let count = |place: u32| self.places[place as usize].primaries as usize;
        let mut most = self.most;
        if from.is_some_and(|place| count(place) == most) && self.with[most] == 1 {
            // The place itself has one less then, and no other has more.
            most -= 1;
        }
        most = most.max(to.map_or(0, |place| count(place) + 1));
        let placed = self.placed + usize::from(to.is_some()) - usize::from(from.is_some());
        placed as i64 - most as i64
    }

    /// A member goes from one place to another.
    pub fn apply(&mut self, rule: &Rule, from: Seat, to: Seat, ignored: &Ignored) {
        let change = self.change(rule, from, to, ignored);
        match &rule.shape {
            Shape::Together(domains) => {
                for (seat, comes) in [(from, false), (to, true)] {
                    if counts(seat.0, ignored) {
                        self.count(domains.of(seat.0), comes);
                    }
                }
            }
            Shape::Apart(domains) => {
                for (seat, times) in [(from, -1), (to, 1)] {
                    for (place, side) in
                        sides(domains, rule.spec.mirrors, seat, ignored).into_iter().flatten()
                    {
                        let place = &mut self.places[place as usize];
                        *place = place.plus(side, times);
                    }
                }
            }
            Shape::Only(_) => {}
        }
        self.broken += change;
    }

    /// One more, or less, in a place: for `together`.
    fn count(&mut self, place: u32, comes: bool) {
        let members = &mut self.places[place as usize].primaries;
        let old = *members as usize;
        let new = if comes { old + 1 } else { old - 1 };
        *members = new as i64;
        (self.with[old], self.with[new]) = (self.with[old].saturating_sub(1), self.with[new] + 1);
        self.placed = if comes { self.placed + 1 } else { self.placed - 1 };
        if comes {
            self.most = self.most.max(new);
        } else if old == self.most && self.with[old] == 0 {
            self.most = new;
        }
    }
}
