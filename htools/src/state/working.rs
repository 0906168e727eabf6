//! One instance in hand: what its nodes are without it, and would be with it.

use super::{NodeState, Placement};
use crate::fail::FailMode;
use crate::model::{Instance, InstanceIdx, NodeIdx};

/// A node that is no longer as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changed {
    pub node: NodeIdx,
    pub state: NodeState,
    /// Whose share of the reserved memory went, and came.
    left: Option<NodeIdx>,
    came: Option<NodeIdx>,
}

/// Where an instance would be, and what its nodes would be then.
///
/// It is large for something that is made millions of times a second: whoever tries many moves fills one
/// again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    changed: [Changed; 4],
    count: usize,
    pub primary: NodeIdx,
    pub secondary: Option<NodeIdx>,
    /// By how much the conflicts of failure domains change.
    pub location_conflicts: i64,
    /// By how much the penalty of placement rules changes.
    pub rules: i64,
}

impl Outcome {
    /// What takes it back once it has happened, if it is asked for before.
    pub fn undo(&self, placement: &Placement, instance: InstanceIdx) -> Outcome {
        let mut undo = *self;
        for changed in &mut undo.changed[..self.count] {
            changed.state = *placement.node(changed.node);
        }
        (undo.primary, undo.secondary) =
            (placement.primary(instance), placement.secondary(instance));
        undo.location_conflicts = -self.location_conflicts;
        undo.rules = -self.rules;
        undo
    }

    /// The nodes that would be different.
    pub fn changed(&self) -> &[Changed] {
        &self.changed[..self.count]
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Working<'p> {
    placement: &'p Placement,
    index: InstanceIdx,
    instance: &'p Instance,
    memory: i64,
    /// How far from where it wants to be it is now.
    part: i64,
    /// Nothing: it has no place yet.
    without_primary: Option<Changed>,
    without_secondary: Option<Changed>,
}

type Checked = Result<(), FailMode>;

impl<'p> Working<'p> {
    pub(super) fn new(placement: &'p Placement, index: InstanceIdx) -> Working<'p> {
        let instance = placement.instance(index);
        let (primary, secondary) = (placement.primary(index), placement.secondary(index));
        let mut working = Working {
            placement,
            index,
            instance,
            memory: instance.secondary_memory(),
            part: 0,
            without_primary: None,
            without_secondary: None,
        };
        if primary == NodeIdx::NONE {
            return working;
        }
        working.part = placement.location_part(index, primary, secondary);
        let mut hand = working.hand(primary);
        // Which exclusion tags it shares with others is asked with itself still on its node.
        working.without_primary = Some(hand);
        working.remove_primary(&mut hand);
        working.without_primary = Some(hand);
        working.without_secondary = secondary.map(|node| {
            let mut hand = working.hand(node);
            working.remove_secondary(&mut hand, primary);
            hand
        });
        working
    }

    /// Its nodes without it: the primary and the secondary.
    pub(super) fn gone(&self) -> [Option<Changed>; 2] {
        [self.without_primary, self.without_secondary]
    }

    /// The instance in hand.
    pub fn index(&self) -> InstanceIdx {
        self.index
    }

    /// Where it is; [`NodeIdx::NONE`]: nowhere yet.
    fn old_primary(&self) -> NodeIdx {
        self.without_primary.map_or(NodeIdx::NONE, |hand| hand.node)
    }

    /// The primary as it is without the instance. Errors: it has no place yet.
    fn old_primary_hand(&self) -> Result<&Changed, FailMode> {
        self.without_primary.as_ref().ok_or(FailMode::Internal)
    }

    fn offline(&self, node: NodeIdx) -> bool {
        self.placement.cluster().nodes[node.at()].offline
    }

    fn can_migrate(&self, from: NodeIdx, to: NodeIdx) -> Checked {
        if self.placement.rules().can_migrate(from, to) { Ok(()) } else { Err(FailMode::Mig) }
    }

    /// A node as it is without the instance.
    fn hand(&self, node: NodeIdx) -> Changed {
        match (&self.without_primary, &self.without_secondary) {
            (Some(hand), _) | (_, Some(hand)) if hand.node == node => *hand,
            _ => Changed { node, state: *self.placement.node(node), left: None, came: None },
        }
    }

    /// The secondary as it is without the instance. Errors: there is none.
    fn old_secondary(&self) -> Result<&Changed, FailMode> {
        self.without_secondary.as_ref().ok_or(FailMode::Internal)
    }

    /// Onto another node with storage that both reach.
    pub fn failover_to_any(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let from = self.old_primary_hand()?;
        self.can_migrate(from.node, to)?;
        out.changed[0] = self.hand(to);
        self.add_primary(&mut out.changed[0], None, force || self.offline(from.node))?;
        out.changed[1] = *from;
        self.ends(out, 2, to, None)
    }

    /// Primary and secondary change places.
    pub fn failover(&self, force: bool, out: &mut Outcome) -> Checked {
        let (to, from) = (self.old_secondary()?, self.old_primary_hand()?);
        self.can_migrate(from.node, to.node)?;
        let dead = self.offline(from.node);
        (out.changed[0], out.changed[1]) = (*to, *from);
        self.add_primary(&mut out.changed[0], Some(from.node), force || dead)?;
        self.add_secondary(&mut out.changed[1], to.node, dead, force || dead)?;
        self.ends(out, 2, to.node, Some(from.node))
    }

    /// The primary becomes another; in between the secondary runs the instance.
    pub fn replace_primary(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let secondary = self.old_secondary()?;
        self.can_migrate(self.old_primary(), secondary.node)?;
        self.can_migrate(secondary.node, to)?;
        let force = force || self.offline(self.old_primary());
        out.changed[1] = *secondary;
        self.add_primary(&mut out.changed[1], Some(to), force)?;
        out.changed[0] = self.hand(to);
        self.add_primary(&mut out.changed[0], Some(secondary.node), force)?;
        out.changed[1] = *secondary;
        self.add_secondary(&mut out.changed[1], to, false, force)?;
        out.changed[2] = *self.old_primary_hand()?;
        self.ends(out, 3, to, Some(secondary.node))
    }

    /// The secondary becomes another.
    pub fn replace_secondary(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let (primary, secondary) = (self.old_primary_hand()?, self.old_secondary()?);
        let force = force || self.offline(secondary.node);
        out.changed[1] = self.hand(to);
        self.add_secondary(&mut out.changed[1], primary.node, false, force)?;
        out.changed[0] = *primary;
        self.add_primary(&mut out.changed[0], Some(to), true)?;
        out.changed[2] = *secondary;
        self.ends(out, 3, primary.node, Some(to))
    }

    /// The mirror goes to another node, and then the instance too.
    pub fn replace_and_failover(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let (primary, secondary) = (self.old_primary_hand()?, self.old_secondary()?);
        self.can_migrate(primary.node, to)?;
        out.changed[0] = self.hand(to);
        self.add_primary(&mut out.changed[0], Some(primary.node), force)?;
        out.changed[1] = *primary;
        let force = force || self.offline(secondary.node);
        self.add_secondary(&mut out.changed[1], to, false, force)?;
        out.changed[2] = *secondary;
        self.ends(out, 3, to, Some(primary.node))
    }

    /// The secondary becomes primary, and another node secondary.
    pub fn failover_and_replace(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let secondary = self.old_secondary()?;
        self.can_migrate(self.old_primary(), secondary.node)?;
        let force = force || self.offline(self.old_primary());
        out.changed[0] = *secondary;
        self.add_primary(&mut out.changed[0], Some(to), force)?;
        out.changed[1] = self.hand(to);
        self.add_secondary(&mut out.changed[1], secondary.node, false, force)?;
        out.changed[2] = *self.old_primary_hand()?;
        self.ends(out, 3, secondary.node, Some(to))
    }

    /// Onto these nodes, wherever it is now, if anywhere: what allocation asks. How it would get there is not
    /// looked at. `force`: soft checks of the primary, and of the secondary, do not count.
    pub fn place(
        &self,
        primary: NodeIdx,
        secondary: Option<NodeIdx>,
        force: (bool, bool),
        out: &mut Outcome,
    ) -> Checked {
        out.changed[0] = self.hand(primary);
        self.add_primary(&mut out.changed[0], secondary, force.0)?;
        let mut count = 1;
        if let Some(node) = secondary {
            out.changed[1] = self.hand(node);
            self.add_secondary(&mut out.changed[1], primary, false, force.1)?;
            count = 2;
        }
        for old in [&self.without_primary, &self.without_secondary].into_iter().flatten() {
            if old.node != primary && Some(old.node) != secondary {
                out.changed[count] = *old;
                count += 1;
            }
        }
        self.ends(out, count, primary, secondary)
    }

    /// Onto these nodes, however full they are then: how it is put back where it was.
    pub fn settle(&self, primary: NodeIdx, secondary: Option<NodeIdx>, out: &mut Outcome) {
        // Checks come when all of a state is changed, so what they say does not matter.
        out.changed[0] = self.hand(primary);
        self.add_primary(&mut out.changed[0], secondary, true).ok();
        let mut count = 1;
        if let Some(node) = secondary {
            out.changed[1] = self.hand(node);
            self.add_secondary(&mut out.changed[1], primary, true, true).ok();
            count = 2;
        }
        let olds = [&self.without_primary, &self.without_secondary].into_iter().flatten();
        for old in olds.filter(|old| old.node != primary && Some(old.node) != secondary) {
            out.changed[count] = *old;
            count += 1;
        }
        (out.count, out.primary, out.secondary) = (count, primary, secondary);
        out.location_conflicts = self.location_conflicts(primary);
    }

    /// Whether a node takes its mirror; how full its primary is does not matter.
    pub fn mirror_fits(&self, to: NodeIdx, force: bool) -> Checked {
        self.add_secondary(&mut self.hand(to), self.old_primary(), false, force)
    }

    fn ends(
        &self,
        out: &mut Outcome,
        count: usize,
        primary: NodeIdx,
        secondary: Option<NodeIdx>,
    ) -> Checked {
        (out.count, out.primary, out.secondary) = (count, primary, secondary);
        out.location_conflicts = self.location_conflicts(primary);
        let old_secondary = self.without_secondary.as_ref().map(|hand| hand.node);
        let (from, to) = ((self.old_primary(), old_secondary), (primary, secondary));
        let placement = self.placement;
        out.rules = placement.ruling.change(&placement.cluster, self.index, from, to)?;
        Ok(())
    }

    fn location_conflicts(&self, to: NodeIdx) -> i64 {
        let (rules, from) = (self.placement.rules(), self.old_primary());
        if !rules.has_locations || from == to || self.instance.forthcoming {
            return 0;
        }
        let here = if from == NodeIdx::NONE { &[] } else { self.placement.domains(from) };
        let there = self.placement.domains(to);
        let mut change = 0;
        for tag in &rules.exclusion[self.index.at()] {
            let count = |place: &&u32| self.placement.pair_count(**place, *tag);
            let gone = here.iter().filter(|place| there.binary_search(place).is_err());
            change -= gone.filter(|place| count(place) >= 2).count() as i64;
            let new = there.iter().filter(|place| here.binary_search(place).is_err());
            change += new.filter(|place| count(place) >= 1).count() as i64;
        }
        change
    }

    /// How many exclusion tags it shares with primaries of a node.
    fn shared_tags(&self, node: NodeIdx) -> i64 {
        let own = u32::from(node == self.old_primary());
        let tags = &self.placement.rules().exclusion[self.index.at()];
        tags.iter().filter(|tag| self.placement.tag_count(node, **tag) > own).count() as i64
    }

    fn spindles(&self, node: NodeIdx) -> (bool, i64) {
        let exclusive = self.placement.cluster().nodes[node.at()].exclusive_storage;
        let needed = match exclusive {
            true => self.instance.disk_spindles().unwrap_or(0),
            false => self.instance.spindle_use,
        };
        (exclusive, needed)
    }

    /// Takes or gives back the room of its disks.
    fn storage(&self, hand: &mut Changed, sign: i64) {
        if !self.instance.template.uses_lvm() {
            return;
        }
        let (exclusive, spindles) = self.spindles(hand.node);
        let state = &mut hand.state;
        state.forth.free_disk -= sign * self.instance.disk;
        if exclusive {
            state.forth.free_spindles -= sign * spindles;
        } else {
            state.forth.used_spindles += sign * spindles;
        }
        if self.instance.forthcoming {
            return;
        }
        state.free_disk -= sign * self.instance.disk;
        if exclusive {
            state.free_spindles -= sign * spindles;
        } else {
            state.used_spindles += sign * spindles;
        }
    }

    /// Takes or gives back what a primary has besides disks.
    fn compute(&self, hand: &mut Changed, sign: i64, part: i64) {
        let instance = self.instance;
        let vcpus = if instance.status.online() { sign * instance.vcpus } else { 0 };
        let state = &mut hand.state;
        state.forth.free_memory -= sign * instance.memory;
        state.forth.used_vcpus += vcpus;
        state.conflicts += sign * self.shared_tags(hand.node);
        if instance.forthcoming {
            return;
        }
        if instance.uses_memory() {
            state.unallocated -= sign * instance.memory;
        }
        state.used_vcpus += vcpus;
        state.add_load(instance, sign as f64);
        state.location += sign * part;
        state.primaries = state.primaries.wrapping_add_signed(sign as i32);
        state.judge();
    }

    /// The reserved memory of a node, after what left and came.
    fn reserve(&self, hand: &mut Changed) {
        let share = |peer: Option<NodeIdx>| {
            let peer = peer?;
            let mut memory = self.placement.peer_memory(hand.node, peer);
            memory -= if hand.left == Some(peer) { self.memory } else { 0 };
            memory += if hand.came == Some(peer) { self.memory } else { 0 };
            Some(memory)
        };
        let rest = self.placement.tops[hand.node.at()].without(hand.left, hand.came);
        hand.state.reserved =
            rest.max(share(hand.left).unwrap_or(0)).max(share(hand.came).unwrap_or(0));
        hand.state.judge();
    }

    fn remove_primary(&self, hand: &mut Changed) {
        self.storage(hand, -1);
        self.compute(hand, -1, self.part);
    }

    fn remove_secondary(&self, hand: &mut Changed, primary: NodeIdx) {
        self.storage(hand, -1);
        if self.instance.forthcoming {
            return;
        }
        hand.state.disk_load -= self.instance.utilisation.disk;
        hand.state.secondaries -= 1;
        hand.left = Some(primary);
        self.reserve(hand);
    }

    fn add_primary(&self, hand: &mut Changed, secondary: Option<NodeIdx>, force: bool) -> Checked {
        let (node, failed_before) = (hand.node, hand.state.n1_fails);
        let shares_tags = !force && self.shared_tags(node) > 0;
        self.storage(hand, 1);
        self.compute(hand, 1, self.placement.location_part(self.index, node, secondary));
        let (state, limits) = (&hand.state, self.placement.limits(node));
        let local = self.instance.template.uses_lvm();
        let (exclusive, _) = self.spindles(node);
        if !self.instance.forthcoming {
            ensure(state.unallocated > 0, FailMode::Mem)?;
            ensure(!local || state.free_disk > 0, FailMode::Disk)?;
            ensure(force || !local || state.free_disk >= limits.disk, FailMode::Disk)?;
            ensure(
                !(local && exclusive) || self.spindles_left(state.free_spindles),
                FailMode::Spindles,
            )?;
            if !force {
                let within = state.used_spindles as f64 <= limits.spindles;
                ensure(!local || within, FailMode::Disk)?;
                ensure(failed_before || !state.n1_fails, FailMode::Mem)?;
                ensure(self.cpus_suffice(node, state.used_vcpus), FailMode::Cpu)?;
                ensure(!shares_tags, FailMode::Tags)?;
            }
        }
        if force {
            return Ok(());
        }
        ensure(state.forth.free_memory > 0, FailMode::Mem)?;
        self.forth_storage(hand)?;
        ensure(self.cpus_suffice(node, state.forth.used_vcpus), FailMode::Cpu)
    }

    fn add_secondary(
        &self,
        hand: &mut Changed,
        primary: NodeIdx,
        ignore_disk: bool,
        force: bool,
    ) -> Checked {
        let failed_before = hand.state.n1_fails;
        self.storage(hand, 1);
        if !self.instance.forthcoming {
            hand.state.disk_load += self.instance.utilisation.disk;
            hand.state.secondaries += 1;
            hand.came = Some(primary);
            self.reserve(hand);
            let (state, limits) = (&hand.state, self.placement.limits(hand.node));
            let (exclusive, _) = self.spindles(hand.node);
            ensure(ignore_disk || state.free_disk > 0, FailMode::Disk)?;
            ensure(force || state.free_disk >= limits.disk, FailMode::Disk)?;
            ensure(!exclusive || self.spindles_left(state.free_spindles), FailMode::Spindles)?;
            if !force {
                ensure(state.used_spindles as f64 <= limits.spindles, FailMode::Disk)?;
                ensure(self.memory < state.unallocated, FailMode::Mem)?;
                ensure(failed_before || !state.n1_fails, FailMode::Mem)?;
            }
        }
        if force {
            return Ok(());
        }
        self.forth_storage(hand)?;
        ensure(self.memory < hand.state.forth.free_memory, FailMode::Mem)
    }

    /// Checks of disks with instances that are only reserved yet.
    fn forth_storage(&self, hand: &Changed) -> Checked {
        if !self.instance.template.uses_lvm() {
            return Ok(());
        }
        let (forth, limits) = (&hand.state.forth, self.placement.limits(hand.node));
        ensure(forth.free_disk > 0 && forth.free_disk >= limits.disk, FailMode::Disk)?;
        if self.spindles(hand.node).0 {
            ensure(self.spindles_left(forth.free_spindles), FailMode::Spindles)?;
        }
        ensure(forth.used_spindles as f64 <= limits.spindles, FailMode::Disk)
    }

    /// With storage that belongs to one instance each, what is not known does not fit.
    fn spindles_left(&self, free: i64) -> bool {
        free >= 0 && self.instance.disk_spindles().is_some()
    }

    fn cpus_suffice(&self, node: NodeIdx, vcpus: i64) -> bool {
        let ratio = self.placement.limits(node).vcpu_ratio;
        let cpus = self.placement.cluster().nodes[node.at()].total_cpus;
        ratio < 0.0 || vcpus as f64 / cpus <= ratio
    }
}

fn ensure(holds: bool, or: FailMode) -> Checked {
    if holds { Ok(()) } else { Err(or) }
}
