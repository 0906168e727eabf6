//! Objects come and go, and the indexes with them.
//!
//! An instance is taken out of every index with what it was and put back in with what it is; so are the instances of a
//! disk that changes. That costs as much as the object is large, never as the cluster is.

use super::arena::Handle;
use super::id::Id;
use super::table::{NONE, Slot};
use super::token::{Packed, Text};
use super::{NO_ID, Side, View, facts, pack};
use roost_proto::published::Space;
use std::collections::BTreeSet;

/// The word for a kind of objects.
pub fn word(space: Space) -> &'static str {
    match space {
        Space::Top => "top level",
        Space::Cluster => "cluster",
        Space::Node => "node",
        Space::NodeGroup => "node group",
        Space::Instance => "instance",
        Space::Disk => "disk",
        Space::Network => "network",
        Space::Filter => "filter",
    }
}

/// The UUID in the text of one. Errors: it is none.
pub fn read_id(space: Space, text: &str) -> Result<Id, String> {
    if matches!(space, Space::Top | Space::Cluster) {
        return Ok(NO_ID);
    }
    let wrong = || format!("The {} '{text}' has no UUID in the usual spelling", word(space));
    Id::parse(text.as_bytes()).ok_or_else(wrong)
}

/// Whether the indexes can do with an object. Errors: what is wrong.
pub fn check(space: Space, packed: Packed<'_>) -> Result<(), String> {
    let object = match space {
        Space::Top | Space::Cluster => Ok(()),
        _ => facts::object(packed),
    };
    let checked = object.and_then(|()| match space {
        Space::Top => facts::version(packed).map(drop),
        Space::Cluster => facts::cluster(packed).map(drop),
        Space::Node => facts::node(packed).map(drop),
        Space::Instance => facts::instance(packed).map(drop),
        Space::Disk => facts::minors(packed).map(drop),
        Space::NodeGroup | Space::Network | Space::Filter => Ok(()),
    });
    checked.map_err(|why| {
        let id = if packed.id == NO_ID { String::new() } else { format!(" {}", packed.id) };
        let name =
            if packed.name.is_empty() { String::new() } else { format!(" '{}'", packed.name) };
        format!("The {}{name}{id} cannot be read: {why}", word(space))
    })
}

impl View {
    /// An object is now like this. Errors: it cannot be read; nothing has changed.
    pub(super) fn put(&mut self, space: Space, id: Id, json: &str) -> Result<(), String> {
        let stored = pack::pack(&mut self.pool, space, id, json)
            .map_err(|why| format!("The {} {id} cannot be read: {why}", word(space)))?;
        self.put_stored(space, id, &stored)
    }

    /// The same with its packed form, made with the pool of this view.
    pub(super) fn put_stored(&mut self, space: Space, id: Id, stored: &[u8]) -> Result<(), String> {
        check(space, Packed::new(&self.pool, id, stored))?;
        self.stale |= matches!(space, Space::Top | Space::Cluster | Space::Node);
        match space {
            Space::Top => self.top = stored.to_vec(),
            Space::Cluster => self.cluster = stored.to_vec(),
            Space::Node => self.put_node(id, stored),
            Space::Instance => {
                let slot = self.instances.enter(id);
                self.leave_indexes(slot);
                let body = self.arena.put(stored);
                self.instances.row_mut(slot).body = body;
                self.enter_indexes(slot);
            }
            Space::Disk => {
                let slot = self.disks.enter(id);
                let body = Some(stored);
                self.change_disk(slot, body);
            }
            Space::NodeGroup | Space::Network | Space::Filter => {
                let body = self.arena.put(stored);
                let (table, arena) = match space {
                    Space::NodeGroup => (&mut self.groups, &mut self.arena),
                    Space::Network => (&mut self.networks, &mut self.arena),
                    _ => (&mut self.filters, &mut self.arena),
                };
                let slot = table.enter(id);
                let old = std::mem::replace(&mut table.row_mut(slot).body, body);
                if old != Handle::NONE {
                    arena.remove(old);
                }
            }
        }
        Ok(())
    }

    /// An object is gone. What is not there is gone.
    pub(super) fn delete(&mut self, space: Space, id: Id) {
        let Some(slot) = self.table(space).and_then(|table| table.find(id)) else { return };
        self.stale |= space == Space::Node;
        match space {
            Space::Top | Space::Cluster => {}
            Space::Node => self.delete_node(slot),
            Space::Instance => {
                self.leave_indexes(slot);
                self.instances.leave(slot);
            }
            Space::Disk => self.change_disk(slot, None),
            Space::NodeGroup | Space::Network | Space::Filter => {
                let table = match space {
                    Space::NodeGroup => &mut self.groups,
                    Space::Network => &mut self.networks,
                    _ => &mut self.filters,
                };
                self.arena.remove(table.row(slot).body);
                table.row_mut(slot).body = Handle::NONE;
                table.leave(slot);
            }
        }
    }

    /// The row of a node, which need not have an object.
    fn node_slot(&mut self, id: Id) -> Slot {
        let slot = self.nodes.enter(id);
        while self.sides.len() <= slot as usize {
            self.sides.push(Side::default());
        }
        slot
    }

    fn put_node(&mut self, id: Id, stored: &[u8]) {
        let slot = self.node_slot(id);
        self.forget_node(slot);
        let body = self.arena.put(stored);
        self.nodes.row_mut(slot).body = body;
        self.sides[slot as usize].facts = facts::node(self.node(slot)).ok();
        let View { nodes, pool, arena, node_names, .. } = self;
        node_names.add(slot, |s| {
            let row = nodes.row(s);
            (Packed::new(pool, row.id, arena.get(row.body)).name, row.id)
        });
    }

    fn forget_node(&mut self, slot: Slot) {
        let View { nodes, pool, arena, node_names, sides, .. } = self;
        let body = nodes.row(slot).body;
        if body == Handle::NONE {
            return;
        }
        node_names.remove(slot, |s| {
            let row = nodes.row(s);
            (Packed::new(pool, row.id, arena.get(row.body)).name, row.id)
        });
        arena.remove(body);
        nodes.row_mut(slot).body = Handle::NONE;
        sides[slot as usize].facts = None;
    }

    fn delete_node(&mut self, slot: Slot) {
        self.forget_node(slot);
        self.leave_node(slot);
    }

    /// The row goes if nothing needs it.
    fn leave_node(&mut self, slot: Slot) {
        let side = &self.sides[slot as usize];
        let named = !side.primaries.is_empty() || !side.mirrored.is_empty();
        if !named && self.nodes.row(slot).body == Handle::NONE {
            self.sides[slot as usize] = Side::default();
            self.nodes.leave(slot);
        }
    }

    /// An instance has its new object.
    fn enter_indexes(&mut self, slot: Slot) {
        let View { instances, pool, arena, instance_names, links, .. } = self;
        let name = |s: Slot| {
            let row = instances.row(s);
            (Packed::new(pool, row.id, arena.get(row.body)).name, row.id)
        };
        if !name(slot).0.is_empty() {
            instance_names.add(slot, name);
        }
        let row = instances.row(slot);
        // It was read before it was stored.
        let known = facts::instance(Packed::new(pool, row.id, arena.get(row.body)));
        let facts = known.unwrap_or_default();
        for (link, ip) in &facts.addresses {
            let link = link.map(Text::to_str);
            links.add(link.as_deref(), &ip.to_str(), slot);
        }
        let (primary, disks) = (facts.primary_node, facts.disks);
        if let Some(primary) = primary {
            let node = self.node_slot(primary);
            self.instances.row_mut(slot).link = node;
            insert(&mut self.sides[node as usize].primaries, slot, &self.instances);
        }
        for disk in disks {
            let disk = self.disks.enter(disk);
            self.add_owner(disk, slot);
        }
        self.mirror(slot);
    }

    /// An instance's object is about to change or to go, if there is one.
    fn leave_indexes(&mut self, slot: Slot) {
        let body = self.instances.row(slot).body;
        if body == Handle::NONE {
            return;
        }
        self.unmirror(slot);
        let View { instances, pool, arena, instance_names, links, .. } = self;
        let name = |s: Slot| {
            let row = instances.row(s);
            (Packed::new(pool, row.id, arena.get(row.body)).name, row.id)
        };
        instance_names.remove(slot, name);
        let known = facts::instance(Packed::new(pool, instances.row(slot).id, arena.get(body)));
        let facts = known.unwrap_or_default();
        for (link, ip) in &facts.addresses {
            let link = link.map(Text::to_str);
            links.remove(link.as_deref(), &ip.to_str(), slot);
        }
        let disks = facts.disks;
        let node = std::mem::replace(&mut self.instances.row_mut(slot).link, NONE);
        if node != NONE {
            remove(&mut self.sides[node as usize].primaries, slot, &self.instances);
            self.leave_node(node);
        }
        for disk in disks {
            if let Some(disk) = self.disks.known(disk) {
                self.remove_owner(disk, slot);
            }
        }
        self.arena.remove(body);
        self.instances.row_mut(slot).body = Handle::NONE;
    }

    /// The instances that have a disk.
    fn owners(&self, disk: Slot) -> Vec<Slot> {
        let first = self.disks.row(disk).link;
        let mut owners: Vec<Slot> = (first != NONE).then_some(first).into_iter().collect();
        owners.extend(self.further_owners.get(&disk).into_iter().flatten());
        owners
    }

    fn add_owner(&mut self, disk: Slot, instance: Slot) {
        let first = self.disks.row(disk).link;
        if first == NONE {
            self.disks.row_mut(disk).link = instance;
        } else if !self.owners(disk).contains(&instance) {
            self.further_owners.entry(disk).or_default().push(instance);
        }
    }

    fn remove_owner(&mut self, disk: Slot, instance: Slot) {
        let mut left = self.owners(disk);
        left.retain(|owner| *owner != instance);
        let mut left = left.into_iter();
        self.disks.row_mut(disk).link = left.next().unwrap_or(NONE);
        let further: Vec<Slot> = left.collect();
        if further.is_empty() {
            self.further_owners.remove(&disk);
        } else {
            self.further_owners.insert(disk, further);
        }
        self.leave_disk(disk);
    }

    /// The row goes if nothing needs it.
    fn leave_disk(&mut self, disk: Slot) {
        let row = self.disks.row(disk);
        if row.body == Handle::NONE && row.link == NONE {
            self.disks.leave(disk);
        }
    }

    /// A disk has a new object, or none any more.
    fn change_disk(&mut self, disk: Slot, stored: Option<&[u8]>) {
        let owners = self.owners(disk);
        owners.iter().for_each(|owner| self.unmirror(*owner));
        let old = self.disks.row(disk).body;
        if old != Handle::NONE {
            self.arena.remove(old);
        }
        let body = stored.map_or(Handle::NONE, |stored| self.arena.put(stored));
        self.disks.row_mut(disk).body = body;
        owners.iter().for_each(|owner| self.mirror(*owner));
        self.leave_disk(disk);
    }

    /// The nodes that have a side of a mirror of an instance.
    fn mirror_nodes(&self, slot: Slot) -> BTreeSet<Id> {
        let disks = facts::disks(self.instance(slot));
        let there = disks.into_iter().filter_map(|id| self.disks.find(id));
        let minors = there
            .flat_map(|disk| facts::minors(self.packed(&self.disks, disk)).unwrap_or_default());
        minors.map(|minor| minor.node).collect()
    }

    fn mirror(&mut self, slot: Slot) {
        for id in self.mirror_nodes(slot) {
            let node = self.node_slot(id);
            insert(&mut self.sides[node as usize].mirrored, slot, &self.instances);
        }
    }

    fn unmirror(&mut self, slot: Slot) {
        for id in self.mirror_nodes(slot) {
            if let Some(node) = self.nodes.known(id) {
                remove(&mut self.sides[node as usize].mirrored, slot, &self.instances);
                self.leave_node(node);
            }
        }
    }

    /// Moves the objects together if much room between them is unused.
    pub(super) fn tidy(&mut self) {
        if !self.arena.is_wasteful() {
            return;
        }
        let View { nodes, instances, disks, groups, networks, filters, arena, .. } = self;
        let tables = [nodes, instances, disks, groups, networks, filters];
        arena.compact(tables.into_iter().flat_map(|table| table.bodies()).collect());
    }

    /// Gives back what was taken while everything came at once.
    pub(super) fn shrink(&mut self) {
        let View { nodes, instances, disks, node_names, instance_names, links, sides, .. } = self;
        [nodes, instances, disks].into_iter().for_each(|table| table.shrink());
        [node_names, instance_names].into_iter().for_each(|names| names.shrink());
        links.shrink();
        for side in sides {
            side.primaries.shrink_to_fit();
            side.mirrored.shrink_to_fit();
        }
    }
}

/// Into a list of rows that is sorted by their UUIDs.
fn insert(list: &mut Vec<Slot>, slot: Slot, table: &super::table::Table) {
    if let Err(at) = list.binary_search_by_key(&table.row(slot).id, |s| table.row(*s).id) {
        list.insert(at, slot);
    }
}

fn remove(list: &mut Vec<Slot>, slot: Slot, table: &super::table::Table) {
    if let Ok(at) = list.binary_search_by_key(&table.row(slot).id, |s| table.row(*s).id) {
        list.remove(at);
    }
}
