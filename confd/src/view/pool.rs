//! What objects have in common is stored once: strings that come again, and shapes (which keys an object has, in
//! their order).

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Strings and shapes, by number. Nothing is ever taken out: keys and common values are few.
#[derive(Debug, Default)]
pub struct Pool {
    strings: Vec<Shared>,
    string_ids: HashMap<Arc<str>, u32, RandomState>,
    /// Hashes of strings seen once, each in the place its hash says; those seen again are worth storing once.
    seen: Vec<u32>,
    shapes: Vec<Arc<[u32]>>,
    shape_ids: HashMap<Arc<[u32]>, u32, RandomState>,
}

#[derive(Debug)]
struct Shared {
    text: Arc<str>,
    plain: bool,
}

/// How many hashes are remembered.
const SEEN: usize = 4096;
/// Longer strings are not looked for.
const LONGEST: usize = 128;
/// With this many, other values are stored where they are.
const MOST: usize = 1 << 16;

impl Pool {
    /// Its number, if it is stored here or came before and is from now on.
    pub fn value(&mut self, text: &str) -> Option<u32> {
        if let Some(id) = self.string_ids.get(text) {
            return Some(*id);
        }
        if text.len() > LONGEST || self.strings.len() >= MOST {
            return None;
        }
        if self.seen.is_empty() {
            self.seen = vec![0; SEEN];
        }
        let hash = self.string_ids.hasher().hash_one(text);
        let (place, rest) = (hash as usize % SEEN, (hash >> 32) as u32);
        if self.seen[place] != rest {
            self.seen[place] = rest;
            return None;
        }
        Some(self.key(text))
    }

    /// The number of a key; it is stored if it is not.
    pub fn key(&mut self, text: &str) -> u32 {
        if let Some(id) = self.string_ids.get(text) {
            return *id;
        }
        let id = self.strings.len() as u32;
        let text: Arc<str> = Arc::from(text);
        self.strings.push(Shared { text: Arc::clone(&text), plain: is_plain(&text) });
        self.string_ids.insert(text, id);
        id
    }

    /// A string, and whether it stands in JSON as it is.
    pub fn string(&self, id: u32) -> (&str, bool) {
        let shared = &self.strings[id as usize];
        (&shared.text, shared.plain)
    }

    /// The number of a shape; it is stored if it is not.
    pub fn shape(&mut self, keys: &[u32]) -> u32 {
        if let Some(id) = self.shape_ids.get(keys) {
            return *id;
        }
        let id = self.shapes.len() as u32;
        let keys: Arc<[u32]> = Arc::from(keys);
        self.shapes.push(Arc::clone(&keys));
        self.shape_ids.insert(keys, id);
        id
    }

    /// The keys of a shape.
    pub fn keys(&self, shape: u32) -> &[u32] {
        &self.shapes[shape as usize]
    }
}

/// Whether a string stands in JSON as it is: printable ASCII without quotes and backslashes.
pub fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_stored_once() {
        let mut pool = Pool::default();
        assert_eq!(pool.value("br0"), None);
        let id = pool.value("br0").unwrap();
        assert_eq!(pool.value("br0"), Some(id));
        assert_eq!(pool.string(id), ("br0", true));
        let key = pool.key("näme");
        assert_eq!((pool.key("näme"), pool.value("näme")), (key, Some(key)));
        assert_eq!(pool.string(key), ("näme", false));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!([pool.value(&long), pool.value(&long)], [None, None]);
    }

    #[test]
    fn shapes() {
        let mut pool = Pool::default();
        let (a, b) = (pool.shape(&[1, 2]), pool.shape(&[2, 1]));
        assert_ne!(a, b);
        assert_eq!(pool.shape(&[1, 2]), a);
        assert_eq!(pool.keys(b), [2, 1]);
        let empty = pool.shape(&[]);
        assert!(pool.keys(empty).is_empty());
    }
}
