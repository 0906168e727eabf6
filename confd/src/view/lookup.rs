//! Finding an object by what people call it: its UUID, its name, or the first labels of its name.

use super::View;
use super::id::Id;
use super::table::{Slot, Table};

/// Rows, sorted by the names of their objects.
#[derive(Debug, Default)]
pub struct Names {
    sorted: Vec<Slot>,
}

/// What a row is called, and its UUID: of several with a name, the last counts.
type Called<'a> = (&'a str, Id);

impl Names {
    fn place<'a>(&self, slot: Slot, called: impl Fn(Slot) -> Called<'a>) -> usize {
        let own = called(slot);
        self.sorted.partition_point(|other| called(*other) < own)
    }

    /// `called`: what each row is called.
    pub fn add<'a>(&mut self, slot: Slot, called: impl Fn(Slot) -> Called<'a>) {
        let at = self.place(slot, called);
        self.sorted.insert(at, slot);
    }

    /// Its name must still be the one it was added with.
    pub fn remove<'a>(&mut self, slot: Slot, called: impl Fn(Slot) -> Called<'a>) {
        let at = self.place(slot, called);
        if self.sorted.get(at) == Some(&slot) {
            self.sorted.remove(at);
        }
    }

    fn find<'a>(
        &self,
        wanted: &str,
        called: impl Fn(Slot) -> Called<'a>,
    ) -> std::result::Result<Slot, Miss> {
        let name = |slot: &Slot| called(*slot).0;
        let behind = self.sorted.partition_point(|slot| name(slot) <= wanted);
        if let Some(slot) = self.sorted[..behind].last().filter(|slot| name(slot) == wanted) {
            return Ok(*slot);
        }
        // What has more labels begins with a dot behind the name, and other names may be in between.
        let labels = || wanted.bytes().chain([b'.']);
        let begin = self.sorted.partition_point(|slot| name(slot).bytes().lt(labels()));
        let is_longer =
            |slot: &Slot| name(slot).strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'));
        let first = self.sorted.get(begin).filter(|slot| is_longer(slot)).ok_or(Miss::None)?;
        let end = begin + self.sorted[begin..].partition_point(|slot| name(slot) <= name(first));
        if self.sorted.get(end).is_some_and(is_longer) {
            return Err(Miss::Several);
        }
        Ok(self.sorted[end - 1])
    }

    /// Gives back what it took more than it needs.
    pub fn shrink(&mut self) {
        self.sorted.shrink_to_fit();
    }
}

/// Why nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    None,
    Several,
}

impl Miss {
    /// What the reference's daemon says of it. `kind`: `Node` or `Instance`.
    pub fn sentence(self, kind: &str, name: &str) -> String {
        let why = match self {
            Miss::None => "not found",
            Miss::Several => "has multiple matches",
        };
        format!("{kind} name {name} {why}")
    }
}

impl View {
    fn find(&self, table: &Table, names: &Names, wanted: &str) -> Result<Slot, Miss> {
        let by_id = Id::parse(wanted.as_bytes()).and_then(|id| table.find(id));
        match by_id {
            Some(slot) => Ok(slot),
            None => names.find(wanted, |slot| {
                let packed = self.packed(table, slot);
                (packed.name, packed.id)
            }),
        }
    }

    /// A node by UUID, name or first labels.
    pub(super) fn find_node(&self, wanted: &str) -> Result<Slot, Miss> {
        self.find(&self.nodes, &self.node_names, wanted)
    }

    /// An instance by UUID, name or first labels.
    pub(super) fn find_instance(&self, wanted: &str) -> Result<Slot, Miss> {
        self.find(&self.instances, &self.instance_names, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_first_labels() {
        let all = [
            "node1.example.org",
            "node1-b.example.org",
            "node10.example.org",
            "a.b.c",
            "a.b",
            "a.d",
            "twin.org",
            "twin.org",
        ];
        let name = |slot: Slot| (all[slot as usize], Id::new([slot as u8; 16]));
        let mut names = Names::default();
        (0..all.len() as Slot).for_each(|slot| names.add(slot, name));
        for (wanted, found) in [
            ("node1.example.org", Ok(0)),
            ("node1", Ok(0)),
            ("node1.example", Ok(0)),
            ("node1-b", Ok(1)),
            ("node", Err(Miss::None)),
            ("node1.", Err(Miss::None)),
            ("", Err(Miss::None)),
            ("zzz", Err(Miss::None)),
            ("a.b", Ok(4)),
            ("a.b.c", Ok(3)),
            ("a", Err(Miss::Several)),
            ("twin.org", Ok(7)),
            ("twin", Ok(7)),
        ] {
            assert_eq!(names.find(wanted, name), found, "{wanted}");
        }
        names.remove(5, name);
        names.remove(4, name);
        assert_eq!(names.find("a", name), Ok(3));
        names.remove(5, name);
        assert_eq!(names.sorted.len(), 6);
    }
}
