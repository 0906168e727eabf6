//! Instances that are to leave their nodes.
//!
//! ```text
//!   primary only     shared storage: to the best node    mirrored: failover
//!   secondary only                                        mirrored: a new mirror on the best node
//!   all              shared storage: to the best node    mirrored: [failover,] mirror to x, failover, mirror to y
//! ```
//!
//! One after the other, each as the ones before have left the cluster. The best is what gives the lowest score of
//! the group's nodes; of equal ones the later. Source: Ganeti's reference on htools, hail.

use super::{Rules, groups};
use crate::fail::FailMode;
use crate::model::{DiskTemplate, GroupIdx, InstanceIdx, NodeIdx};
use crate::moves::Kind;
use crate::score::Scorer;
use crate::state::{Outcome, Placement, Seat, Working};
use roost_proto::capabilities::Mirroring;
use roost_proto::choices::EvacMode;
use std::collections::HashSet;

/// Scores closer than this are compared as the reference computes them.
const CLOSE: f64 = 1e-9;

/// An instance that has left.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    pub instance: InstanceIdx,
    /// Where it is now.
    pub group: GroupIdx,
    pub to: Seat,
    /// One job.
    pub steps: Vec<Kind>,
}

/// What came of an evacuation. Both in the order asked for.
#[derive(Clone, Debug)]
pub struct Evacuation {
    pub moved: Vec<Moved>,
    /// Instances that stay, and why.
    pub failed: Vec<(InstanceIdx, String)>,
    /// As it is afterwards.
    pub placement: Placement,
}

/// Moves instances off their nodes, within their groups.
pub fn evacuate(
    placement: &Placement,
    instances: &[InstanceIdx],
    mode: EvacMode,
    rules: &Rules,
) -> Evacuation {
    let left = nodes_to_leave(placement, instances, mode);
    let mut result = Evacuation { moved: vec![], failed: vec![], placement: placement.clone() };
    result.placement.empty_out(&emptied(placement, instances, mode));
    for &instance in instances {
        let old = placement.primary(instance);
        let now = result.placement.primary(instance);
        if now == NodeIdx::NONE {
            result.failed.push((instance, "it has no place yet".into()));
            continue;
        }
        let cluster = placement.cluster();
        let group = cluster.nodes[now.at()].group;
        let stays = |node: &NodeIdx| {
            !cluster.nodes[node.at()].offline && !left.contains(node) && *node != old
        };
        let targets: Vec<NodeIdx> = cluster.nodes_of(group).filter(stays).collect();
        let leaving = Leaving {
            placement: &result.placement,
            instance,
            group,
            targets: &targets,
            force: rules.ignore_soft_errors,
        };
        let found = leaving.leave(mode);
        result.take(instance, group, found);
    }
    result
}

/// Moves instances to other groups: to the best of `groups` each, or, if none is named, of all that none of them
/// is in.
pub fn change_group(
    placement: &Placement,
    instances: &[InstanceIdx],
    groups: &[GroupIdx],
    rules: &Rules,
) -> Evacuation {
    let cluster = placement.cluster();
    let home = |instance: &InstanceIdx| match placement.primary(*instance) {
        NodeIdx::NONE => None,
        node => Some(cluster.nodes[node.at()].group),
    };
    let left: HashSet<GroupIdx> = instances.iter().filter_map(home).collect();
    let all: Vec<GroupIdx> = (0..cluster.groups.len()).map(GroupIdx::of).collect();
    let asked = if groups.is_empty() { &all } else { groups };
    let targets: Vec<GroupIdx> =
        asked.iter().copied().filter(|group| !left.contains(group)).collect();
    let mut result = Evacuation { moved: vec![], failed: vec![], placement: placement.clone() };
    // A group is chosen as for one instance more, while the instance still is where it was.
    let mut with_guests = placement.clone();
    for &instance in instances {
        let given = placement.instance(instance);
        let guest = with_guests.add(given.clone());
        let nodes = given.template.required_nodes();
        let group = match groups::among(&with_guests, guest, Some(&targets), nodes, false, rules) {
            Ok(allocation) => allocation.group,
            Err(none) => {
                result.failed.push((instance, none.to_string()));
                continue;
            }
        };
        let online = |node: &NodeIdx| !cluster.nodes[node.at()].offline;
        let targets: Vec<NodeIdx> = cluster.nodes_of(group).filter(online).collect();
        let leaving = Leaving {
            placement: &result.placement,
            instance,
            group,
            targets: &targets,
            force: false,
        };
        let found = leaving.leave(EvacMode::All);
        if let Ok(left) = &found {
            with_guests.apply(instance, &left.outcome);
        }
        result.take(instance, group, found);
    }
    result
}

/// The nodes that are to be left.
fn nodes_to_leave(
    placement: &Placement,
    instances: &[InstanceIdx],
    mode: EvacMode,
) -> HashSet<NodeIdx> {
    let mut nodes = HashSet::new();
    for &instance in instances {
        let secondary = placement.secondary(instance);
        let mirrored = placement.instance(instance).template == DiskTemplate::Drbd;
        if mode != EvacMode::SecondaryOnly {
            nodes.insert(placement.primary(instance));
        }
        if mode != EvacMode::PrimaryOnly && mirrored {
            nodes.extend(secondary);
        }
    }
    nodes
}

/// The nodes on which no instance stays: placement rules hold nobody there.
fn emptied(placement: &Placement, instances: &[InstanceIdx], mode: EvacMode) -> Vec<NodeIdx> {
    if mode == EvacMode::SecondaryOnly || placement.cluster().rules.is_empty() {
        return vec![];
    }
    let leaves: HashSet<InstanceIdx> = instances.iter().copied().collect();
    let mut nodes: HashSet<NodeIdx> =
        instances.iter().map(|instance| placement.primary(*instance)).collect();
    nodes.remove(&NodeIdx::NONE);
    for instance in (0..placement.cluster().instances.len()).map(InstanceIdx::of) {
        if !leaves.contains(&instance) {
            nodes.remove(&placement.primary(instance));
        }
    }
    nodes.into_iter().collect()
}

/// How an instance leaves.
struct Left {
    steps: Vec<Kind>,
    outcome: Outcome,
}

type Found = Result<Left, String>;

impl Evacuation {
    fn take(&mut self, instance: InstanceIdx, group: GroupIdx, found: Found) {
        match found {
            Ok(Left { steps, outcome }) => {
                self.placement.apply(instance, &outcome);
                let to = Seat::of(&self.placement, instance);
                self.moved.push(Moved { instance, group, to, steps });
            }
            Err(why) => self.failed.push((instance, why)),
        }
    }
}

/// An instance that leaves.
struct Leaving<'p> {
    placement: &'p Placement,
    instance: InstanceIdx,
    group: GroupIdx,
    targets: &'p [NodeIdx],
    force: bool,
}

impl Leaving<'_> {
    fn leave(&self, mode: EvacMode) -> Found {
        let template = self.placement.instance(self.instance).template;
        match (template.mirroring(), mode) {
            (Mirroring::None, _) => {
                Err(format!("Instances of type {} cannot be relocated", template.as_str()))
            }
            (Mirroring::External, EvacMode::SecondaryOnly) => Err(format!(
                "Instances with disk template '{}' can't execute change secondary",
                template.as_str()
            )),
            (Mirroring::External, _) => self.to_one(Kind::FailoverToAny),
            (Mirroring::Internal, EvacMode::PrimaryOnly) => self.fail_over(),
            (Mirroring::Internal, EvacMode::SecondaryOnly) => self.to_one(Kind::ReplaceSecondary),
            (Mirroring::Internal, EvacMode::All) => self.to_two(),
        }
    }

    fn offline(&self, node: NodeIdx) -> bool {
        self.placement.cluster().nodes[node.at()].offline
    }

    fn best(&self) -> Best<'_> {
        let nodes = self.placement.cluster().nodes_of(self.group).collect();
        let scorer = Scorer::new(self.placement, nodes);
        Best { placement: self.placement, scorer, least: f64::INFINITY, close: vec![] }
    }

    fn fail_over(&self) -> Found {
        let mut outcome = Outcome::default();
        let working = self.placement.begin(self.instance);
        match working.failover(self.force, &mut outcome) {
            Ok(()) => Ok(Left { steps: vec![Kind::Failover], outcome }),
            Err(mode) => Err(mode.to_string()),
        }
    }

    /// One node becomes another.
    fn to_one(&self, kind: impl Fn(NodeIdx) -> Kind) -> Found {
        let working = self.placement.begin(self.instance);
        let (mut best, mut why) = (self.best(), String::new());
        let mut outcome = Outcome::default();
        for &node in self.targets {
            match kind(node).attempt(&working, self.force, &mut outcome) {
                Ok(()) => best.offer(&outcome, [kind(node); 1].into()),
                Err(mode) => {
                    let name = &self.placement.cluster().nodes[node.at()].name;
                    why += &format!(" Node {name} failed: {mode};");
                }
            }
        }
        best.ends().ok_or_else(|| format!("Can't find any good node: {why}"))
    }

    /// Both nodes become others: by way of a pair that is one half old, one half new.
    fn to_two(&self) -> Found {
        let mut why = "no nodes available".to_owned();
        let mut steps = vec![];
        let mut start = std::borrow::Cow::Borrowed(self.placement);
        let mut outcome = Outcome::default();
        if self.offline(self.placement.primary(self.instance)) && self.targets.len() > 1 {
            let working = self.placement.begin(self.instance);
            if let Err(mode) = working.failover(self.force, &mut outcome) {
                why = format!("Allocation failed: Failing over to the secondary: {mode}");
                return Err(format!("Can't find any good nodes for relocation: {why}"));
            }
            steps.push(Kind::Failover);
            start.to_mut().apply(self.instance, &outcome);
        }
        let working = start.begin(self.instance);
        // What remains is the same from wherever it starts: scored where it is applied.
        let here = self.placement.begin(self.instance);
        let mut best = self.best();
        for &primary in self.targets {
            let others = || self.targets.iter().copied().filter(|node| *node != primary);
            let way = self.by_way_of(&start, &working, primary);
            if let Err(failed) = &way {
                if others().next().is_some() {
                    why = format!("Allocation failed: {failed}");
                }
                continue;
            }
            let force = self.force || self.offline(start.primary(self.instance));
            for secondary in others() {
                match here.place(primary, Some(secondary), (true, force), &mut outcome) {
                    Ok(()) => {
                        let ways = [
                            Kind::ReplaceSecondary(primary),
                            Kind::Failover,
                            Kind::ReplaceSecondary(secondary),
                        ];
                        best.offer(&outcome, ways.into());
                    }
                    Err(mode) => {
                        let failed = "Changing secondary to final secondary";
                        why = format!("Allocation failed: {failed}: {mode}");
                    }
                }
            }
        }
        let left = best.ends();
        let left =
            left.ok_or_else(|| format!("Can't find any good nodes for relocation: {why}"))?;
        steps.extend(left.steps);
        Ok(Left { steps, ..left })
    }

    /// Whether the instance can get to its new primary, its old one being secondary then. Errors: which step fails.
    fn by_way_of(
        &self,
        start: &Placement,
        working: &Working<'_>,
        primary: NodeIdx,
    ) -> Result<(), String> {
        let mut outcome = Outcome::default();
        working
            .replace_secondary(primary, self.force, &mut outcome)
            .map_err(|mode| format!("Changing secondary to new primary: {mode}"))?;
        let old = start.primary(self.instance);
        let moved = match start.rules().can_migrate(old, primary) {
            false => Err(FailMode::Mig),
            // Nobody asks for room on a node that is gone.
            true if self.offline(old) => working.place(primary, None, (true, true), &mut outcome),
            true => {
                let force = (self.force, self.force);
                working.place(primary, Some(old), force, &mut outcome)
            }
        };
        moved.map_err(|mode| format!("Failing over to new primary: {mode}"))
    }
}

/// The steps of a candidate; few, and made millions of times.
#[derive(Clone, Copy)]
struct Steps([Option<Kind>; 3]);

impl From<[Kind; 1]> for Steps {
    fn from([one]: [Kind; 1]) -> Steps {
        Steps([Some(one), None, None])
    }
}

impl From<[Kind; 3]> for Steps {
    fn from(all: [Kind; 3]) -> Steps {
        Steps(all.map(Some))
    }
}

/// The best so far; of equal ones the later.
struct Best<'p> {
    placement: &'p Placement,
    scorer: Scorer,
    least: f64,
    close: Vec<(f64, Outcome, Steps)>,
}

impl Best<'_> {
    fn offer(&mut self, outcome: &Outcome, steps: Steps) {
        let score = self.scorer.after(self.placement, outcome);
        if score > self.least + CLOSE {
            return;
        }
        if score < self.least {
            self.least = score;
            self.close.retain(|(other, ..)| *other <= score + CLOSE);
        }
        self.close.push((score, *outcome, steps));
    }

    fn ends(self) -> Option<Left> {
        let mut best: Option<(f64, Outcome, Steps)> = None;
        for (_, outcome, steps) in self.close {
            let score = self.scorer.exact_after(self.placement, &outcome).total;
            if best.as_ref().is_none_or(|(least, ..)| score <= *least) {
                best = Some((score, outcome, steps));
            }
        }
        let (_, outcome, steps) = best?;
        Some(Left { steps: steps.0.into_iter().flatten().collect(), outcome })
    }
}
