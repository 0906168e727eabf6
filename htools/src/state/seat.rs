//! Where an instance is.

use super::Placement;
use crate::model::{InstanceIdx, NodeIdx};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    pub primary: NodeIdx,
    pub secondary: Option<NodeIdx>,
}

impl Seat {
    /// Where an instance is now.
    pub fn of(placement: &Placement, instance: InstanceIdx) -> Seat {
        Seat { primary: placement.primary(instance), secondary: placement.secondary(instance) }
    }
}
