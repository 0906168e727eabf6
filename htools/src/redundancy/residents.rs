//! Which instances each node runs.

use crate::model::{DiskTemplate, Instance, InstanceIdx, NodeIdx};
use crate::state::Placement;

/// Whether an instance goes to any node when its own fails. Others, but mirrored ones, have to be made anew.
pub(super) fn goes_anywhere(instance: &Instance) -> bool {
    match instance.template {
        DiskTemplate::Diskless
        | DiskTemplate::SharedFile
        | DiskTemplate::Rbd
        | DiskTemplate::Ext
        | DiskTemplate::Gluster => true,
        DiskTemplate::File | DiskTemplate::Plain | DiskTemplate::BlockDev | DiskTemplate::Drbd => {
            false
        }
    }
}

/// By node: its primaries that are there, the newest first, which is the order in which they leave it.
#[derive(Clone, Debug)]
pub(super) struct Residents {
    /// Where the list of each node begins; one more than there are nodes.
    starts: Vec<usize>,
    all: Vec<InstanceIdx>,
}

impl Residents {
    pub fn of(placement: &Placement) -> Residents {
        let cluster = placement.cluster();
        let home = |at: usize| {
            let node = placement.primary(InstanceIdx::of(at));
            (node != NodeIdx::NONE && !cluster.instances[at].forthcoming).then_some(node)
        };
        let mut starts = vec![0; cluster.nodes.len() + 1];
        for node in (0..cluster.instances.len()).filter_map(home) {
            starts[node.at() + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut all = vec![InstanceIdx(0); starts.last().copied().unwrap_or(0)];
        for at in (0..cluster.instances.len()).rev() {
            if let Some(node) = home(at) {
                all[next[node.at()]] = InstanceIdx::of(at);
                next[node.at()] += 1;
            }
        }
        Residents { starts, all }
    }

    pub fn of_node(&self, node: NodeIdx) -> &[InstanceIdx] {
        &self.all[self.starts[node.at()]..self.starts[node.at() + 1]]
    }
}
