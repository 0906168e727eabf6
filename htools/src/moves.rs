//! Moves of one instance, as the balancer makes them and people type them.

use crate::fail::FailMode;
use crate::model::{InstanceIdx, NodeIdx};
use crate::state::{Outcome, Placement, Seat, Working};

/// What is done with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Primary and secondary change places.
    Failover,
    /// To another node, with storage that both reach.
    FailoverToAny(NodeIdx),
    /// The primary becomes another.
    ReplacePrimary(NodeIdx),
    /// The secondary becomes another.
    ReplaceSecondary(NodeIdx),
    /// The secondary becomes another, then primary.
    ReplaceAndFailover(NodeIdx),
    /// The secondary becomes primary, and another node secondary.
    FailoverAndReplace(NodeIdx),
}

impl Kind {
    /// What would come of it, into `out`. Errors: the check that fails; then `out` means nothing.
    ///
    /// `force`: only what is impossible is refused.
    pub fn attempt(
        self,
        working: &Working<'_>,
        force: bool,
        out: &mut Outcome,
    ) -> Result<(), FailMode> {
        match self {
            Kind::Failover => working.failover(force, out),
            Kind::FailoverToAny(to) => working.failover_to_any(to, force, out),
            Kind::ReplacePrimary(to) => working.replace_primary(to, force, out),
            Kind::ReplaceSecondary(to) => working.replace_secondary(to, force, out),
            Kind::ReplaceAndFailover(to) => working.replace_and_failover(to, force, out),
            Kind::FailoverAndReplace(to) => working.failover_and_replace(to, force, out),
        }
    }

    /// The node that was not the instance's before.
    pub fn target(self) -> Option<NodeIdx> {
        match self {
            Kind::Failover => None,
            Kind::FailoverToAny(to)
            | Kind::ReplacePrimary(to)
            | Kind::ReplaceSecondary(to)
            | Kind::ReplaceAndFailover(to)
            | Kind::FailoverAndReplace(to) => Some(to),
        }
    }

    /// Where it leads from a seat.
    pub fn leads(self, home: Seat) -> Seat {
        let Seat { primary, secondary } = home;
        let mirror = secondary.unwrap_or(primary);
        let (primary, secondary) = match self {
            Kind::Failover => (mirror, Some(primary)),
            Kind::FailoverToAny(to) => (to, None),
            Kind::ReplacePrimary(to) => (to, secondary),
            Kind::ReplaceSecondary(to) => (primary, Some(to)),
            Kind::ReplaceAndFailover(to) => (to, Some(primary)),
            Kind::FailoverAndReplace(to) => (mirror, Some(to)),
        };
        Seat { primary, secondary }
    }

    /// The one move that leads from a seat to another; nothing if it takes two, or none.
    pub fn between(from: Seat, to: Seat) -> Option<Kind> {
        let same = from.primary == to.primary;
        let (Some(was), Some(is)) = (from.secondary, to.secondary) else {
            let none = from.secondary.is_none() && to.secondary.is_none();
            return (none && !same).then_some(Kind::FailoverToAny(to.primary));
        };
        let kind = match (same, was == is) {
            (true, true) => return None,
            (true, false) => Kind::ReplaceSecondary(is),
            (false, true) => Kind::ReplacePrimary(to.primary),
            (false, false) => match (to.primary == was, is == from.primary) {
                (true, true) => Kind::Failover,
                (true, false) => Kind::FailoverAndReplace(is),
                (false, true) => Kind::ReplaceAndFailover(to.primary),
                (false, false) => return None,
            },
        };
        Some(kind)
    }

    /// From where to where a running instance goes meanwhile, if it begins on this seat.
    pub fn way(self, home: Seat) -> impl Iterator<Item = (NodeIdx, NodeIdx)> {
        let primary = home.primary;
        let secondary = home.secondary.unwrap_or(primary);
        let [one, other] = match self {
            Kind::Failover | Kind::FailoverAndReplace(_) => [Some((primary, secondary)), None],
            Kind::FailoverToAny(to) | Kind::ReplaceAndFailover(to) => [Some((primary, to)), None],
            Kind::ReplacePrimary(to) => [Some((primary, secondary)), Some((secondary, to))],
            Kind::ReplaceSecondary(_) => [None, None],
        };
        one.into_iter().chain(other)
    }

    /// Whether disks are copied.
    pub fn copies(self) -> bool {
        !matches!(self, Kind::Failover | Kind::FailoverToAny(_))
    }

    /// As plans show it; `name` says how nodes are called there.
    pub fn steps(self, name: impl Fn(NodeIdx) -> String) -> String {
        match self {
            Kind::Failover => "f".into(),
            Kind::FailoverToAny(to) => format!("fa:{}", name(to)),
            Kind::ReplacePrimary(to) => format!("f r:{} f", name(to)),
            Kind::ReplaceSecondary(to) => format!("r:{}", name(to)),
            Kind::ReplaceAndFailover(to) => format!("r:{} f", name(to)),
            Kind::FailoverAndReplace(to) => format!("f r:{}", name(to)),
        }
    }
}

/// A move of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub instance: InstanceIdx,
    pub kind: Kind,
}

impl Move {
    /// What would come of it. Errors: the check that fails.
    pub fn outcome(self, placement: &Placement, force: bool) -> Result<Outcome, FailMode> {
        let mut outcome = Outcome::default();
        self.kind.attempt(&placement.begin(self.instance), force, &mut outcome)?;
        Ok(outcome)
    }
}
