//! One instance in hand: what its nodes are without it, and would be with it.

use super::Placement;
use super::burden::{Burden, Checked};
use super::outcome::{Changed, Outcome};
use crate::fail::FailMode;
use crate::model::{InstanceIdx, NodeIdx};

/// See the module.
#[derive(Clone, Debug)]
pub struct Working<'p> {
    burden: Burden<'p>,
    /// Its nodes without it: the primary, and the secondary. What there is none of means nothing.
    gone: [Changed; 2],
}

impl<'p> Working<'p> {
    pub(super) fn new(placement: &'p Placement, index: InstanceIdx) -> Working<'p> {
        let burden = Burden::new(placement, index);
        let mut working = Working { burden, gone: [Changed::default(); 2] };
        if burden.primary == NodeIdx::NONE {
            return working;
        }
        working.gone[0].begin(placement, burden.primary);
        burden.remove_primary(&mut working.gone[0]);
        if let Some(secondary) = burden.secondary {
            working.gone[1].begin(placement, secondary);
            burden.remove_secondary(&mut working.gone[1]);
        }
        working
    }

    /// Its nodes without it: the primary, and the secondary if there is one.
    pub(super) fn gone(&self) -> &[Changed] {
        let count = match (self.burden.primary, self.burden.secondary) {
            (NodeIdx::NONE, _) => 0,
            (_, None) => 1,
            (_, Some(_)) => 2,
        };
        &self.gone[..count]
    }

    /// The instance in hand.
    pub fn index(&self) -> InstanceIdx {
        self.burden.index
    }

    /// The primary as it is without the instance. Errors: it has no place yet.
    fn primary(&self) -> Result<&Changed, FailMode> {
        self.gone().first().ok_or(FailMode::Internal)
    }

    /// The secondary as it is without the instance. Errors: there is none.
    fn secondary(&self) -> Result<&Changed, FailMode> {
        self.gone().get(1).ok_or(FailMode::Internal)
    }

    fn offline(&self, node: NodeIdx) -> bool {
        self.burden.placement.cluster().nodes[node.at()].offline
    }

    fn can_migrate(&self, from: NodeIdx, to: NodeIdx) -> Checked {
        match self.burden.placement.rules().can_migrate(from, to) {
            true => Ok(()),
            false => Err(FailMode::Mig),
        }
    }

    /// Takes a node in hand as it is without the instance.
    #[inline]
    fn take(&self, node: NodeIdx, hand: &mut Changed) {
        match self.gone().iter().find(|gone| gone.node == node) {
            Some(gone) => hand.clone_from(gone),
            None => hand.begin(self.burden.placement, node),
        }
    }

    /// Onto another node with storage that both reach.
    pub fn failover_to_any(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let from = self.primary()?;
        self.can_migrate(from.node, to)?;
        self.take(to, &mut out.changed[0]);
        self.burden.add_primary(&mut out.changed[0], None, force || self.offline(from.node))?;
        out.changed[1] = *from;
        self.ends(out, 2, to, None)
    }

    /// Primary and secondary change places.
    pub fn failover(&self, force: bool, out: &mut Outcome) -> Checked {
        let (to, from) = (self.secondary()?, self.primary()?);
        self.can_migrate(from.node, to.node)?;
        let dead = self.offline(from.node);
        (out.changed[0], out.changed[1]) = (*to, *from);
        self.burden.add_primary(&mut out.changed[0], Some(from.node), force || dead)?;
        self.burden.add_secondary(&mut out.changed[1], to.node, dead, force || dead)?;
        self.ends(out, 2, to.node, Some(from.node))
    }

    /// The primary becomes another; in between the secondary runs the instance.
    pub fn replace_primary(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let secondary = self.secondary()?;
        self.can_migrate(self.burden.primary, secondary.node)?;
        self.can_migrate(secondary.node, to)?;
        let force = force || self.offline(self.burden.primary);
        out.changed[1] = *secondary;
        self.burden.add_primary(&mut out.changed[1], Some(to), force)?;
        self.take(to, &mut out.changed[0]);
        self.burden.add_primary(&mut out.changed[0], Some(secondary.node), force)?;
        out.changed[1] = *secondary;
        self.burden.add_secondary(&mut out.changed[1], to, false, force)?;
        out.changed[2] = *self.primary()?;
        self.ends(out, 3, to, Some(secondary.node))
    }

    /// The secondary becomes another.
    pub fn replace_secondary(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let (primary, secondary) = (self.primary()?, self.secondary()?);
        let force = force || self.offline(secondary.node);
        self.take(to, &mut out.changed[1]);
        self.burden.add_secondary(&mut out.changed[1], primary.node, false, force)?;
        out.changed[0] = *primary;
        self.burden.add_primary(&mut out.changed[0], Some(to), true)?;
        out.changed[2] = *secondary;
        self.ends(out, 3, primary.node, Some(to))
    }

    /// The mirror goes to another node, and then the instance too.
    pub fn replace_and_failover(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let (primary, secondary) = (self.primary()?, self.secondary()?);
        self.can_migrate(primary.node, to)?;
        self.take(to, &mut out.changed[0]);
        self.burden.add_primary(&mut out.changed[0], Some(primary.node), force)?;
        out.changed[1] = *primary;
        let force = force || self.offline(secondary.node);
        self.burden.add_secondary(&mut out.changed[1], to, false, force)?;
        out.changed[2] = *secondary;
        self.ends(out, 3, to, Some(primary.node))
    }

    /// The secondary becomes primary, and another node secondary.
    pub fn failover_and_replace(&self, to: NodeIdx, force: bool, out: &mut Outcome) -> Checked {
        let secondary = self.secondary()?;
        self.can_migrate(self.burden.primary, secondary.node)?;
        let force = force || self.offline(self.burden.primary);
        out.changed[0] = *secondary;
        self.burden.add_primary(&mut out.changed[0], Some(to), force)?;
        self.take(to, &mut out.changed[1]);
        self.burden.add_secondary(&mut out.changed[1], secondary.node, false, force)?;
        out.changed[2] = *self.primary()?;
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
        self.take(primary, &mut out.changed[0]);
        self.burden.add_primary(&mut out.changed[0], secondary, force.0)?;
        if let Some(node) = secondary {
            self.take(node, &mut out.changed[1]);
            self.burden.add_secondary(&mut out.changed[1], primary, false, force.1)?;
        }
        let count = self.leave_others(out, primary, secondary);
        self.ends(out, count, primary, secondary)
    }

    /// Onto these nodes, however full they are then: how it is put back where it was.
    pub fn settle(&self, primary: NodeIdx, secondary: Option<NodeIdx>, out: &mut Outcome) {
        // Checks come when all of a state is changed, so what they say does not matter.
        self.take(primary, &mut out.changed[0]);
        self.burden.add_primary(&mut out.changed[0], secondary, true).ok();
        if let Some(node) = secondary {
            self.take(node, &mut out.changed[1]);
            self.burden.add_secondary(&mut out.changed[1], primary, true, true).ok();
        }
        let count = self.leave_others(out, primary, secondary);
        (out.count, out.primary, out.secondary) = (count, primary, secondary);
        out.location_conflicts = self.location_conflicts(primary);
    }

    /// Besides the nodes that it goes to, those that it leaves are changed. Returns how many are in all.
    fn leave_others(
        &self,
        out: &mut Outcome,
        primary: NodeIdx,
        secondary: Option<NodeIdx>,
    ) -> usize {
        let mut count = 1 + usize::from(secondary.is_some());
        for gone in self.gone() {
            if gone.node != primary && Some(gone.node) != secondary {
                out.changed[count] = *gone;
                count += 1;
            }
        }
        count
    }

    /// Whether a node takes its mirror; how full its primary is does not matter.
    pub fn mirror_fits(&self, to: NodeIdx, force: bool) -> Checked {
        let mut hand = Changed::default();
        self.take(to, &mut hand);
        self.burden.add_secondary(&mut hand, self.burden.primary, false, force)
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
        let (from, to) = ((self.burden.primary, self.burden.secondary), (primary, secondary));
        let placement = self.burden.placement;
        out.rules = placement.ruling.change(&placement.cluster, self.burden.index, from, to)?;
        Ok(())
    }

    fn location_conflicts(&self, to: NodeIdx) -> i64 {
        let (rules, from) = (self.burden.placement.rules(), self.burden.primary);
        if !rules.has_locations || from == to || self.burden.instance.forthcoming {
            return 0;
        }
        let here = if from == NodeIdx::NONE { &[] } else { self.burden.placement.domains(from) };
        let there = self.burden.placement.domains(to);
        let mut change = 0;
        for tag in &rules.exclusion[self.burden.index.at()] {
            let count = |place: &&u32| self.burden.placement.pair_count(**place, *tag);
            let gone = here.iter().filter(|place| there.binary_search(place).is_err());
            change -= gone.filter(|place| count(place) >= 2).count() as i64;
            let new = there.iter().filter(|place| here.binary_search(place).is_err());
            change += new.filter(|place| count(place) >= 1).count() as i64;
        }
        change
    }
}
