//! Which parts of a file hold data: the rest reads as zeros and need not be copied.

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;

/// The extents (offset, length) with data, in order, of a file of `length` bytes.
pub fn extents(file: &File, length: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut all = vec![];
    let mut at = 0;
    while at < length {
        let start = match seek(file, at, Whence::SeekData) {
            Ok(start) => start,
            // Nothing but a hole follows.
            Err(Errno::ENXIO) => break,
            // This file system does not tell: all of it may be data.
            Err(Errno::EINVAL) => return Ok(vec![(0, length)]),
            Err(e) => return Err(e.into()),
        };
        let end = seek(file, start, Whence::SeekHole)?.min(length);
        if end <= start {
            break;
        }
        all.push((start, end - start));
        at = end;
    }
    Ok(all)
}

fn seek(file: &File, at: u64, whence: Whence) -> nix::Result<u64> {
    let at = i64::try_from(at).map_err(|_| Errno::EOVERFLOW)?;
    lseek(file, at, whence).map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_are_left_out() {
        let file = tempfile::tempfile().expect("file");
        file.set_len(8 << 20).expect("size");
        assert_eq!(extents(&file, 8 << 20).expect("none"), []);
        file.write_all_at(&[1; 4096], 4 << 20).expect("write");
        let all = extents(&file, 8 << 20).expect("one");
        let within = |at: u64| all.iter().any(|(start, len)| (*start..start + len).contains(&at));
        assert!(within(4 << 20) && within((4 << 20) + 4095), "{all:?}");
        let data: u64 = all.iter().map(|(_, len)| len).sum();
        assert!(data < 8 << 20 || all == [(0, 8 << 20)], "{all:?}");
    }
}
