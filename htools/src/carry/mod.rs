//! From a plan to what carries it out: sets of jobs, commands for people, opcodes for the master.
//!
//! ```text
//!   steps ─► jobsets ─┬─► commands ─► a list to look at, a script
//!                     └─► opcodes  ─► one job for each step
//! ```

mod commands;
mod jobsets;
mod opcodes;

pub use commands::{commands, lines, listing, script, to_look_at, to_run};
pub use jobsets::jobsets;
pub use opcodes::opcodes;

use crate::model::{Cluster, NodeIdx};
use crate::moves::{Kind, Move};

/// One thing that is done with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Primary and secondary change places, or the instance goes to this node.
    Move(Option<NodeIdx>),
    /// This node becomes the secondary.
    Replace(NodeIdx),
}

/// What a move is made of, in order.
pub(crate) fn acts(kind: Kind) -> Vec<Act> {
    let swap = Act::Move(None);
    match kind {
        Kind::Failover => vec![swap],
        Kind::FailoverToAny(to) => vec![Act::Move(Some(to))],
        Kind::ReplacePrimary(to) => vec![swap, Act::Replace(to), swap],
        Kind::ReplaceSecondary(to) => vec![Act::Replace(to)],
        Kind::ReplaceAndFailover(to) => vec![Act::Replace(to), swap],
        Kind::FailoverAndReplace(to) => vec![swap, Act::Replace(to)],
    }
}

/// Whether the instance of a move runs: then it is migrated, else it is failed over.
pub(crate) fn runs(cluster: &Cluster, what: Move) -> bool {
    cluster.instances[what.instance.at()].status.running()
}
