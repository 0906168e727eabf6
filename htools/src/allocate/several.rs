//! Several new instances, and new secondaries of old ones.

use super::search::Search;
use super::{Allocation, NoAllocation, Request, Rules, allocate};
use crate::model::{DiskTemplate, InstanceIdx, NodeIdx};
use crate::state::Placement;

/// Finds places for instances that have none yet, each after those before it have taken theirs: they have them
/// in `placement` afterwards. In the order given.
pub fn allocate_all(
    placement: &mut Placement,
    wanted: &[(InstanceIdx, Request)],
    rules: &Rules,
) -> Vec<Result<Allocation, NoAllocation>> {
    let mut results = vec![];
    for (instance, request) in wanted {
        let result = allocate(placement, *instance, request, rules);
        if let Ok(allocation) = &result {
            placement.apply(*instance, &allocation.outcome);
        }
        results.push(result);
    }
    results
}

/// The node where an instance without a mirror had best get one, on the group it is in: it is a mirrored one
/// then. The placement returned has it so. Errors: there is none, and why.
pub fn allocate_secondary(
    placement: &Placement,
    instance: InstanceIdx,
    rules: &Rules,
) -> Result<(Allocation, Placement), NoAllocation> {
    let primary = placement.primary(instance);
    if placement.secondary(instance).is_some() {
        return Err(NoAllocation::because("Instance already has a secondary"));
    }
    if primary == NodeIdx::NONE {
        return Err(NoAllocation::because("Instance has no primary node yet"));
    }
    let mut after = placement.clone();
    after.take_away(instance);
    after.change_unplaced(instance, |instance| instance.template = DiskTemplate::Drbd);
    let cluster = after.cluster();
    let group = cluster.nodes[primary.at()].group;
    let allowed = |node: &NodeIdx| {
        let listed = rules.restrict_to.as_ref().is_none_or(|only| only.contains(node));
        *node != primary && listed && !cluster.nodes[node.at()].offline
    };
    let others: Vec<NodeIdx> = cluster.nodes_of(group).filter(allowed).collect();
    let everywhere: Vec<NodeIdx> = (0..cluster.nodes.len()).map(NodeIdx::of).collect();
    let search = Search::new(&after, instance, &everywhere, false, rules);
    let tried = search.secondary(primary, &others);
    let messages = vec![tried.describe(cluster)];
    let allocation = tried.found(group, messages)?;
    after.apply(instance, &allocation.outcome);
    Ok((allocation, after))
}
