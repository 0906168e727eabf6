//! Large answers, kept ready to be sent again: as they are signed and as they stand in a datagram.

use crate::wire::{Head, Query, QueryType, Request, escape};
use foldhash::fast::FixedState;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher};

/// Shorter answers are asked for again: that costs no more than looking for them here.
pub const WORTH_KEEPING: usize = 512;
/// How much a thread keeps, bytes.
pub const ROOM: usize = 640 << 10;

/// An answer.
#[derive(Debug)]
pub struct Kept {
    pub head: Head,
    /// As it is signed.
    pub raw: Box<[u8]>,
    /// As it stands in the text of a datagram.
    pub escaped: Box<[u8]>,
    kind: QueryType,
    query: Query<'static>,
    /// Asked for since it was last looked at for eviction.
    used: bool,
}

impl Kept {
    fn size(&self) -> usize {
        // The rest is about as large as a small answer.
        self.raw.len() + self.escaped.len() + 256
    }
}

/// The answers of one generation.
#[derive(Debug)]
pub struct Cache {
    generation: u64,
    entries: HashMap<u64, Kept, FixedState>,
    /// In the order they came.
    order: VecDeque<u64>,
    bytes: usize,
    room: usize,
}

impl Cache {
    /// Of at most so many bytes.
    pub fn new(room: usize) -> Cache {
        let entries = HashMap::with_hasher(FixedState::default());
        Cache { generation: 0, entries, order: VecDeque::new(), bytes: 0, room }
    }

    /// The answer to a question, if it is from this generation. Those of others are forgotten.
    pub fn find(&mut self, generation: u64, request: &Request<'_>) -> Option<&Kept> {
        if self.generation != generation {
            self.entries.clear();
            self.order.clear();
            self.bytes = 0;
            self.generation = generation;
        }
        if self.entries.is_empty() {
            return None;
        }
        let kept = self.entries.get_mut(&key(request))?;
        // Different questions may have the same number.
        if kept.kind != request.kind || kept.query != request.query {
            return None;
        }
        kept.used = true;
        Some(kept)
    }

    /// Keeps an answer of the generation that was last looked for, if it is worth it.
    pub fn keep(&mut self, request: &Request<'_>, head: Head, raw: &[u8]) {
        if raw.len() <= WORTH_KEEPING {
            return;
        }
        let Ok(text) = std::str::from_utf8(raw) else { return };
        let mut escaped = Vec::with_capacity(raw.len() + raw.len() / 4);
        escape(text, &mut escaped);
        let kept = Kept {
            head,
            raw: raw.into(),
            escaped: escaped.into(),
            kind: request.kind,
            query: owned(&request.query),
            used: false,
        };
        if kept.size() > self.room {
            return;
        }
        while self.bytes + kept.size() > self.room {
            let Some(oldest) = self.order.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&oldest) else { continue };
            // What was asked for again gets a second turn.
            if std::mem::take(&mut entry.used) {
                self.order.push_back(oldest);
            } else if let Some(gone) = self.entries.remove(&oldest) {
                self.bytes -= gone.size();
            }
        }
        let key = key(request);
        self.bytes += kept.size();
        match self.entries.insert(key, kept) {
            Some(former) => self.bytes -= former.size(),
            None => self.order.push_back(key),
        }
    }
}

fn key(request: &Request<'_>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    request.kind.hash(&mut hasher);
    match &request.query {
        Query::Empty => {}
        Query::Text(text) => text.hash(&mut hasher),
        Query::Dict(dict) => {
            dict.link.hash(&mut hasher);
            dict.ip.hash(&mut hasher);
            dict.ips.hash(&mut hasher);
            dict.fields.hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn owned(query: &Query<'_>) -> Query<'static> {
    fn one(text: &str) -> Cow<'static, str> {
        Cow::Owned(text.to_owned())
    }
    match query {
        Query::Empty => Query::Empty,
        Query::Text(text) => Query::Text(one(text)),
        Query::Dict(dict) => Query::Dict(crate::wire::Dict {
            link: dict.link.as_deref().map(one),
            ip: dict.ip.as_deref().map(one),
            ips: dict.ips.iter().map(|ip| one(ip)).collect(),
            fields: dict.fields.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Status;

    const HEAD: Head = Head { status: Status::Ok, serial: 7 };

    fn about(node: &str) -> Request<'_> {
        let query = Query::Text(Cow::Borrowed(node));
        Request { kind: QueryType::NodeInstances, query, rsalt: Cow::Borrowed("x") }
    }

    #[test]
    fn an_answer_is_kept_for_its_generation() {
        let mut cache = Cache::new(10_000);
        let answer = "\"a\"".repeat(400);
        assert!(cache.find(1, &about("node1")).is_none());
        cache.keep(&about("node1"), HEAD, answer.as_bytes());
        let kept = cache.find(1, &about("node1")).unwrap();
        assert_eq!((kept.head, &*kept.raw), (HEAD, answer.as_bytes()));
        assert_eq!(&*kept.escaped, "\\\"a\\\"".repeat(400).as_bytes());
        assert!(cache.find(1, &about("node2")).is_none());
        let disks = Request { kind: QueryType::InstanceDisks, ..about("node1") };
        assert!(cache.find(1, &disks).is_none());
        assert!(cache.find(2, &about("node1")).is_none());
        assert!(cache.find(1, &about("node1")).is_none(), "it is gone for good");
    }

    #[test]
    fn small_and_huge_ones_are_not() {
        let mut cache = Cache::new(10_000);
        for (node, length) in [("small", WORTH_KEEPING), ("huge", 10_000)] {
            cache.find(1, &about(node));
            cache.keep(&about(node), HEAD, &vec![b'1'; length]);
            assert!(cache.find(1, &about(node)).is_none(), "{node}");
        }
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn it_does_not_grow_and_what_is_asked_for_stays() {
        let mut cache = Cache::new(10_000);
        for turn in 0..1000 {
            let node = format!("node{turn}");
            cache.find(1, &about(&node));
            cache.keep(&about(&node), HEAD, &[b'1'; 1000]);
            cache.keep(&about("popular"), HEAD, &[b'2'; 1000]);
            assert!(cache.find(1, &about("popular")).is_some(), "turn {turn}");
            assert!(cache.bytes <= 10_000);
            let sum: usize = cache.entries.values().map(Kept::size).sum();
            assert_eq!((cache.bytes, cache.order.len()), (sum, cache.entries.len()));
        }
        assert!(cache.entries.len() >= 3);
    }
}
