//! What comes of a move.

use super::{NodeState, Placement};
use crate::model::{InstanceIdx, NodeIdx};

/// A node that is no longer as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changed {
    pub node: NodeIdx,
    pub state: NodeState,
    /// Whose share of the reserved memory went, and came.
    pub(super) left: Option<NodeIdx>,
    pub(super) came: Option<NodeIdx>,
}

impl Changed {
    /// Becomes a node of which nothing has changed yet. In place: it is large.
    #[inline]
    pub(super) fn begin(&mut self, placement: &Placement, node: NodeIdx) {
        self.node = node;
        self.state.clone_from(placement.node(node));
        (self.left, self.came) = (None, None);
    }
}

/// Where an instance would be, and what its nodes would be then.
///
/// It is large for something that is made millions of times a second: whoever tries many moves fills one
/// again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    pub(super) changed: [Changed; 4],
    pub(super) count: usize,
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
