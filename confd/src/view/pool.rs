//! What objects have in common is stored once: strings that come again, and shapes (which keys an object has, in
//! their order).

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

macro_rules! keys {
    ($($name:ident $text:literal),* $(,)?) => {
        /// The numbers of the keys that are looked for: the same in every pool.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "they are numbers")]
        mod number {
            #[repr(u32)]
            pub enum Number { $($name),* }
        }
        pub mod key {
            $(pub const $name: u32 = super::number::Number::$name as u32;)*
        }
        const KEYS: &[&str] = &[$($text),*];
    };
}

keys! {
    IT "it", UUID "uuid", PRIMARY_IP "primary_ip", MASTER_CANDIDATE "master_candidate", DRAINED "drained",
    OFFLINE "offline", FORTHCOMING "forthcoming", PRIMARY_NODE "primary_node", DISKS "disks", NICS "nics", IP "ip",
    NICPARAMS "nicparams", LINK "link", DEV_TYPE "dev_type", LOGICAL_ID "logical_id", CHILDREN "children",
    ADMIN_STATE "admin_state", HYPERVISOR "hypervisor", MTIME "mtime", MASTER_NODE "master_node",
    MASTER_IP "master_ip", ENABLED_HYPERVISORS "enabled_hypervisors", DATA_COLLECTORS "data_collectors",
    ACTIVE "active", INTERVAL "interval", VERSION "version",
}

/// The text of a key that is looked for.
pub fn known_key(number: u32) -> &'static str {
    KEYS.get(number as usize).unwrap_or(&"what is in it")
}

/// Strings and shapes, by number. Nothing is ever taken out: keys and common values are few.
#[derive(Debug)]
pub struct Pool {
    /// All strings, each as `"text":`.
    text: Vec<u8>,
    strings: Vec<Place>,
    /// Numbers of strings, at or behind the place that the hash of each says; [`FREE`]: none.
    index: Vec<u32>,
    hasher: RandomState,
    /// Hashes of strings seen once, each in the place its hash says; those seen again are worth storing once.
    seen: Vec<u32>,
    shapes: Vec<Arc<[u32]>>,
    shape_ids: HashMap<Arc<[u32]>, u32, RandomState>,
    /// Whole objects, packed: parameters that many have.
    objects: Vec<Arc<[u8]>>,
    object_ids: HashMap<Arc<[u8]>, u32, RandomState>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Of the first quote.
    at: u32,
    length: u32,
    plain: bool,
}

const FREE: u32 = u32::MAX;
/// How many hashes are remembered.
const SEEN: usize = 4096;
/// Longer strings are not looked for.
const LONGEST: usize = 128;
/// Shorter objects are not, either.
const SHORTEST: usize = 6;
/// With this many, other values are stored where they are.
const MOST: usize = 1 << 16;

impl Default for Pool {
    fn default() -> Pool {
        let mut pool = Pool {
            text: vec![],
            strings: vec![],
            index: vec![FREE; 256],
            hasher: RandomState::default(),
            seen: vec![],
            shapes: vec![],
            shape_ids: HashMap::default(),
            objects: vec![],
            object_ids: HashMap::default(),
        };
        for key in KEYS {
            pool.key(key);
        }
        pool
    }
}

impl Pool {
    /// Its number, or where in the index it would be.
    fn search(&self, text: &str, hash: u64) -> Result<u32, usize> {
        let mut at = hash as usize % self.index.len();
        loop {
            match self.index[at] {
                FREE => return Err(at),
                id if self.string(id).0 == text => return Ok(id),
                _ => at = (at + 1) % self.index.len(),
            }
        }
    }

    /// The number of a string that is stored.
    pub fn find(&self, text: &str) -> Option<u32> {
        self.search(text, self.hasher.hash_one(text)).ok()
    }

    /// Its number, if it is stored here or came before and is from now on.
    pub fn value(&mut self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        if let Ok(id) = self.search(text, hash) {
            return Some(id);
        }
        if text.len() > LONGEST || self.strings.len() >= MOST {
            return None;
        }
        self.came_before(hash).then(|| self.key(text))
    }

    /// Whether something with this hash came before, not too long ago.
    fn came_before(&mut self, hash: u64) -> bool {
        if self.seen.is_empty() {
            self.seen = vec![0; SEEN];
        }
        let (place, rest) = (hash as usize % SEEN, (hash >> 32) as u32);
        std::mem::replace(&mut self.seen[place], rest) == rest
    }

    /// The number of a key; it is stored if it is not.
    pub fn key(&mut self, text: &str) -> u32 {
        let mut free = match self.search(text, self.hasher.hash_one(text)) {
            Ok(id) => return id,
            Err(free) => free,
        };
        if self.strings.len() * 2 > self.index.len() {
            self.index = vec![FREE; self.index.len() * 2];
            for id in 0..self.strings.len() as u32 {
                let text = self.string(id).0;
                if let Err(at) = self.search(text, self.hasher.hash_one(text)) {
                    self.index[at] = id;
                }
            }
            free = self.search(text, self.hasher.hash_one(text)).err().unwrap_or(free);
        }
        let id = self.strings.len() as u32;
        self.index[free] = id;
        let (at, length) = (self.text.len() as u32, text.len() as u32);
        self.strings.push(Place { at, length, plain: is_plain(text) });
        self.text.push(b'"');
        self.text.extend_from_slice(text.as_bytes());
        self.text.extend_from_slice(b"\":");
        id
    }

    /// A string, and whether it stands in JSON as it is.
    pub fn string(&self, id: u32) -> (&str, bool) {
        let Place { at, length, plain } = self.strings[id as usize];
        let text = &self.text[at as usize + 1..][..length as usize];
        (std::str::from_utf8(text).unwrap_or_default(), plain)
    }

    /// `"text":`, if it stands in JSON as it is.
    pub fn quoted(&self, id: u32) -> Option<&[u8]> {
        let Place { at, length, plain } = self.strings[id as usize];
        plain.then(|| &self.text[at as usize..][..length as usize + 3])
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

    /// The number of a packed object, if it is stored here or came before and is from now on.
    pub fn object_value(&mut self, packed: &[u8]) -> Option<u32> {
        if let Some(id) = self.object_ids.get(packed) {
            return Some(*id);
        }
        let worth = (SHORTEST..=LONGEST).contains(&packed.len()) && self.objects.len() < MOST;
        if !worth || !self.came_before(self.hasher.hash_one(packed)) {
            return None;
        }
        let id = self.objects.len() as u32;
        let packed: Arc<[u8]> = Arc::from(packed);
        self.objects.push(Arc::clone(&packed));
        self.object_ids.insert(packed, id);
        Some(id)
    }

    /// A packed object.
    pub fn object(&self, id: u32) -> &[u8] {
        &self.objects[id as usize]
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
        assert_eq!((pool.value("br0"), pool.find("br0")), (Some(id), Some(id)));
        assert_eq!((pool.string(id), pool.quoted(id)), (("br0", true), Some(&b"\"br0\":"[..])));
        let key = pool.key("näme");
        assert_eq!((pool.key("näme"), pool.value("näme")), (key, Some(key)));
        assert_eq!((pool.string(key), pool.quoted(key)), (("näme", false), None));
        let long = "x".repeat(LONGEST + 1);
        assert_eq!([pool.value(&long), pool.value(&long)], [None, None]);
        assert_eq!(pool.find(&long), None);
    }

    #[test]
    fn numbers_stay_when_it_grows() {
        let mut pool = Pool::default();
        assert_eq!(
            (pool.find("uuid"), pool.find("version")),
            (Some(key::UUID), Some(key::VERSION))
        );
        let ids: Vec<u32> = (0..5000).map(|n| pool.key(&format!("key{n}"))).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(
                (pool.key(&format!("key{n}")), pool.string(*id).0),
                (*id, &*format!("key{n}"))
            );
        }
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
