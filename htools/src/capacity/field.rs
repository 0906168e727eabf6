//! Where instances may go, and putting one more there.

use super::{Filled, Kind, Size};
use crate::allocate::{Failures, Rules, Search, Tried};
use crate::model::{AllocPolicy, Cluster, DiskTemplate, GroupIdx, InstanceIdx, NodeIdx};
use crate::redundancy::{self, non_redundant};
use crate::state::Placement;

/// How a cluster is before anything is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Online nodes that fail N+1.
    pub bad_nodes: Vec<NodeIdx>,
    /// Groups in which a node must not fail.
    pub bad_groups: Vec<GroupIdx>,
}

impl Health {
    /// Of a placement.
    pub fn of(placement: &Placement, options: &redundancy::Options) -> Health {
        let cluster = placement.cluster();
        let bad =
            |node: &NodeIdx| !cluster.nodes[node.at()].offline && placement.node(*node).n1_fails;
        let bad_nodes = (0..cluster.nodes.len()).map(NodeIdx::of).filter(bad).collect();
        let fails = |group: &GroupIdx| {
            let nodes: Vec<NodeIdx> = cluster.nodes_of(*group).collect();
            !non_redundant(placement, &nodes, options).is_empty()
        };
        let bad_groups = (0..cluster.groups.len()).map(GroupIdx::of).filter(fails).collect();
        Health { bad_nodes, bad_groups }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Field {
    rules: Rules,
    /// All nodes: what the score is about.
    scope: Vec<NodeIdx>,
    /// Nodes that may be used, in order.
    nodes: Vec<NodeIdx>,
    /// The same by group.
    groups: Vec<Vec<NodeIdx>>,
    /// Nothing may be added at all.
    closed: bool,
}

impl Field {
    /// Of a cluster in this state. A node that fails N+1 closes its group, and if `independent` is not asked for,
    /// everything; `accept_existing`: it does not matter.
    pub fn new(cluster: &Cluster, health: &Health, mut rules: Rules, independent: bool) -> Field {
        let accept_existing = rules.redundancy.accept_existing;
        let mut closed_groups: Vec<GroupIdx> = vec![];
        if !accept_existing {
            closed_groups
                .extend(health.bad_nodes.iter().map(|node| cluster.nodes[node.at()].group));
        }
        if independent {
            closed_groups.extend(&health.bad_groups);
            rules.redundancy.ignore_groups.extend(&health.bad_groups);
        }
        let open = |group: GroupIdx| {
            cluster.groups[group.at()].alloc_policy != AllocPolicy::Unallocable
                && !closed_groups.contains(&group)
        };
        let all = || (0..cluster.groups.len()).map(GroupIdx::of);
        let remains = all().any(open);
        let tolerated = accept_existing || independent && remains;
        let closed = !tolerated && !health.bad_nodes.is_empty();
        let usable = |node: &NodeIdx| !cluster.nodes[node.at()].offline;
        let groups: Vec<Vec<NodeIdx>> = all()
            .filter(|group| open(*group))
            .map(|group| cluster.nodes_of(group).filter(usable).collect())
            .collect();
        let mut nodes: Vec<NodeIdx> = groups.iter().flatten().copied().collect();
        nodes.sort_unstable();
        let scope = (0..cluster.nodes.len()).map(NodeIdx::of).collect();
        Field { rules, scope, nodes, groups, closed }
    }

    /// Whether nothing may be added, because a node fails N+1.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The nodes that may be used.
    pub fn nodes(&self) -> &[NodeIdx] {
        &self.nodes
    }

    /// Tries to find a place for an instance. `checked`: all nodes have to stay able to fail.
    pub(super) fn attempt(
        &self,
        placement: &Placement,
        instance: InstanceIdx,
        checked: bool,
    ) -> Result<Tried, &'static str> {
        let rules = match checked || !self.rules.capacity_checks {
            true => None,
            false => Some(Rules { capacity_checks: false, ..self.rules.clone() }),
        };
        let rules = rules.as_ref().unwrap_or(&self.rules);
        let search = Search::new(placement, instance, &self.scope, false, rules);
        if placement.instance(instance).template != DiskTemplate::Drbd {
            return match self.nodes.is_empty() {
                true => Err("No online nodes"),
                false => Ok(search.single(&self.nodes)),
            };
        }
        let mut all: Option<Tried> = None;
        for nodes in self.groups.iter().filter(|nodes| nodes.len() > 1) {
            let tried = search.pair(nodes);
            all = Some(match all {
                Some(all) => all.join(tried),
                None => tried,
            });
        }
        all.ok_or("Not enough online nodes")
    }

    /// Adds instances of a size until one does not fit, or `limit` are added. Errors: there are no nodes to try.
    pub(super) fn fill(
        &self,
        filled: &mut Filled,
        kind: Kind,
        size: Size,
        limit: Option<usize>,
    ) -> Result<(), &'static str> {
        let mut added = 0;
        let mut instance = self.candidate(filled, kind, size);
        loop {
            let tried = self.attempt(&filled.placement, instance, self.checks(kind))?;
            filled.failures = tried.failures;
            let Some((_, outcome)) = tried.best else { break };
            if limit.is_some_and(|limit| added >= limit) {
                break;
            }
            filled.placement.apply(instance, &outcome);
            filled.instances.push((instance, size));
            added += 1;
            instance = self.candidate(filled, kind, size);
        }
        filled.placement.drop_last();
        Ok(())
    }

    /// Whether an instance of this kind has to leave all nodes able to fail: the reserved memory of mirrored ones
    /// sees to that already.
    pub(super) fn checks(&self, kind: Kind) -> bool {
        kind.template != DiskTemplate::Drbd
    }

    /// One more instance, without a place.
    pub(super) fn candidate(&self, filled: &mut Filled, kind: Kind, size: Size) -> InstanceIdx {
        let name = format!("new-{}", filled.instances.len());
        filled.placement.add(kind.instance(name, size))
    }

    /// Why an instance of a size does not fit, or that it does. `checked`: all nodes have to stay able to fail.
    pub(super) fn probe(
        &self,
        filled: &mut Filled,
        kind: Kind,
        size: Size,
        checked: bool,
    ) -> Result<(bool, Failures), &'static str> {
        let instance = self.candidate(filled, kind, size);
        let tried = self.attempt(&filled.placement, instance, checked);
        filled.placement.drop_last();
        tried.map(|tried| (tried.best.is_some(), tried.failures))
    }
}
