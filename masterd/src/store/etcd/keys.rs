//! Names of keys in etcd, all below `/roost/<cluster's UUID>/`.
//!
//! | key | value |
//! |---|---|
//! | `head` | the serial, and what readers must know: [`super::head::Head`] |
//! | `head.retired` | the head, when the cluster has moved to another store |
//! | `leader` | who leads; tied to the leader's lease |
//! | `successor` | who is to lead next, if somebody asked for it; tied to a lease of its own |
//! | `doc/SPACE/ID` | a document |
//! | `part/SPACE/ID/SERIAL/N` | pieces of a document too large for one key |
//! | `log/SERIAL` | what one commit changed; the serial of its last batch |
//! | `chunk/SERIAL/ATTEMPT/N` | pieces of a log entry too large for one key |
//!
//! Serials and pieces have twenty digits, so that their order as text is their order as numbers.

use crate::store::{Key, Space};
use roost_proto::ids::ClusterId;

/// Names keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// Of this cluster.
    pub fn new(cluster: ClusterId) -> Keys {
        Keys { root: format!("/roost/{cluster}/") }
    }

    /// What all its keys begin with.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The serial.
    pub fn head(&self) -> Vec<u8> {
        format!("{}head", self.root).into_bytes()
    }

    /// The serial of a cluster that moved to another store.
    pub fn retired_head(&self) -> Vec<u8> {
        format!("{}head.retired", self.root).into_bytes()
    }

    /// Who leads.
    pub fn leader(&self) -> Vec<u8> {
        format!("{}leader", self.root).into_bytes()
    }

    /// Who is to lead next.
    pub fn successor(&self) -> Vec<u8> {
        format!("{}successor", self.root).into_bytes()
    }

    /// A document.
    pub fn document(&self, key: &Key) -> Vec<u8> {
        format!("{}doc/{}/{}", self.root, key.space.as_str(), key.id).into_bytes()
    }

    /// All documents of a space.
    pub fn space(&self, space: Space) -> Vec<u8> {
        format!("{}doc/{}/", self.root, space.as_str()).into_bytes()
    }

    /// The id of a document's key, given that of its space.
    pub fn id<'a>(&self, space: Space, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key.strip_prefix(self.space(space).as_slice())?).ok()
    }

    /// Everything of a kind: `doc`, `part`, `log`, `chunk`.
    pub fn kind(&self, kind: &str) -> Vec<u8> {
        format!("{}{kind}/", self.root).into_bytes()
    }

    /// Pieces of a document, of all its versions.
    pub fn parts(&self, key: &Key) -> Vec<u8> {
        format!("{}part/{}/{}/", self.root, key.space.as_str(), escape(&key.id)).into_bytes()
    }

    /// Pieces of a document that was written by this commit.
    pub fn parts_of(&self, key: &Key, serial: u64) -> Vec<u8> {
        [self.parts(key), format!("{serial:020}/").into_bytes()].concat()
    }

    /// Which document a piece is of, as [`Keys::parts`] begins.
    pub fn part_owner<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        // Behind the owner: SERIAL/N.
        let mut slashes = key.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        let (third, _) = slashes.nth(1)?;
        key.get(..=third).filter(|owner| owner.starts_with(&self.kind("part")))
    }

    /// The log entry that ends with this serial.
    pub fn log(&self, serial: u64) -> Vec<u8> {
        format!("{}log/{serial:020}", self.root).into_bytes()
    }

    /// Pieces of a log entry, by the attempt that wrote them.
    pub fn chunks(&self, serial: u64, attempt: &str) -> Vec<u8> {
        format!("{}chunk/{serial:020}/{attempt}/", self.root).into_bytes()
    }

    /// Up to where [`Keys::chunks`] of lower serials reach.
    pub fn chunks_before(&self, serial: u64) -> Vec<u8> {
        format!("{}chunk/{serial:020}", self.root).into_bytes()
    }
}

/// The n-th piece below a key.
pub fn piece(below: &[u8], n: usize) -> Vec<u8> {
    [below, format!("{n:020}").as_bytes()].concat()
}

/// The end of the range of all keys that begin so.
pub fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    // Keys are text: no byte is 0xff.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Without slashes, so that no id is the beginning of another's pieces.
fn escape(id: &str) -> String {
    id.replace('%', "%25").replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new("11111111-2222-3333-4444-555555555555".parse().unwrap())
    }

    #[test]
    fn ids_come_back_from_keys() {
        let key = Key::new(Space::Meta, "a/b");
        let name = keys().document(&key);
        assert_eq!(name, b"/roost/11111111-2222-3333-4444-555555555555/doc/meta/a/b");
        assert_eq!(keys().id(Space::Meta, &name), Some("a/b"));
        assert_eq!(keys().id(Space::Job, &name), None);
    }

    #[test]
    fn pieces_know_their_owner() {
        let (short, long) = (Key::new(Space::Job, "a"), Key::new(Space::Job, "a/b"));
        assert!(!keys().parts(&long).starts_with(&keys().parts(&short)));
        let name = piece(&keys().parts_of(&long, 7), 3);
        assert_eq!(keys().part_owner(&name), Some(keys().parts(&long).as_slice()));
        assert_eq!(keys().part_owner(b"/elsewhere/x/y/z"), None);
    }

    #[test]
    fn order_is_that_of_numbers() {
        assert!(keys().log(9) < keys().log(10));
        assert!(keys().chunks(9, "1-1") < keys().chunks_before(10));
        assert!(keys().chunks(10, "1-1") > keys().chunks_before(10));
        assert_eq!(after(b"log/"), b"log0");
    }
}
