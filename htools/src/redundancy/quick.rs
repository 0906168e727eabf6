//! What can be said of a node's failure without trying it, and what a new instance changes in that.

use super::residents::{Residents, goes_anywhere};
use super::trial::{self, Stuck};
use super::{Options, Reason};
use crate::fail::FailMode;
use crate::model::{DiskTemplate, Instance, InstanceIdx, NodeIdx};
use crate::state::{NodeState, Outcome, Placement};
use std::sync::Arc;

/// What is looked at: a placement, perhaps with one instance more.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    placement: &'a Placement,
    new: Option<(InstanceIdx, &'a Outcome)>,
}

impl<'a> View<'a> {
    pub fn now(placement: &'a Placement) -> View<'a> {
        View { placement, new: None }
    }

    fn state(&self, node: NodeIdx) -> &NodeState {
        let new = self
            .new
            .and_then(|(_, outcome)| outcome.changed().iter().find(|changed| changed.node == node));
        new.map_or(self.placement.node(node), |changed| &changed.state)
    }

    /// The new instance, if it is on this node.
    fn guest(&self, node: NodeIdx) -> Option<InstanceIdx> {
        let (instance, outcome) = self.new?;
        let there = !self.placement.instance(instance).forthcoming;
        (there && outcome.primary == node).then_some(instance)
    }

    fn secondary(&self, instance: InstanceIdx) -> Option<NodeIdx> {
        match self.new {
            Some((new, outcome)) if new == instance => outcome.secondary,
            _ => self.placement.secondary(instance),
        }
    }
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Safe,
    /// It is in vain to look further, however many instances come: they only take room.
    Stuck(Stuck),
    Unclear,
}

/// Tables to judge with.
#[derive(Clone, Debug)]
pub(super) struct Judge<'p> {
    placement: &'p Placement,
    residents: Arc<Residents>,
    /// Memory that secondaries take over from the node at hand; 0 but while it is judged.
    taken: Vec<i64>,
    touched: Vec<NodeIdx>,
}

/// What the instances without a secondary need of another node, each of them.
struct Needs {
    count: usize,
    /// Whether any runs on shared storage and has to migrate.
    migrates: bool,
    memory: i64,
    disk: Option<i64>,
    /// Of disks; `None`: some are not known.
    spindles: Option<i64>,
}

impl<'p> Judge<'p> {
    pub fn new(placement: &'p Placement, residents: Arc<Residents>) -> Judge<'p> {
        let taken = vec![0; placement.cluster().nodes.len()];
        Judge { placement, residents, taken, touched: vec![] }
    }

    /// What is known of a node. Safe: still with `margin` nodes fewer that have room.
    pub fn judge(&mut self, node: NodeIdx, view: View<'_>, margin: usize) -> Verdict {
        self.judge_and(node, view, margin, |_, _| {})
    }

    /// The same; told are secondaries and the memory that they take over.
    fn judge_and(
        &mut self,
        node: NodeIdx,
        view: View<'_>,
        margin: usize,
        mut each: impl FnMut(NodeIdx, i64),
    ) -> Verdict {
        let verdict = match self.secondaries_suffice(node, view) {
            Err(stuck) => Verdict::Stuck(stuck),
            Ok(()) => self.others_suffice(node, view, margin),
        };
        for &touched in &self.touched {
            each(touched, self.taken[touched.at()]);
        }
        for touched in self.touched.drain(..) {
            self.taken[touched.at()] = 0;
        }
        verdict
    }

    fn residents(&self, node: NodeIdx, view: View<'_>) -> Vec<InstanceIdx> {
        view.guest(node).into_iter().chain(self.residents.of_node(node).iter().copied()).collect()
    }

    /// Whether all mirrored instances can fail over. Their memory is in `taken` then.
    fn secondaries_suffice(&mut self, node: NodeIdx, view: View<'_>) -> Result<(), Stuck> {
        let cluster = self.placement.cluster();
        let given = &cluster.nodes[node.at()];
        for index in self.residents(node, view) {
            let instance = &cluster.instances[index.at()];
            if instance.template != DiskTemplate::Drbd {
                continue;
            }
            let secondary = view.secondary(index);
            let stuck = |mode| (index, Reason::Secondary(secondary, mode));
            let to = secondary.ok_or_else(|| stuck(FailMode::Internal))?;
            let taken = &mut self.taken[to.at()];
            if *taken == 0 {
                // Perhaps twice, which does no harm.
                self.touched.push(to);
            }
            *taken += if instance.uses_memory() { instance.memory } else { 0 };
            let left = view.state(to).unallocated - *taken;
            let (here, there) = (view.state(node), view.state(to));
            let spindles =
                |state: &NodeState| state.free_spindles >= 0 && instance.disk_spindles().is_some();
            let checks = [
                (self.placement.rules().can_migrate(node, to), FailMode::Mig),
                (left > 0, FailMode::Mem),
                (there.free_disk > 0, FailMode::Disk),
                (!cluster.nodes[to.at()].exclusive_storage || spindles(there), FailMode::Spindles),
                (given.offline || here.free_disk > 0, FailMode::Disk),
                (!given.exclusive_storage || spindles(here), FailMode::Spindles),
            ];
            if let Some((_, mode)) = checks.into_iter().find(|(holds, _)| !holds) {
                return Err(stuck(mode));
            }
        }
        Ok(())
    }

    /// Whether there are obviously enough nodes for the others.
    fn others_suffice(&self, node: NodeIdx, view: View<'_>, margin: usize) -> Verdict {
        let cluster = self.placement.cluster();
        let alone: Vec<InstanceIdx> = self
            .residents(node, view)
            .into_iter()
            .filter(|i| cluster.instances[i.at()].template != DiskTemplate::Drbd)
            .collect();
        if alone.is_empty() {
            return Verdict::Safe;
        }
        let instances = || alone.iter().map(|i| &cluster.instances[i.at()]);
        let all = Needs::of(instances());
        let admitted = [false, true].map(|exclusive| {
            let policy = &cluster.group_of(node).policy;
            instances().filter(|i| !goes_anywhere(i)).all(|i| policy.admits(i, exclusive).is_ok())
        });
        let wanted = all.count + margin;
        let fit = |needs: &Needs, to: NodeIdx| self.fits(needs, node, to, view);
        let admits = |to: NodeIdx| admitted[usize::from(cluster.nodes[to.at()].exclusive_storage)];
        let others = || self.others(node);
        if others().filter(|to| admits(*to) && fit(&all, *to)).take(wanted).count() == wanted {
            return Verdict::Safe;
        }
        for &index in &alone {
            let instance = &cluster.instances[index.at()];
            let (needs, policy) = (Needs::of([instance]), &cluster.group_of(node).policy);
            let admits = |to: NodeIdx| {
                let exclusive = cluster.nodes[to.at()].exclusive_storage;
                goes_anywhere(instance) || policy.admits(instance, exclusive).is_ok()
            };
            if !others().any(|to| admits(to) && fit(&needs, to)) {
                return Verdict::Stuck((index, Reason::NoNode(self.why(node, instance, view))));
            }
        }
        Verdict::Unclear
    }

    /// The other nodes of a node's group, those behind it first: so not all look at the same.
    fn others(&self, node: NodeIdx) -> impl Iterator<Item = NodeIdx> + '_ {
        let nodes = &self.placement.cluster().nodes;
        let (group, at) = (nodes[node.at()].group, node.at());
        let all = (at + 1..nodes.len()).chain(0..at);
        all.filter(move |other| nodes[*other].group == group).map(NodeIdx::of)
    }

    /// Whether an instance with these needs fits on a node.
    fn fits(&self, needs: &Needs, from: NodeIdx, to: NodeIdx, view: View<'_>) -> bool {
        self.obstacle(needs, from, to, view).is_none()
    }

    fn obstacle(
        &self,
        needs: &Needs,
        from: NodeIdx,
        to: NodeIdx,
        view: View<'_>,
    ) -> Option<FailMode> {
        let state = view.state(to);
        let exclusive = self.placement.cluster().nodes[to.at()].exclusive_storage;
        let spindles = || needs.spindles.is_some_and(|spindles| state.free_spindles >= spindles);
        if needs.migrates && !self.placement.rules().can_migrate(from, to) {
            return Some(FailMode::Mig);
        }
        if state.unallocated - self.taken[to.at()] <= needs.memory {
            return Some(FailMode::Mem);
        }
        let disk = needs.disk?;
        if state.free_disk <= disk {
            return Some(FailMode::Disk);
        }
        (exclusive && !spindles()).then_some(FailMode::Spindles)
    }

    /// Why no node takes an instance.
    fn why(&self, node: NodeIdx, instance: &Instance, view: View<'_>) -> crate::allocate::Failures {
        let cluster = self.placement.cluster();
        let (needs, policy) = (Needs::of([instance]), &cluster.group_of(node).policy);
        let mut failures = crate::allocate::Failures::default();
        for to in self.others(node) {
            let exclusive = cluster.nodes[to.at()].exclusive_storage;
            let refused =
                policy.admits(instance, exclusive).err().filter(|_| !goes_anywhere(instance));
            let obstacle = refused.or_else(|| self.obstacle(&needs, node, to, view));
            if let Some(mode) = obstacle {
                failures.add(mode, 1);
            }
        }
        failures
    }
}

impl Needs {
    /// The most that any of them needs.
    fn of<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Needs {
        let mut needs =
            Needs { count: 0, migrates: false, memory: 0, disk: None, spindles: Some(0) };
        for instance in instances {
            needs.count += 1;
            needs.migrates |= goes_anywhere(instance);
            if instance.uses_memory() {
                needs.memory = needs.memory.max(instance.memory);
            }
            if instance.template.uses_lvm() {
                needs.disk = Some(needs.disk.unwrap_or(0).max(instance.disk));
                needs.spindles = match (needs.spindles, instance.disk_spindles()) {
                    (Some(one), Some(other)) => Some(one.max(other)),
                    _ => None,
                };
            }
        }
        needs
    }
}

/// Whether all nodes can fail, and still could with one instance more: asked for many places of it.
///
/// ```text
///   new: every node judged once ─┬─ safe by a margin: not looked at again
///                                ├─ stuck: nothing helps
///                                └─ fragile: tried again for every place
/// ```
#[derive(Clone, Debug)]
pub struct Redundancy<'p> {
    placement: &'p Placement,
    nodes: &'p [NodeIdx],
    judge: Judge<'p>,
    /// By node: whether it has to be able to fail.
    asked: Vec<bool>,
    /// By node: the most memory that it would take over as secondary of any that has to.
    most_taken: Vec<Option<i64>>,
    hopeless: bool,
    fragile: Vec<NodeIdx>,
}

impl<'p> Redundancy<'p> {
    /// Of the nodes named, which are all there are.
    pub fn new(
        placement: &'p Placement,
        nodes: &'p [NodeIdx],
        options: &Options,
    ) -> Redundancy<'p> {
        let count = placement.cluster().nodes.len();
        let mut most_taken: Vec<Option<i64>> = vec![None; count];
        let mut asked = vec![false; count];
        let (mut hopeless, mut fragile) = (false, vec![]);
        let mut judge = Judge::new(placement, Arc::new(Residents::of(placement)));
        for node in options.asked(placement.cluster(), nodes) {
            asked[node.at()] = true;
            // A new instance takes room of two nodes at most.
            let verdict = judge.judge_and(node, View::now(placement), 2, |secondary, taken| {
                let most = &mut most_taken[secondary.at()];
                *most = Some(most.map_or(taken, |most| most.max(taken)));
            });
            match verdict {
                Verdict::Safe => {}
                Verdict::Stuck(_) => hopeless = true,
                Verdict::Unclear => fragile.push(node),
            }
        }
        Redundancy { placement, nodes, judge, asked, most_taken, hopeless, fragile }
    }

    /// Whether no place of a new instance leaves all nodes able to fail.
    pub fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// Whether all nodes can fail when the instance, which has no place yet, has come.
    pub fn survives(&mut self, instance: InstanceIdx, outcome: &Outcome) -> bool {
        if self.hopeless {
            return false;
        }
        let view = View { placement: self.placement, new: Some((instance, outcome)) };
        let host = outcome.primary;
        let left = view.state(host).unallocated;
        if self.most_taken[host.at()].is_some_and(|taken| left <= taken) {
            return false;
        }
        let mut after: Option<Placement> = None;
        let own = self.asked[host.at()].then_some(host);
        let others = self.fragile.iter().copied().filter(|node| *node != host);
        own.into_iter().chain(others).all(|node| match self.judge.judge(node, view, 0) {
            Verdict::Safe => true,
            Verdict::Stuck(_) => false,
            Verdict::Unclear => {
                let after = after.get_or_insert_with(|| {
                    let mut after = self.placement.clone();
                    after.apply(instance, outcome);
                    after
                });
                let residents = self.judge.residents(node, view);
                trial::fail(after, self.nodes, node, &residents).is_ok()
            }
        })
    }
}
