//! Whether a planner makes a move.

use super::Options;
use crate::moves::Kind;
use crate::state::{Outcome, Placement, Working};

/// What would come of a move, into `out`; whether it may be made.
pub fn attempt(
    placement: &Placement,
    working: &Working<'_>,
    kind: Kind,
    options: &Options,
    out: &mut Outcome,
) -> bool {
    kind.attempt(working, options.ignore_soft_errors, out).is_ok()
        && (!options.keep_redundancy || !breaks_redundancy(placement, out))
}

/// Whether a node that could take over from any other could not any more.
pub fn breaks_redundancy(placement: &Placement, out: &Outcome) -> bool {
    out.changed().iter().any(|changed| {
        let node = changed.node;
        changed.state.n1_fails
            && !placement.node(node).n1_fails
            && !placement.cluster().nodes[node.at()].offline
    })
}
