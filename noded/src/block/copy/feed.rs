//! What is copied, piece by piece, from any place on: the bytes of a disk, or what a script writes.
//!
//! ```text
//!   disk    ── reads where data is, leaves out zeros ──────────────┐
//!   script ─► pipe ─► reader ─► pieces not known to be kept ───────┴─► next(at)
//! ```
//!
//! A script cannot be asked again for what it wrote before. So the pieces stay here until the other
//! side has said that it keeps them: a connection that breaks costs nothing but time.

use super::medium::Medium;
use roost_proto::error::{Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Data in one piece, bytes.
pub const PIECE: usize = 1 << 20;
/// Within a piece, runs of zeros so long are left out, bytes.
const RUN: usize = 64 << 10;
/// What of a script's words waits here at most, bytes. More than twice what is sent between two
/// checks, or nothing would move any more.
const HELD: usize = 64 << 20;
const LOOK: Duration = Duration::from_millis(200);

/// The next of a copy.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Data that is at an offset. What lies between is zero.
    Piece { at: u64, data: Vec<u8> },
    /// There is no more; bytes in all.
    End(u64),
}

/// What is copied.
#[derive(Debug)]
pub enum Feed {
    Disk(Box<DiskFeed>),
    Script(Arc<Held>),
}

impl Feed {
    /// What comes at `at` or behind. `wanted` tells whether anybody still wants it: if not, that is
    /// an error. Blocks.
    pub fn next(&mut self, at: u64, wanted: &dyn Fn() -> bool) -> Result<Next> {
        match self {
            Feed::Disk(disk) => disk.next(at, wanted),
            Feed::Script(held) => held.next(at, wanted),
        }
    }

    /// Of the data, how many bytes are before `at`.
    pub fn done(&self, at: u64) -> u64 {
        match self {
            Feed::Disk(disk) => {
                disk.extents.iter().map(|(start, n)| at.saturating_sub(*start).min(*n)).sum()
            }
            Feed::Script(_) => at,
        }
    }

    /// Bytes before `at` are kept by the other side.
    pub fn kept(&self, at: u64) {
        if let Feed::Script(held) = self {
            held.kept(at);
        }
    }
}

/// The bytes of a disk.
#[derive(Debug)]
pub struct DiskFeed {
    medium: Medium,
    length: u64,
    /// Where data may be.
    extents: Vec<(u64, u64)>,
    buffer: Vec<u8>,
    /// Runs of data found in the buffer: place on the disk, and in the buffer.
    runs: VecDeque<(u64, std::ops::Range<usize>)>,
    /// Whoever asks for this goes on where it was; others begin elsewhere.
    expected: u64,
}

impl DiskFeed {
    /// Looks where its data is. Blocks.
    pub fn new(mut medium: Medium) -> Result<DiskFeed> {
        let looked = medium.length().and_then(|length| Ok((length, medium.extents()?)));
        let (length, extents) = looked.map_err(|e| unreadable(&medium, &e))?;
        let (buffer, runs) = (vec![0; PIECE], VecDeque::new());
        Ok(DiskFeed { medium, length, extents, buffer, runs, expected: 0 })
    }

    /// Bytes it has, and of them those that may hold data.
    pub fn size(&self) -> (u64, u64) {
        (self.length, self.extents.iter().map(|(_, n)| n).sum())
    }

    fn next(&mut self, mut at: u64, wanted: &dyn Fn() -> bool) -> Result<Next> {
        if at != self.expected {
            self.runs.clear();
        }
        loop {
            if let Some((place, range)) = self.runs.pop_front() {
                self.expected = place + range.len() as u64;
                return Ok(Next::Piece { at: place, data: self.buffer[range].to_vec() });
            }
            let here = self.extents.iter().find(|(start, n)| start + n > at);
            let Some((start, n)) = here.copied() else { return Ok(Next::End(self.length)) };
            at = at.max(start);
            let size = usize::try_from(start + n - at).unwrap_or(PIECE).min(PIECE);
            if !wanted() {
                return Err(unwanted());
            }
            let buffer = &mut self.buffer[..size];
            self.medium.read(at, buffer).map_err(|e| unreadable(&self.medium, &e))?;
            self.runs = runs(buffer).map(|r| (at + r.start as u64, r)).collect();
            if self.runs.is_empty() {
                at += size as u64;
            }
        }
    }
}

fn unreadable(medium: &Medium, why: &std::io::Error) -> Error {
    Error::exec(format!("Cannot read the disk '{}': {why}", medium.name()))
}

/// The other end has gone: told better by whoever reads its answers.
fn unwanted() -> Error {
    Error::internal("The copy is not wanted any more")
}

/// The parts that are not zero; short runs of zeros stay in.
fn runs(data: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    static ZEROS: [u8; RUN] = [0; RUN];
    let mut found: Vec<std::ops::Range<usize>> = vec![];
    for (n, block) in data.chunks(RUN).enumerate() {
        if block == &ZEROS[..block.len()] {
            continue;
        }
        let (start, end) = (n * RUN, n * RUN + block.len());
        match found.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => found.push(start..end),
        }
    }
    found.into_iter()
}

/// What a script has written and the other side has not confirmed.
#[derive(Debug)]
pub struct Held {
    inner: Mutex<Holding>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Holding {
    /// In order, without gaps.
    pieces: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    /// Where the next piece begins.
    end: u64,
    /// The pipe has nothing more.
    read: bool,
    /// The script has ended: well, or not.
    over: Option<Result<()>>,
    /// Nobody wants it any more.
    dropped: bool,
}

impl Held {
    /// Reads all that comes out of a pipe, as fast as it is kept elsewhere.
    pub fn read(mut pipe: File) -> Arc<Held> {
        let held = Arc::new(Held { inner: Mutex::default(), changed: Condvar::new() });
        let reader = held.clone();
        tokio::task::spawn_blocking(move || {
            loop {
                let mut data = Vec::with_capacity(PIECE);
                let read = (&mut pipe).take(PIECE as u64).read_to_end(&mut data);
                match read {
                    Ok(0) => return reader.all_read(),
                    Ok(_) if reader.add(data) => {}
                    Ok(_) => return,
                    Err(e) => {
                        let why = format!("Cannot read what the script writes: {e}");
                        return reader.over(Err(Error::exec(why)));
                    }
                }
            }
        });
        held
    }

    /// Whether more is wanted.
    fn add(&self, data: Vec<u8>) -> bool {
        let mut inner = self.lock();
        while inner.bytes >= HELD && !inner.dropped {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let at = inner.end;
        inner.end += data.len() as u64;
        inner.bytes += data.len();
        inner.pieces.push_back((at, data));
        self.changed.notify_all();
        !inner.dropped
    }

    fn all_read(&self) {
        self.lock().read = true;
        self.changed.notify_all();
    }

    /// The script has ended: only if it ended well, what it wrote is whole.
    pub fn over(&self, end: Result<()>) {
        self.lock().over.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Nobody wants it any more.
    pub fn drop_all(&self) {
        let mut inner = self.lock();
        inner.dropped = true;
        inner.pieces.clear();
        drop(inner);
        self.changed.notify_all();
    }

    fn kept(&self, at: u64) {
        let mut inner = self.lock();
        while let Some((start, data)) = inner.pieces.front()
            && start + data.len() as u64 <= at
        {
            let n = data.len();
            inner.bytes -= n;
            inner.pieces.pop_front();
        }
        self.changed.notify_all();
    }

    fn next(&self, at: u64, wanted: &dyn Fn() -> bool) -> Result<Next> {
        let mut inner = self.lock();
        loop {
            let first = inner.pieces.front().map_or(inner.end, |(start, _)| *start);
            if at < first {
                return Err(Error::exec(
                    "The other side has lost a part of what the script wrote, and a script cannot \
                     be asked again; try once more",
                ));
            }
            let piece = inner.pieces.iter().find(|(start, data)| start + data.len() as u64 > at);
            if let Some((start, data)) = piece {
                let skip = usize::try_from(at - start).unwrap_or(usize::MAX);
                return Ok(Next::Piece { at, data: data[skip..].to_vec() });
            }
            match &inner.over {
                Some(Err(error)) => return Err(error.clone()),
                Some(Ok(())) if inner.read => return Ok(Next::End(inner.end)),
                _ => {}
            }
            if inner.dropped || !wanted() {
                return Err(unwanted());
            }
            let waited = self.changed.wait_timeout(inner, LOOK);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Holding> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn feed(parts: &[(u64, usize)], length: u64) -> DiskFeed {
        let file = tempfile::tempfile().expect("file");
        file.set_len(length).expect("size");
        for (at, n) in parts {
            file.write_all_at(&vec![7; *n], *at).expect("write");
        }
        DiskFeed::new(Medium::of(file, "x")).expect("looked at")
    }

    /// All of it from a place on: (offset, length).
    fn all(feed: &mut DiskFeed, mut at: u64) -> (Vec<(u64, usize)>, u64) {
        let mut pieces = vec![];
        loop {
            match feed.next(at, &|| true).expect("read") {
                Next::Piece { at: place, data } => {
                    assert!(data.contains(&7));
                    pieces.push((place, data.len()));
                    at = place + data.len() as u64;
                }
                Next::End(end) => return (pieces, end),
            }
        }
    }

    #[test]
    fn zeros_are_left_out_also_where_the_file_has_no_hole() {
        let mib = 1 << 20;
        let mut feed = feed(&[(0, 10), (3 * mib + RUN as u64, RUN), (5 * mib, PIECE)], 8 * mib);
        feed.medium.write(2 * mib, &[0; PIECE]).expect("zeros that are data");
        let feed = &mut DiskFeed::new(std::mem::replace(
            &mut feed.medium,
            Medium::of(tempfile::tempfile().expect("file"), "y"),
        ))
        .expect("looked at again");
        let (pieces, end) = all(feed, 0);
        assert_eq!(end, 8 * mib);
        assert_eq!(pieces[0], (0, RUN.min(pieces[0].1)));
        let covered: usize = pieces.iter().map(|(_, n)| n).sum();
        assert!(covered <= 2 * RUN + PIECE, "{pieces:?}");
        assert!(pieces.contains(&(5 * mib, PIECE)), "{pieces:?}");
        let (rest, _) = all(feed, 5 * mib + 4096);
        assert_eq!(rest, [(5 * mib + 4096, PIECE - 4096)], "from anywhere on");
        assert_eq!(all(feed, 0).0, pieces, "and again");
    }

    #[test]
    fn an_empty_disk_only_ends() {
        assert_eq!(all(&mut feed(&[], 0), 0), (vec![], 0));
        assert_eq!(all(&mut feed(&[], 4096), 0), (vec![], 4096));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_script_wrote_is_held_until_it_is_kept() {
        let (reader, mut writer) = std::io::pipe().expect("pipe");
        let held = Held::read(File::from(std::os::fd::OwnedFd::from(reader)));
        let total = HELD + 3 * PIECE;
        let (writing, over) = (
            tokio::task::spawn_blocking(move || {
                let data: Vec<u8> = (0..total).map(|n| (n / 1000) as u8).collect();
                std::io::Write::write_all(&mut writer, &data).expect("written");
                data
            }),
            held.clone(),
        );
        let taking = tokio::task::spawn_blocking(move || {
            let mut feed = Feed::Script(held);
            let (mut at, mut got, mut asked_again) = (0, vec![], false);
            while got.len() < total {
                let Next::Piece { at: place, data } = feed.next(at, &|| true).expect("a piece")
                else {
                    panic!("it is not over")
                };
                assert_eq!(place, at);
                at += data.len() as u64;
                got.extend(data);
                if at > 40 << 20 && !asked_again {
                    // The connection broke; the other side has kept half.
                    asked_again = true;
                    at = 20 << 20;
                    got.truncate(20 << 20);
                    feed.kept(at);
                }
                if at.is_multiple_of(16 << 20) && (asked_again || at == 16 << 20) {
                    feed.kept(at);
                }
            }
            feed.next(at - 5, &|| false).expect("still here");
            feed.next(0, &|| true).expect_err("gone");
            (feed, got, at)
        });
        let data = writing.await.expect("written");
        let (mut feed, got, at) = taking.await.expect("taken");
        assert!(got == data);
        over.over(Ok(()));
        assert_eq!(feed.next(at, &|| true).expect("over"), Next::End(total as u64));
    }
}
