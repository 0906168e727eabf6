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
    /// Rows in use, at or behind the place that the hash of each says; a power of two.
    index: Vec<Slot>,
}

impl Table {
    fn home(&self, id: Id) -> usize {
        let (low, high) = id.halves();
        // Multiplied by the golden ratio, the upper bits depend on all of them.
        let mixed = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed as usize >> (usize::BITS - self.index.len().trailing_zeros())
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.index.len() - 1)
    }

    /// How far a place is behind another, around the end.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.index.len() - 1)
    }

    /// The row of a UUID, or where in the index it would be.
    fn search(&self, id: Id) -> Result<Slot, usize> {
        if self.index.is_empty() {
            return Err(0);
        }
        let mut at = self.home(id);
        loop {
            match self.index[at] {
                NONE => return Err(at),
                slot if self.row(slot).id == id => return Ok(slot),
                _ => at = self.next(at),
            }
        }
    }

    /// The row of an object that is there.
    pub fn find(&self, id: Id) -> Option<Slot> {
        self.known(id).filter(|slot| self.row(*slot).body != Handle::NONE)
    }

    /// The row of a UUID, if there is one, with an object or without.
    pub fn known(&self, id: Id) -> Option<Slot> {
        self.search(id).ok()
    }

    /// The row of a UUID, made if there is none.
    pub fn enter(&mut self, id: Id) -> Slot {
        let mut at = match self.search(id) {
            Ok(slot) => return slot,
            Err(at) => at,
        };
        let used = self.rows.len() - self.unused.len();
        if used >= self.index.len() / 4 * 3 {
            let old = std::mem::take(&mut self.index);
            self.index = vec![NONE; (old.len() * 2).max(16)];
            for slot in old.into_iter().filter(|slot| *slot != NONE) {
                if let Err(at) = self.search(self.row(slot).id) {
                    self.index[at] = slot;
                }
            }
            at = self.search(id).err().unwrap_or(at);
        }
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
        self.index[at] = slot;
        slot
    }

    /// The row is not needed any more.
    pub fn leave(&mut self, slot: Slot) {
        let mut hole = self.home(self.row(slot).id);
        while self.index[hole] != slot {
            hole = self.next(hole);
        }
        // What was put behind it because of it moves up.
        let mut at = self.next(hole);
        while self.index[at] != NONE {
            let home = self.home(self.row(self.index[at]).id);
            if self.distance(home, at) >= self.distance(hole, at) {
                self.index[hole] = self.index[at];
                hole = at;
            }
            at = self.next(at);
        }
        self.index[hole] = NONE;
        self.row_mut(slot).body = Handle::NONE;
        self.unused.push(slot);
    }

    pub fn row(&self, slot: Slot) -> &Row {
        &self.rows[slot as usize]
    }

    pub fn row_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.rows[slot as usize]
    }

    /// The rows that have an object, by UUID.
    pub fn present(&self) -> Vec<Slot> {
        let all = 0..self.rows.len() as Slot;
        let mut present: Vec<Slot> =
            all.filter(|slot| self.row(*slot).body != Handle::NONE).collect();
        present.sort_unstable_by_key(|slot| self.row(*slot).id);
        present
    }

    /// Where all its objects are.
    pub fn bodies(&mut self) -> impl Iterator<Item = &mut Handle> {
        self.rows.iter_mut().map(|r| &mut r.body).filter(|body| **body != Handle::NONE)
    }

    /// Gives back what it took more than it needs.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::Arena;
    use super::*;
    use std::collections::BTreeMap;

    fn id(n: u8) -> Id {
        Id::new([n; 16])
    }

    #[test]
    fn rows_are_in_order_of_their_ids() {
        let mut table = Table::default();
        assert_eq!(table.find(id(9)), None);
        let slots = [5, 9, 1].map(|n| table.enter(id(n)));
        assert_eq!(slots, [0, 1, 2]);
        assert_eq!(table.enter(id(9)), 1);
        assert_eq!((table.find(id(9)), table.known(id(9))), (None, Some(1)), "there is no object");
        let mut arena = Arena::default();
        for slot in slots {
            table.row_mut(slot).body = arena.put(b"x");
        }
        assert_eq!(table.find(id(9)), Some(1));
        assert_eq!(table.present(), [2, 0, 1]);
        table.leave(0);
        assert_eq!((table.find(id(5)), table.known(id(5))), (None, None));
        assert_eq!(table.bodies().count(), 2);
        assert_eq!(table.enter(id(7)), 0);
        assert_eq!((table.row(0).id, table.row(0).body), (id(7), Handle::NONE));
        assert_eq!(table.present(), [2, 1]);
    }

    #[test]
    fn rows_are_found_whatever_comes_and_goes() {
        let mut table = Table::default();
        let mut model = BTreeMap::new();
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let id =
                Id::new([[0; 15].as_slice(), &[(random >> 33) as u8]].concat().try_into().unwrap());
            if random >> 63 == 0 {
                model.insert(id, table.enter(id));
            } else if let Some(slot) = model.remove(&id) {
                table.leave(slot);
            }
        }
        for n in 0..=255 {
            let id = Id::new([[0; 15].as_slice(), &[n]].concat().try_into().unwrap());
            assert_eq!(table.known(id), model.get(&id).copied());
        }
    }
}
