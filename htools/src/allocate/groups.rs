//! Which group an instance goes to.

use super::search::{Search, Tried};
use super::{Allocation, NoAllocation, Rules, dedicated};
use crate::model::{AllocPolicy, Cluster, Group, GroupIdx, InstanceIdx, NodeIdx};
use crate::state::Placement;

/// What became of a group.
type Result = std::result::Result<Tried, &'static str>;

/// Whether a group has all networks that an instance needs.
fn is_connected(group: &Group, networks: &[String]) -> bool {
    networks.iter().all(|network| group.networks.contains(network))
}

/// The nodes of a group that may be asked.
fn candidates(placement: &Placement, group: GroupIdx, rules: &Rules) -> Vec<NodeIdx> {
    let allowed = |node: &NodeIdx| match &rules.restrict_to {
        Some(only) => only.contains(node),
        None => true,
    };
    let cluster = placement.cluster();
    let online = |node: &NodeIdx| !cluster.nodes[node.at()].offline;
    cluster.nodes_of(group).filter(online).filter(allowed).collect()
}

fn attempt(search: &Search<'_>, group: GroupIdx, nodes: usize, rules: &Rules) -> Result {
    let candidates = candidates(search.placement(), group, rules);
    match (nodes, candidates.len()) {
        (1, 0) => Err("No online nodes"),
        (1, _) => Ok(search.single(&candidates)),
        (2, 0 | 1) => Err("Not enough online nodes"),
        (2, _) => Ok(search.pair(&candidates)),
        _ => Err("Unsupported number of nodes, only one or two  supported"),
    }
}

/// What is said of a group.
fn message(cluster: &Cluster, group: &Group, result: &Result) -> String {
    match result {
        Ok(tried) => {
            let policy = group.alloc_policy.as_str();
            format!("Group {} ({policy}): {}", group.name, tried.describe(cluster))
        }
        Err(error) => format!("Group {}: error {error}", group.name),
    }
}

/// In the group named, which counts alone.
pub(super) fn in_group(
    placement: &Placement,
    instance: InstanceIdx,
    group: GroupIdx,
    nodes: usize,
    rules: &Rules,
) -> std::result::Result<Allocation, NoAllocation> {
    let cluster = placement.cluster();
    let (asked, given) = (&cluster.groups[group.at()], placement.instance(instance));
    if !is_connected(asked, &given.networks) {
        return Err(NoAllocation::because(format!(
            "The group {} is not connected to a network required by instance {}",
            asked.name, given.name
        )));
    }
    let scope: Vec<NodeIdx> = cluster.nodes_of(group).collect();
    let dedicated = dedicated::is_dedicated(cluster, Some(group));
    let search = Search::new(placement, instance, &scope, dedicated, rules);
    match attempt(&search, group, nodes, rules) {
        Err(error) => Err(NoAllocation::because(error)),
        result @ Ok(_) => {
            let messages = vec![message(cluster, asked, &result)];
            match result {
                Ok(tried) => tried.found(group, messages),
                Err(error) => Err(NoAllocation::because(error)),
            }
        }
    }
}

/// In the best group there is.
pub(super) fn anywhere(
    placement: &Placement,
    instance: InstanceIdx,
    nodes: usize,
    rules: &Rules,
) -> std::result::Result<Allocation, NoAllocation> {
    let dedicated = dedicated::is_dedicated(placement.cluster(), None);
    among(placement, instance, None, nodes, dedicated, rules)
}

/// In the best of these groups, or of all. Groups without nodes are not looked at.
pub(super) fn among(
    placement: &Placement,
    instance: InstanceIdx,
    allowed: Option<&[GroupIdx]>,
    nodes: usize,
    dedicated: bool,
    rules: &Rules,
) -> std::result::Result<Allocation, NoAllocation> {
    let (cluster, given) = (placement.cluster(), placement.instance(instance));
    let all = (0..cluster.groups.len()).map(GroupIdx::of);
    let considered: Vec<GroupIdx> = all
        .filter(|group| cluster.nodes.iter().any(|node| node.group == *group))
        .filter(|group| allowed.is_none_or(|allowed| allowed.contains(group)))
        .collect();
    if considered.is_empty() {
        return Err(NoAllocation::because(
            "no groups for evacuation: no group that is allowed has nodes",
        ));
    }
    let mut messages = vec![];
    let mut connected = vec![];
    for group in considered {
        let asked = &cluster.groups[group.at()];
        match is_connected(asked, &given.networks) {
            true => connected.push(group),
            false => messages.push(format!(
                "group {} is not connected to a network required by instance {}",
                asked.name, given.name
            )),
        }
    }
    let everywhere: Vec<NodeIdx> = (0..cluster.nodes.len()).map(NodeIdx::of).collect();
    let search = Search::new(placement, instance, &everywhere, dedicated, rules);
    let mut none = NoAllocation { tried: true, ..NoAllocation::default() };
    let mut best: Option<(AllocPolicy, GroupIdx, Tried)> = None;
    for group in connected {
        let asked = &cluster.groups[group.at()];
        let result = attempt(&search, group, nodes, rules);
        messages.push(message(cluster, asked, &result));
        let Ok(tried) = result else { continue };
        none.failures.add_all(&tried.failures);
        let policy = asked.alloc_policy;
        if policy == AllocPolicy::Unallocable || tried.best.is_none() {
            continue;
        }
        // Of equal groups the later.
        let loses = best
            .as_ref()
            .is_some_and(|(other, _, best)| (*other, best.metric()) < (policy, tried.metric()));
        if !loses {
            best = Some((policy, group, tried));
        }
    }
    match best {
        Some((_, group, tried)) => {
            messages.insert(0, format!("Selected group: {}", cluster.groups[group.at()].name));
            tried.found(group, messages)
        }
        None => Err(NoAllocation { messages, ..none }),
    }
}
