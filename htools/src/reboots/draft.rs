//! A placement in which instances are moved to see whether it works, and put back.
//!
//! ```text
//!   mark ─► relocate, fail_over, mirror_on … ─► rewind(mark): everything is as it was
//! ```
//!
//! It knows each node's instances in the order in which the reference goes through them: newest first.

use crate::fail::FailMode;
use crate::model::{InstanceIdx, NodeIdx};
use crate::state::{Outcome, Placement};

/// Where an instance was, and in which order its nodes had theirs.
#[derive(Clone, Debug)]
struct Entry {
    instance: InstanceIdx,
    primary: NodeIdx,
    secondary: Option<NodeIdx>,
    residents: Vec<(NodeIdx, Residents)>,
}

/// The instances of a node, newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Residents {
    pub primaries: Vec<InstanceIdx>,
    pub secondaries: Vec<InstanceIdx>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    placement: Placement,
    residents: Vec<Residents>,
    journal: Vec<Entry>,
    scratch: Outcome,
}

impl Draft {
    pub fn new(placement: Placement) -> Draft {
        let mut residents = vec![Residents::default(); placement.cluster().nodes.len()];
        for at in (0..placement.cluster().instances.len()).rev() {
            let index = InstanceIdx::of(at);
            let (primary, secondary) = (placement.primary(index), placement.secondary(index));
            if placement.instance(index).forthcoming || primary == NodeIdx::NONE {
                continue;
            }
            residents[primary.at()].primaries.push(index);
            if let Some(secondary) = secondary {
                residents[secondary.at()].secondaries.push(index);
            }
        }
        Draft { placement, residents, journal: vec![], scratch: Outcome::default() }
    }

    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    pub fn residents(&self, node: NodeIdx) -> &Residents {
        &self.residents[node.at()]
    }

    /// Primaries of a node without a mirror.
    pub fn non_redundant(&self, node: NodeIdx) -> Vec<InstanceIdx> {
        self.primaries(node, false)
    }

    /// Primaries of a node with a mirror.
    pub fn redundant(&self, node: NodeIdx) -> Vec<InstanceIdx> {
        self.primaries(node, true)
    }

    fn primaries(&self, node: NodeIdx, redundant: bool) -> Vec<InstanceIdx> {
        let primaries = self.residents(node).primaries.iter().copied();
        let wanted = |index: &InstanceIdx| self.placement.secondary(*index).is_some() == redundant;
        primaries.filter(wanted).collect()
    }

    /// How much has been done.
    pub fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Takes back what was done since.
    pub fn rewind(&mut self, mark: usize) {
        for entry in self.journal.split_off(mark).into_iter().rev() {
            let mut outcome = self.scratch;
            let working = self.placement.begin(entry.instance);
            working.settle(entry.primary, entry.secondary, &mut outcome);
            self.placement.apply(entry.instance, &outcome);
            for (node, residents) in entry.residents {
                self.residents[node.at()] = residents;
            }
        }
    }

    /// Onto another node, if that is possible at all.
    pub fn relocate(&mut self, instance: InstanceIdx, to: NodeIdx) -> Result<(), FailMode> {
        let mut outcome = self.scratch;
        self.placement.begin(instance).place(to, None, (true, true), &mut outcome)?;
        self.commit(instance, &outcome);
        Ok(())
    }

    /// Primary and secondary change places, if that is possible at all.
    pub fn fail_over(&mut self, instance: InstanceIdx) -> Result<(), FailMode> {
        let secondary = self.placement.secondary(instance).ok_or(FailMode::Internal)?;
        let primary = self.placement.primary(instance);
        let mut outcome = self.scratch;
        let working = self.placement.begin(instance);
        working.place(secondary, Some(primary), (true, true), &mut outcome)?;
        self.commit(instance, &outcome);
        Ok(())
    }

    /// Its mirror onto another node, if that is possible at all; how full the primary is does not matter.
    pub fn mirror_on(&mut self, instance: InstanceIdx, to: NodeIdx) -> Result<(), FailMode> {
        let primary = self.placement.primary(instance);
        if primary == to {
            return Err(FailMode::Internal);
        }
        let mut outcome = self.scratch;
        let working = self.placement.begin(instance);
        working.mirror_fits(to, true)?;
        working.settle(primary, Some(to), &mut outcome);
        self.commit(instance, &outcome);
        Ok(())
    }

    /// The first of these ways that works.
    pub fn first<T: Copy>(
        &mut self,
        choices: &[T],
        way: impl Fn(&mut Draft, T) -> Result<(), FailMode>,
    ) -> Result<(), FailMode> {
        let mut last = FailMode::Internal;
        for &choice in choices {
            match way(self, choice) {
                Ok(()) => return Ok(()),
                Err(fail) => last = fail,
            }
        }
        Err(last)
    }

    fn commit(&mut self, instance: InstanceIdx, outcome: &Outcome) {
        let (old, old_mirror) =
            (self.placement.primary(instance), self.placement.secondary(instance));
        let mut touched = vec![old, outcome.primary];
        touched.extend(old_mirror.into_iter().chain(outcome.secondary));
        touched.sort_unstable();
        touched.dedup();
        let before = touched.iter().map(|node| (*node, self.residents[node.at()].clone()));
        let entry =
            Entry { instance, primary: old, secondary: old_mirror, residents: before.collect() };
        self.journal.push(entry);
        if old != outcome.primary {
            self.residents[old.at()].primaries.retain(|other| *other != instance);
            self.residents[outcome.primary.at()].primaries.insert(0, instance);
        }
        if old_mirror != outcome.secondary {
            if let Some(node) = old_mirror {
                self.residents[node.at()].secondaries.retain(|other| *other != instance);
            }
            if let Some(node) = outcome.secondary {
                self.residents[node.at()].secondaries.insert(0, instance);
            }
        }
        self.placement.apply(instance, outcome);
    }
}
