//! Instances whose node is given up with all that they take of it.

use super::Placement;
use crate::model::{InstanceIdx, NodeIdx};

impl Placement {
    /// The instance is nowhere, but what it takes of its node stays taken there: it is to be made anew elsewhere.
    /// For those without a secondary.
    pub(crate) fn leave_behind(&mut self, instance: InstanceIdx) {
        debug_assert_eq!(self.secondary(instance), None, "its secondary would go on reserving");
        self.primary[instance.at()] = NodeIdx::NONE;
    }
}
