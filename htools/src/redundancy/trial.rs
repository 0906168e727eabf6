//! Letting a node fail on a copy of the placement.

use super::Reason;
use super::residents::goes_anywhere;
use crate::allocate::Failures;
use crate::fail::FailMode;
use crate::model::{DiskTemplate, InstanceIdx, NodeIdx};
use crate::score::Scorer;
use crate::state::{Outcome, Placement};

/// Scores closer than this are compared as the reference computes them.
const CLOSE: f64 = 1e-9;

/// An instance that has no place, and why.
pub(super) type Stuck = (InstanceIdx, Reason);

/// Takes all residents from a node. `nodes`: all there are. Errors: the first that has no place.
pub(super) fn fail(
    placement: &Placement,
    nodes: &[NodeIdx],
    node: NodeIdx,
    residents: &[InstanceIdx],
) -> Result<(), Stuck> {
    let cluster = placement.cluster();
    let template = |instance: InstanceIdx| cluster.instances[instance.at()].template;
    let mut after = placement.clone();
    let mut outcome = Outcome::default();
    for &instance in residents.iter().filter(|i| template(**i) == DiskTemplate::Drbd) {
        if let Err(mode) = after.begin(instance).failover(true, &mut outcome) {
            return Err((instance, Reason::Secondary(after.secondary(instance), mode)));
        }
        after.apply(instance, &outcome);
    }
    let group = cluster.nodes[node.at()].group;
    let members: Vec<NodeIdx> =
        nodes.iter().copied().filter(|n| cluster.nodes[n.at()].group == group).collect();
    let others: Vec<NodeIdx> = members.iter().copied().filter(|other| *other != node).collect();
    let (shared, mut local): (Vec<InstanceIdx>, Vec<InstanceIdx>) = residents
        .iter()
        .filter(|instance| template(**instance) != DiskTemplate::Drbd)
        .partition(|instance| goes_anywhere(&cluster.instances[instance.at()]));
    if !shared.is_empty() {
        let mut best = Best::new(Scorer::new(&after, members));
        for instance in shared {
            let outcome = best.of(&after, &others, |to, outcome| {
                after.begin(instance).failover_to_any(to, true, outcome)
            });
            let outcome = outcome.map_err(|why| (instance, Reason::NoNode(why)))?;
            after.apply(instance, &outcome);
            best.scorer.recompute(&after);
        }
    }
    if !local.is_empty() {
        local.sort_by_key(|instance| -cluster.instances[instance.at()].memory);
        let mut best = Best::new(Scorer::new(&after, nodes.to_vec()));
        for instance in local {
            let given = &cluster.instances[instance.at()];
            after.leave_behind(instance);
            let outcome = best.of(&after, &others, |to, outcome| {
                let exclusive = cluster.nodes[to.at()].exclusive_storage;
                cluster.group_of(to).policy.admits(given, exclusive)?;
                after.begin(instance).place(to, None, (true, true), outcome)
            });
            let outcome = outcome.map_err(|why| (instance, Reason::NoNode(why)))?;
            after.apply(instance, &outcome);
            best.scorer.recompute(&after);
        }
    }
    Ok(())
}

/// The best of some nodes; of equal ones the later.
struct Best {
    scorer: Scorer,
    close: Vec<(f64, Outcome)>,
}

impl Best {
    fn new(scorer: Scorer) -> Best {
        Best { scorer, close: vec![] }
    }

    fn of(
        &mut self,
        placement: &Placement,
        nodes: &[NodeIdx],
        attempt: impl Fn(NodeIdx, &mut Outcome) -> Result<(), FailMode>,
    ) -> Result<Outcome, Failures> {
        self.close.clear();
        let (mut failures, mut least) = (Failures::default(), f64::INFINITY);
        let mut outcome = Outcome::default();
        for &node in nodes {
            if let Err(mode) = attempt(node, &mut outcome) {
                failures.add(mode, 1);
                continue;
            }
            let score = self.scorer.after(placement, &outcome);
            if score <= least + CLOSE {
                least = least.min(score);
                self.close.push((score, outcome));
            }
        }
        let mut best: Option<(f64, Outcome)> = None;
        for (_, outcome) in self.close.iter().filter(|(score, _)| *score <= least + CLOSE) {
            let score = self.scorer.exact_after(placement, outcome).total;
            if best.is_none_or(|(least, _)| score <= least) {
                best = Some((score, *outcome));
            }
        }
        best.map(|(_, outcome)| outcome).ok_or(failures)
    }
}
