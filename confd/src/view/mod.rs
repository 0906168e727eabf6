//! The configuration in memory, in a form that answers without searching, and small: some 430 bytes an instance, its
//! disks included.
//!
//! ```text
//!   feed ═► Update ─ put, delete ─► commit ─► View ──┬─ Pool, Arena   objects, packed
//!                                                    ├─ Table         rows by UUID, of each kind
//!                                                    ├─ Names, Links  indexes
//!                                                    └─ Summary       what is the same for all who ask
//!   Shared: the View that counts, or why there is none
//! ```
//!
//! An object is read once, when it comes; what is wrong with it is said then, and nothing has changed. Source of what
//! is answered: Ganeti's reference on confd.

mod answer;
mod arena;
mod change;
mod cursor;
mod facts;
mod haskell;
mod id;
mod level;
mod links;
mod lookup;
mod pack;
mod pointer;
mod pool;
mod shared;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod update;

pub use shared::Shared;
pub use update::Update;

use arena::Arena;
use id::Id;
use links::Links;
use lookup::Names;
use pool::Pool;
use roost_proto::published::Space;
use std::collections::BTreeMap;
use summary::Summary;
use table::{Slot, Table};
use token::Packed;

/// An answer that gets longer than this (bytes) is not finished: it fits no datagram.
pub const LONGEST: usize = 1 << 16;

/// A configuration.
#[derive(Debug, Default)]
pub struct View {
    pool: Pool,
    arena: Arena,
    /// What is beside the maps.
    top: Vec<u8>,
    cluster: Vec<u8>,
    nodes: Table,
    /// Of the rows of `nodes`.
    sides: Vec<Side>,
    node_names: Names,
    instances: Table,
    instance_names: Names,
    disks: Table,
    /// Disks that several instances have: those that `link` of the row does not say.
    further_owners: BTreeMap<Slot, Vec<Slot>>,
    groups: Table,
    networks: Table,
    filters: Table,
    links: Links,
    summary: Summary,
    /// A node, the cluster or what is beside the maps has changed since the summary was made.
    stale: bool,
}

/// What is known of a node besides its object, which may be missing.
#[derive(Debug, Default)]
struct Side {
    facts: Option<facts::Node>,
    /// Instances that have it as their primary node, by UUID.
    primaries: Vec<Slot>,
    /// Instances that have a side of a mirror on it, by UUID.
    mirrored: Vec<Slot>,
}

impl View {
    /// The table of a kind of objects. None: there is only one of it.
    fn table(&self, space: Space) -> Option<&Table> {
        Some(match space {
            Space::Top | Space::Cluster => return None,
            Space::Node => &self.nodes,
            Space::NodeGroup => &self.groups,
            Space::Instance => &self.instances,
            Space::Disk => &self.disks,
            Space::Network => &self.networks,
            Space::Filter => &self.filters,
        })
    }

    /// An object that is there.
    fn packed(&self, table: &Table, slot: Slot) -> Packed<'_> {
        let row = table.row(slot);
        Packed::new(&self.pool, row.id, self.arena.get(row.body))
    }

    fn node(&self, slot: Slot) -> Packed<'_> {
        self.packed(&self.nodes, slot)
    }

    fn instance(&self, slot: Slot) -> Packed<'_> {
        self.packed(&self.instances, slot)
    }

    fn cluster(&self) -> Packed<'_> {
        Packed::new(&self.pool, NO_ID, &self.cluster)
    }

    fn top(&self) -> Packed<'_> {
        Packed::new(&self.pool, NO_ID, &self.top)
    }

    /// The serial number of the cluster object: the higher, the newer.
    pub fn serial(&self) -> u64 {
        self.summary.serial
    }
}

/// Of objects that need none.
const NO_ID: Id = Id::ZERO;
