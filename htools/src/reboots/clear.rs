//! Which nodes can be emptied together, for what has to leave them.
//!
//! Taken one by one: a node is in if all that has to leave it fits on the first nodes of its group that take
//! it, of those that are not in yet. What moved stays where it went, for the next ones.

use super::draft::Draft;
use crate::fail::FailMode;
use crate::model::{InstanceIdx, NodeIdx};

/// What leaves a node, and how it can go to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clearing {
    pub leaving: fn(&Draft, NodeIdx) -> Vec<InstanceIdx>,
    pub way: fn(&mut Draft, InstanceIdx, NodeIdx) -> Result<(), FailMode>,
}

impl Clearing {
    /// Instances that have no mirror.
    pub const NON_REDUNDANT: Clearing =
        Clearing { leaving: Draft::non_redundant, way: Draft::relocate };

    /// Mirrors.
    pub const SECONDARIES: Clearing = Clearing {
        leaving: |draft, node| draft.residents(node).secondaries.clone(),
        way: Draft::mirror_on,
    };

    /// The nodes of these that can be emptied together; the draft is as they leave it.
    pub fn clear(self, draft: &mut Draft, nodes: &[NodeIdx], targets: &[NodeIdx]) -> Vec<NodeIdx> {
        let mut targets = targets.to_vec();
        let mut cleared = vec![];
        for &node in nodes {
            let group = draft.placement().cluster().nodes[node.at()].group;
            let inside = |to: &NodeIdx| {
                *to != node && draft.placement().cluster().nodes[to.at()].group == group
            };
            let room: Vec<NodeIdx> = targets.iter().copied().filter(inside).collect();
            let mark = draft.mark();
            let leaving = (self.leaving)(draft, node);
            let leave = |instance| draft.first(&room, |draft, to| (self.way)(draft, instance, to));
            match leaving.into_iter().try_for_each(leave) {
                Ok(()) => {
                    targets.retain(|to| *to != node);
                    cleared.push(node);
                }
                Err(_) => draft.rewind(mark),
            }
        }
        cleared
    }

    /// All of these nodes in groups that can be emptied together, each from the draft as it is; `each` is
    /// handed the draft with a group emptied. Errors: the nodes that cannot be emptied even alone.
    pub fn partition(
        self,
        draft: &mut Draft,
        nodes: &[NodeIdx],
        targets: &[NodeIdx],
        mut each: impl FnMut(&mut Draft, Vec<NodeIdx>),
    ) -> Result<(), Vec<NodeIdx>> {
        let mut left = nodes.to_vec();
        while !left.is_empty() {
            let mark = draft.mark();
            let cleared = self.clear(draft, &left, targets);
            if cleared.is_empty() {
                return Err(left);
            }
            left.retain(|node| !cleared.contains(node));
            each(draft, cleared);
            draft.rewind(mark);
        }
        Ok(())
    }
}
