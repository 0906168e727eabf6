//! Instances that are nowhere any more: taken away, or left behind with all that they take of their node.

use super::Placement;
use crate::model::{InstanceIdx, NodeIdx};
use crate::rules;
use std::sync::Arc;

impl Placement {
    /// The instance is nowhere, but what it takes of its node stays taken there: it is to be made anew elsewhere.
    /// For those without a secondary.
    pub(crate) fn leave_behind(&mut self, instance: InstanceIdx) {
        debug_assert_eq!(self.secondary(instance), None, "its secondary would go on reserving");
        let from = (self.primary(instance), None);
        self.ruling.apply(&self.cluster, instance, from, (NodeIdx::NONE, None));
        self.primary[instance.at()] = NodeIdx::NONE;
    }

    /// The instance is nowhere any more, and its nodes have what it took of them.
    pub(crate) fn take_away(&mut self, instance: InstanceIdx) {
        let (from, secondary) = (self.primary(instance), self.secondary(instance));
        if from == NodeIdx::NONE {
            return;
        }
        let without = self.begin(instance).gone().to_vec();
        self.count_tags(instance, from, false);
        for changed in without {
            self.nodes[changed.node.at()] = changed.state;
        }
        let nowhere = (NodeIdx::NONE, None);
        self.ruling.apply(&self.cluster, instance, (from, secondary), nowhere);
        (self.primary[instance.at()], self.secondary[instance.at()]) = nowhere;
        let given = self.instance(instance);
        if let Some(secondary) = secondary.filter(|_| !given.forthcoming) {
            let memory = given.secondary_memory();
            let count = self.nodes.len();
            let row = &mut self.peers[secondary.at() * count..][..count];
            row[from.at()] -= memory;
            self.tops[secondary.at()].update(from, row);
        }
    }

    /// Forgets the instance that was added last, which has no place.
    pub(crate) fn drop_last(&mut self) {
        let Some(last) = self.primary.len().checked_sub(1) else { return };
        debug_assert_eq!(self.primary[last], NodeIdx::NONE, "its node would not know");
        self.primary.pop();
        self.secondary.pop();
        self.rules.exclusion.pop();
        self.rules.desired.pop();
        let cluster = Arc::make_mut(&mut self.cluster);
        rules::leave(&mut cluster.rules, InstanceIdx::of(last));
        cluster.instances.pop();
        self.ruling.drop_last();
    }
}
