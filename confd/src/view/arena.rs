//! Many small records in a few large pieces of memory: no bookkeeping of the allocator for each of them.

use super::token::{put_varint, take_varint};
use std::collections::HashMap;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(u32);

impl Handle {
    /// No record.
    pub const NONE: Handle = Handle(u32::MAX);

    fn new(chunk: usize, offset: usize) -> Handle {
        Handle((chunk << OFFSET_BITS | offset) as u32)
    }

    fn place(self) -> (usize, usize) {
        ((self.0 >> OFFSET_BITS) as usize, self.0 as usize & (CHUNK - 1))
    }
}

const OFFSET_BITS: usize = 16;
/// Size of a piece. Larger records have one of their own.
const CHUNK: usize = 1 << OFFSET_BITS;

/// Records: length, then the bytes.
#[derive(Debug, Default)]
pub struct Arena {
    chunks: Vec<Vec<u8>>,
    /// Free places, by the size of what was there.
    free: HashMap<u32, Vec<Handle>>,
    live: usize,
    garbage: usize,
}

impl Arena {
    /// Stores a record.
    pub fn put(&mut self, record: &[u8]) -> Handle {
        let mut head = Vec::with_capacity(5);
        put_varint(record.len() as u64, &mut head);
        let size = head.len() + record.len();
        self.live += size;
        if let Some(handle) = self.free.get_mut(&(size as u32)).and_then(Vec::pop) {
            self.garbage -= size;
            let (chunk, offset) = handle.place();
            let place = &mut self.chunks[chunk][offset..offset + size];
            place[..head.len()].copy_from_slice(&head);
            place[head.len()..].copy_from_slice(record);
            return handle;
        }
        let full = |c: &Vec<u8>| c.len() >= CHUNK || c.len() + size > c.capacity();
        if self.chunks.last().is_none_or(full) {
            self.chunks.push(Vec::with_capacity(size.max(CHUNK)));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let handle = Handle::new(number, chunk.len());
        chunk.extend_from_slice(&head);
        chunk.extend_from_slice(record);
        handle
    }

    /// A record that was put there.
    pub fn get(&self, handle: Handle) -> &[u8] {
        let (chunk, mut at) = handle.place();
        let chunk = &self.chunks[chunk];
        let length = take_varint(chunk, &mut at) as usize;
        &chunk[at..at + length]
    }

    /// The place of a record may be used again.
    pub fn remove(&mut self, handle: Handle) {
        let (_, begin) = handle.place();
        let mut at = begin;
        let chunk = &self.chunks[handle.place().0];
        let size = take_varint(chunk, &mut at) as usize + at - begin;
        self.live -= size;
        self.garbage += size;
        self.free.entry(size as u32).or_default().push(handle);
    }

    /// So much is unused that it is worth moving everything: [`Arena::compact`].
    pub fn is_wasteful(&self) -> bool {
        self.garbage > self.live / 16 + 2 * CHUNK
    }

    /// Moves all records close together; `handles` are all there are, and are changed.
    pub fn compact(&mut self, mut handles: Vec<&mut Handle>) {
        // In the order of their places, so that each piece is free before the next is read.
        handles.sort();
        let mut to = Arena::default();
        let mut done = 0;
        for handle in handles {
            let chunk = handle.place().0;
            for left in &mut self.chunks[done..chunk] {
                *left = vec![];
            }
            done = chunk;
            *handle = to.put(self.get(*handle));
        }
        *self = to;
    }

    /// Bytes taken.
    #[cfg(test)]
    fn size(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_move_together() {
        let mut arena = Arena::default();
        let record = |i: usize| vec![i as u8; if i == 70 { 200_000 } else { i * 3 % 400 }];
        let mut handles: Vec<(usize, Handle)> =
            (0..5000).map(|i| (i, arena.put(&record(i)))).collect();
        for (i, handle) in handles.extract_if(.., |(i, _)| *i != 70 && *i % 7 != 0) {
            assert_eq!(arena.get(handle), record(i));
            arena.remove(handle);
        }
        assert!(arena.is_wasteful());
        let before = arena.size();
        arena.compact(handles.iter_mut().map(|(_, h)| h).collect());
        assert!(arena.size() < before / 2, "{} of {before}", arena.size());
        assert!(!arena.is_wasteful());
        for (i, handle) in handles {
            assert_eq!(arena.get(handle), record(i));
        }
    }

    #[test]
    fn a_free_place_is_used_again() {
        let mut arena = Arena::default();
        let (a, b) = (arena.put(b"one"), arena.put(b"other"));
        arena.remove(a);
        assert_eq!(arena.put(b"two"), a);
        assert_eq!((arena.get(a), arena.get(b)), (&b"two"[..], &b"other"[..]));
        assert_eq!(arena.garbage, 0);
    }
}
