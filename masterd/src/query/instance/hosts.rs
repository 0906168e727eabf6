//! What the nodes say, looked up once for all rows of a query.

use crate::nodes::NodeView;
use crate::query::World;
use foldhash::fast::RandomState;
use roost_proto::ids::NodeId;
use roost_proto::objects::Node;
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};

/// A node and what it said last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host<'a> {
    pub node: &'a Node,
    /// Nothing while it does not answer, or must not be asked.
    pub view: Option<&'a NodeView>,
}

/// The nodes, and who runs on them.
#[derive(Debug)]
pub(super) struct Hosts<'a> {
    world: &'a World,
    /// Nodes asked for so far.
    known: RefCell<HashMap<NodeId, Option<Host<'a>>, RandomState>>,
    /// Names of running guests. Made when the first instance is missed on its primary node.
    running: OnceCell<HashSet<&'a str, RandomState>>,
}

impl<'a> Hosts<'a> {
    pub fn new(world: &'a World) -> Hosts<'a> {
        Hosts { world, known: RefCell::default(), running: OnceCell::new() }
    }

    /// A node.
    pub fn get(&self, id: NodeId) -> Option<Host<'a>> {
        *self.known.borrow_mut().entry(id).or_insert_with(|| {
            let node = self.world.config.nodes.get(&id)?;
            let view = self.world.seen.get(&id).filter(|view| view.up && !node.offline);
            Some(Host { node, view: view.map(|view| &**view) })
        })
    }

    /// Whether any node that answers runs a guest of this name.
    pub fn run(&self, name: &str) -> bool {
        self.running.get_or_init(|| self.running()).contains(name)
    }

    fn running(&self) -> HashSet<&'a str, RandomState> {
        let hosts = self.world.seen.keys().filter_map(|id| self.get(*id)?.view);
        let views: Vec<&NodeView> = hosts.collect();
        let count = views.iter().map(|view| view.guests.len()).sum();
        let mut running = HashSet::with_capacity_and_hasher(count, RandomState::default());
        let guests = views.iter().flat_map(|view| view.guests.iter());
        let guests = guests.filter(|(_, guest)| guest.state.is_running());
        running.extend(guests.map(|(name, _)| name.as_str()));
        running
    }
}
