//! Overwrites block devices with zeros.
//!
//! Written past the page cache where the device allows it, and synced piece by piece: what is told
//! of the progress is true, and the machine's memory is left to its guests.

use super::device::Work;
use crate::blocking::blocking;
use crate::exec::Command;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use roost_proto::error::{Error, Result};
use roost_proto::node::Progress;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const CHUNK: usize = 1 << 20;
/// What O_DIRECT wants memory and sizes to be multiples of, at most.
const ALIGN: usize = 4096;
/// How much is written before it is synced.
const PIECE: u64 = 64 << 20;
/// How often it is told how far it is.
const TELL: Duration = Duration::from_secs(1);
/// How long a thin pool may take to forget a volume.
const DISCARD: Duration = Duration::from_secs(1800);

/// Overwrites bytes from `from` up to `to` of a device nobody uses. Errors: somebody does, it
/// cannot be written, or ends before.
pub async fn zeros(path: &Path, from: u64, to: u64, work: &Work) -> Result<()> {
    // A device that is mounted or has another one on it is not overwritten.
    run(path, OFlag::O_EXCL, from, to, work).await
}

/// Overwrites bytes from `from` up to `to` of a device that may be in use, but not there. Errors:
/// it cannot be written, or ends before.
pub async fn zeros_in_use(path: &Path, from: u64, to: u64, work: &Work) -> Result<()> {
    run(path, OFlag::empty(), from, to, work).await
}

async fn run(path: &Path, flags: OFlag, from: u64, to: u64, work: &Work) -> Result<()> {
    let (path, work) = (path.to_owned(), work.clone());
    blocking(move || {
        let tell = |progress| work.reporter.progress(progress);
        let take = |bytes| work.budget.take(bytes, || true);
        let written = open(&path, flags).and_then(|mut file| {
            reaches(&mut file, to)?;
            write(&file, from, to, &take, &tell)
        });
        written.map_err(|e| Error::exec(e.to_string()))
    })
    .await
}

/// Gives back all of a device whose given-back parts read as zeros. Whoever calls knows that.
pub async fn discard(path: &Path) -> Result<()> {
    Command::new("blkdiscard").arg(path).deadline(DISCARD).run_ok().await.map(drop)
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    let open = |flags: OFlag| OpenOptions::new().write(true).custom_flags(flags.bits()).open(path);
    match open(OFlag::O_DIRECT | flags) {
        // Some devices and file systems cannot do it past the cache.
        Err(e) if e.raw_os_error() == Some(Errno::EINVAL as i32) => open(flags),
        other => other,
    }
}

/// A device that is smaller than it should be is told of before anything is written.
fn reaches(file: &mut File, to: u64) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    if end < to {
        let (end, to) = (end >> 20, to >> 20);
        return Err(io::Error::other(format!("it has {end} MiB, not {to}")));
    }
    Ok(())
}

fn write(
    file: &File,
    from: u64,
    to: u64,
    take: &dyn Fn(u64),
    tell: &dyn Fn(Progress),
) -> io::Result<()> {
    let memory = vec![0_u8; CHUNK + ALIGN];
    let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
    let zeros = &memory[start..start + CHUNK];
    let began = Instant::now();
    let (mut at, mut synced, mut told) = (from, from, began);
    while at < to {
        let n = (to - at).min(CHUNK as u64);
        take(n);
        file.write_all_at(&zeros[..usize::try_from(n).unwrap_or(CHUNK)], at)?;
        at += n;
        if at - synced >= PIECE {
            file.sync_data()?;
            synced = at;
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let rate = (at - from) as f64 / began.elapsed().as_secs_f64();
            tell(Progress {
                percent: Some(100.0 * (at - from) as f64 / (to - from) as f64),
                rate: Some(rate),
                eta: Some((to - at) as f64 / rate.max(1.0)),
                message: None,
            });
        }
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_overwritten() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("device");
        std::fs::write(&path, vec![7; 4 << 20]).expect("file");
        let mut file = open(&path, OFlag::O_EXCL).expect("open");
        let taken = std::cell::Cell::new(0);
        let take = |bytes| taken.set(taken.get() + bytes);
        write(&file, 1 << 20, (3 << 20) - 4096, &take, &|_| ()).expect("written");
        assert_eq!(taken.get(), (2 << 20) - 4096, "it asks for what it writes");
        let bytes = std::fs::read(&path).expect("read");
        assert_eq!(bytes.len(), 4 << 20);
        let zero = |b: &u8| *b == 0;
        assert!(bytes[1 << 20..(3 << 20) - 4096].iter().all(zero));
        assert!(!bytes[..1 << 20].iter().any(zero) && !bytes[(3 << 20) - 4096..].iter().any(zero));
        reaches(&mut file, 4 << 20).expect("as large");
        let error = reaches(&mut file, 5 << 20).expect_err("too small");
        assert_eq!(error.to_string(), "it has 4 MiB, not 5");
    }

    #[test]
    fn a_full_device_is_an_error() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("open");
        assert!(write(&full, 0, 4096, &|_| (), &|_| ()).is_err());
    }
}
