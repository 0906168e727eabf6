//! What an instance takes of its nodes, and needs there.

use super::Placement;
use super::outcome::Changed;
use crate::fail::FailMode;
use crate::model::{Instance, InstanceIdx, NodeIdx};

/// Whether an instance can be somewhere.
pub(super) type Checked = Result<(), FailMode>;

/// An instance that is taken from nodes and given to others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burden<'p> {
    pub placement: &'p Placement,
    pub index: InstanceIdx,
    pub instance: &'p Instance,
    /// What its secondary keeps for it, MiB.
    memory: i64,
    /// Where it is now; [`NodeIdx::NONE`]: nowhere yet.
    pub primary: NodeIdx,
    pub secondary: Option<NodeIdx>,
    /// How far from where it wants to be it is now.
    part: i64,
}

impl<'p> Burden<'p> {
    pub fn new(placement: &'p Placement, index: InstanceIdx) -> Burden<'p> {
        let instance = placement.instance(index);
        let (primary, secondary) = (placement.primary(index), placement.secondary(index));
        let part = match primary {
            NodeIdx::NONE => 0,
            _ => placement.location_part(index, primary, secondary),
        };
        let memory = instance.secondary_memory();
        Burden { placement, index, instance, memory, primary, secondary, part }
    }

    /// How many exclusion tags it shares with primaries of a node.
    fn shared_tags(&self, node: NodeIdx) -> i64 {
        let own = u32::from(node == self.primary);
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

    pub(super) fn remove_primary(&self, hand: &mut Changed) {
        self.storage(hand, -1);
        self.compute(hand, -1, self.part);
    }

    pub(super) fn remove_secondary(&self, hand: &mut Changed) {
        self.storage(hand, -1);
        if self.instance.forthcoming {
            return;
        }
        hand.state.disk_load -= self.instance.utilisation.disk;
        hand.state.secondaries -= 1;
        hand.left = Some(self.primary);
        self.reserve(hand);
    }

    pub(super) fn add_primary(
        &self,
        hand: &mut Changed,
        secondary: Option<NodeIdx>,
        force: bool,
    ) -> Checked {
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

    pub(super) fn add_secondary(
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
