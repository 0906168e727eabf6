//! What a balancer may do with an instance.

use super::Options;
use crate::model::{InstanceIdx, NodeIdx};
use crate::moves::Kind;
use crate::state::{Placement, Seat};
use roost_proto::capabilities::Mirroring;

/// The kinds of moves that are allowed with one instance, where it is. Which nodes they may go to is the same
/// for all: online ones that it is not on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Menu {
    failover: bool,
    failover_to_any: bool,
    replace_secondary: bool,
    replace_and_failover: bool,
    replace_primary: bool,
    failover_and_replace: bool,
}

impl Menu {
    /// Of an instance.
    pub fn of(placement: &Placement, options: &Options, instance: InstanceIdx) -> Menu {
        let offline = |node: NodeIdx| placement.cluster().nodes[node.at()].offline;
        let Seat { primary, secondary } = Seat::of(placement, instance);
        if options.evacuate && !offline(primary) && !secondary.is_some_and(offline) {
            return Menu::default();
        }
        let mirror = placement.instance(instance).template.mirroring();
        let (moves, disks) = (options.instance_moves, options.disk_moves);
        let internal = mirror == Mirroring::Internal;
        let alive = secondary.is_some_and(|node| !offline(node));
        let restricted = options.restricted_migration;
        let leaves = !restricted || offline(primary);
        let both = internal && disks && moves && leaves;
        Menu {
            failover: internal && alive && moves,
            failover_to_any: mirror == Mirroring::External && moves,
            replace_secondary: internal && disks,
            replace_and_failover: both,
            replace_primary: both && alive && !restricted,
            failover_and_replace: both && alive,
        }
    }

    /// Whether nothing is allowed.
    pub fn is_empty(self) -> bool {
        self == Menu::default()
    }

    /// The move that needs no other node.
    pub fn failover(self) -> Option<Kind> {
        self.failover.then_some(Kind::Failover)
    }

    /// The moves to a node that the instance is not on, in the order in which ties are decided.
    pub fn to(self, node: NodeIdx) -> impl Iterator<Item = Kind> {
        let kinds = [
            (self.failover_to_any, Kind::FailoverToAny(node)),
            (self.replace_secondary, Kind::ReplaceSecondary(node)),
            (self.replace_and_failover, Kind::ReplaceAndFailover(node)),
            (self.replace_primary, Kind::ReplacePrimary(node)),
            (self.failover_and_replace, Kind::FailoverAndReplace(node)),
        ];
        kinds.into_iter().filter(|(allowed, _)| *allowed).map(|(_, kind)| kind)
    }
}
