//! What jobs under way are about to make and to take: others must not count on it.

use crate::config::Config;
use crate::jobs::plan::{Plan, Task};
use roost_proto::ids::NodeId;
use roost_proto::node::Action;
use std::collections::HashMap;
use std::sync::Arc;

/// The configuration as it is going to be.
pub fn going_to_be(config: &Config, plans: &[Arc<Plan>]) -> Config {
    let mut config = config.clone();
    for plan in plans {
        // One whose pivot has been does not fit any more, and need not.
        if let Ok((next, _)) = config.apply(&plan.pivot.changes, 0.0) {
            config = next;
        }
    }
    config
}

/// Guests about to start: where, and with how many MiB.
pub fn starting(plans: &[Arc<Plan>]) -> impl Iterator<Item = (NodeId, u64)> {
    let steps = plans.iter().flat_map(|plan| plan.before.iter().chain(&plan.after));
    steps.filter_map(|step| match &step.task {
        Task::Node { node, action } => match &**action {
            Action::GuestStart { guest, .. } | Action::MigrateAccept { guest, .. } => {
                Some((*node, guest.maxmem()))
            }
            _ => None,
        },
        _ => None,
    })
}

/// MiB that guests about to start will take, by node.
pub fn promised(plans: &[Arc<Plan>]) -> HashMap<NodeId, u64> {
    let mut promised = HashMap::new();
    for (node, memory) in starting(plans) {
        *promised.entry(node).or_default() += memory;
    }
    promised
}
