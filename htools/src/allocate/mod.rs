//! Where a new instance goes, and where those go that have to leave their nodes.
//!
//! ```text
//!   Placement + an instance without a place ─► groups that it may go to ─► for each: every node, or pair of nodes
//!                                                                              │ policy, checks (Working::place)
//!                                                                              ▼
//!      Allocation ◄─ the best group ◄─ the best that leaves all redundant ◄─ candidates with their score
//! ```
//!
//! The best is the lowest score; of equal ones the later. Where all storage is exclusive, not the score counts
//! but what could no longer be placed (`dedicated`). Trying a candidate costs the same whatever the size of
//! the cluster. Source: Ganeti's reference on htools, allocation.

mod admit;
mod choose;
mod dedicated;
mod evacuate;
mod failures;
mod groups;
mod metric;
mod pairs;
mod relocate;
mod search;
mod several;
mod singles;
mod statistics;

pub use dedicated::is_dedicated;
pub use evacuate::{Evacuation, Moved, change_group, evacuate};
pub use failures::Failures;
pub use metric::Metric;
pub use relocate::relocate;
pub(crate) use search::{Search, Tried};
pub use several::{allocate_all, allocate_secondary};

use crate::model::{GroupIdx, InstanceIdx, NodeIdx};
use crate::redundancy;
use crate::state::{Outcome, Placement};
use std::fmt;

/// What is asked for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// 1, or 2 for one with a secondary.
    pub nodes: usize,
    /// Only there, even if nothing should be allocated there by itself.
    pub group: Option<GroupIdx>,
}

/// What holds for all instances that are to find a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Only these nodes.
    pub restrict_to: Option<Vec<NodeIdx>>,
    /// Every node must stay able to fail: its instances fit elsewhere.
    pub capacity_checks: bool,
    /// Which nodes.
    pub redundancy: redundancy::Options,
    /// Only what is impossible for a primary is refused; a secondary has to pass all checks.
    pub ignore_soft_errors: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            restrict_to: None,
            capacity_checks: true,
            redundancy: redundancy::Options::default(),
            ignore_soft_errors: false,
        }
    }
}

/// A place that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    pub group: GroupIdx,
    pub primary: NodeIdx,
    pub secondary: Option<NodeIdx>,
    pub metric: Metric,
    /// Candidates that would do too, and this one.
    pub successes: u64,
    /// Candidates that would not.
    pub failures: Failures,
    /// For people: what became of each group.
    pub messages: Vec<String>,
    /// What to apply to the placement.
    pub outcome: Outcome,
}

impl Allocation {
    /// Its nodes, the primary first.
    pub fn nodes(&self) -> Vec<NodeIdx> {
        std::iter::once(self.primary).chain(self.secondary).collect()
    }
}

/// There is no place, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NoAllocation {
    /// Of all groups together.
    pub failures: Failures,
    /// For people: what became of each group.
    pub messages: Vec<String>,
    /// Whether candidates were tried.
    pub tried: bool,
}

impl NoAllocation {
    /// Without having tried a candidate.
    pub fn because(message: impl Into<String>) -> NoAllocation {
        NoAllocation { messages: vec![message.into()], ..NoAllocation::default() }
    }
}

impl fmt::Display for NoAllocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join(", "))
    }
}

impl std::error::Error for NoAllocation {}

/// Finds a place for an instance that has none yet ([`Placement::add`]). Nothing changes until the outcome is
/// applied. Errors: there is no place; then why.
pub fn allocate(
    placement: &Placement,
    instance: InstanceIdx,
    request: &Request,
    rules: &Rules,
) -> Result<Allocation, NoAllocation> {
    match request.group {
        Some(group) => groups::in_group(placement, instance, group, request.nodes, rules),
        None => groups::anywhere(placement, instance, request.nodes, rules),
    }
}

#[cfg(test)]
mod tests;
