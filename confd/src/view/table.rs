//! The objects of a kind: found by UUID, gone through in the order of the UUIDs.
//!
//! A row has a number for as long as anything refers to it, however often its object changes. It may be there without
//! an object: something names one that is not (yet) there.

use super::arena::Handle;
use super::id::Id;

/// A row's number.
pub type Slot = u32;
/// No row.
pub const NONE: Slot = u32::MAX;

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub id: Id,
    pub body: Handle,
    /// Of an instance: the row of its primary node; of a disk: that of its instance.
    pub link: Slot,
}

#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    unused: Vec<Slot>,
    /// Those in use, by UUID.
    order: Vec<Slot>,
}

impl Table {
    fn place(&self, id: Id) -> Result<usize, usize> {
        // Files and feeds are mostly sorted.
        if self.order.last().is_some_and(|last| self.rows[*last as usize].id < id) {
            return Err(self.order.len());
        }
        self.order.binary_search_by(|slot| self.rows[*slot as usize].id.cmp(&id))
    }

    /// The row of an object that is there.
    pub fn find(&self, id: Id) -> Option<Slot> {
        let slot = self.order[self.place(id).ok()?];
        (self.rows[slot as usize].body != Handle::NONE).then_some(slot)
    }

    /// The row of a UUID, if there is one, with an object or without.
    pub fn known(&self, id: Id) -> Option<Slot> {
        self.place(id).ok().map(|at| self.order[at])
    }

    /// The row of a UUID, made if there is none.
    pub fn enter(&mut self, id: Id) -> Slot {
        let at = match self.place(id) {
            Ok(at) => return self.order[at],
            Err(at) => at,
        };
        let row = Row { id, body: Handle::NONE, link: NONE };
        let slot = match self.unused.pop() {
            Some(slot) => {
                self.rows[slot as usize] = row;
                slot
            }
            None => {
                self.rows.push(row);
                self.rows.len() as Slot - 1
            }
        };
        self.order.insert(at, slot);
        slot
    }

    /// The row is not needed any more.
    pub fn leave(&mut self, slot: Slot) {
        if let Ok(at) = self.place(self.rows[slot as usize].id) {
            self.order.remove(at);
            self.unused.push(slot);
        }
    }

    pub fn row(&self, slot: Slot) -> &Row {
        &self.rows[slot as usize]
    }

    pub fn row_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.rows[slot as usize]
    }

    /// The rows that have an object, by UUID.
    pub fn present(&self) -> impl DoubleEndedIterator<Item = Slot> {
        self.order.iter().copied().filter(|s| self.row(*s).body != Handle::NONE)
    }

    /// Where all its objects are.
    pub fn bodies(&mut self) -> impl Iterator<Item = &mut Handle> {
        let unused = std::mem::take(&mut self.unused);
        for slot in &unused {
            self.rows[*slot as usize].body = Handle::NONE;
        }
        self.unused = unused;
        self.rows.iter_mut().map(|r| &mut r.body).filter(|b| **b != Handle::NONE)
    }

    /// Gives back what it took more than it needs.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.order.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Id {
        Id::new([n; 16])
    }

    #[test]
    fn rows_are_in_order_of_their_ids() {
        let mut table = Table::default();
        let slots = [5, 9, 1].map(|n| table.enter(id(n)));
        assert_eq!(slots, [0, 1, 2]);
        assert_eq!(table.enter(id(9)), 1);
        assert_eq!(table.find(id(9)), None, "there is no object");
        let mut arena = super::super::arena::Arena::default();
        for slot in slots {
            table.row_mut(slot).body = arena.put(b"x");
        }
        assert_eq!(table.find(id(9)), Some(1));
        assert_eq!(table.present().collect::<Vec<_>>(), [2, 0, 1]);
        table.leave(0);
        assert_eq!(table.find(id(5)), None);
        assert_eq!(table.bodies().count(), 2);
        assert_eq!(table.enter(id(7)), 0);
        assert_eq!((table.row(0).id, table.row(0).body), (id(7), Handle::NONE));
        assert_eq!(table.present().collect::<Vec<_>>(), [2, 1]);
    }
}
