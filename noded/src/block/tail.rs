//! The new part of a disk that was grown: overwritten with zeros before any guest knows of it.
//!
//! ```text
//!   0 ───────────── disk.size ──────────── size
//!     kept as it is           zeros
//! ```
//!
//! What grows in a file is a hole and reads as zeros already. What only QEMU can open (an image in
//! Ceph or Gluster) is made of new, empty pieces, too.

use super::device::{Device, Work};
use crate::blocking::blocking;
use crate::hypervisor::Source;
use roost_proto::error::{Error, Result};
use roost_proto::node::Progress;
use roost_proto::objects::Disk;
use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

const MIB: u64 = 1 << 20;
/// How much is written before the next progress is told.
const PIECE: u64 = 64 * MIB;

/// Overwrites an assembled disk from its recorded size up to `size` MiB. Sizes in MiB. Errors: it
/// is not assembled, or smaller than `size`.
pub async fn zero(disk: &Disk, size: u64, work: &Work) -> Result<()> {
    if size <= disk.size {
        return Ok(());
    }
    let path = match Device::of(disk, work)?.place(work).await?.source {
        Source::Block(path) => path,
        Source::File(_) | Source::Uri(_) => return Ok(()),
    };
    let (from, to, work) = (disk.size * MIB, size * MIB, work.clone());
    blocking(move || {
        write_zeros(&path, from, to, &work).map_err(|e| {
            Error::exec(format!(
                "Cannot overwrite the new part of '{}' with zeros: {e}",
                path.display()
            ))
        })
    })
    .await
}

/// Writes zeros from byte `from` up to `to`.
fn write_zeros(path: &Path, from: u64, to: u64, work: &Work) -> io::Result<()> {
    let mut device = OpenOptions::new().write(true).open(path)?;
    let end = device.seek(SeekFrom::End(0))?;
    if end < to {
        let (end, to) = (end / MIB, to / MIB);
        return Err(io::Error::other(format!("it has {end} MiB, not {to}")));
    }
    device.seek(SeekFrom::Start(from))?;
    let zeros = vec![0; MIB as usize];
    let (began, mut at) = (Instant::now(), from);
    while at < to {
        let n = (to - at).min(MIB);
        device.write_all(&zeros[..usize::try_from(n).unwrap_or(zeros.len())])?;
        at += n;
        if (at - from).is_multiple_of(PIECE) {
            // Written, not only promised: otherwise the end would come all at once.
            device.sync_data()?;
            let rate = (at - from) as f64 / began.elapsed().as_secs_f64().max(1e-3);
            work.reporter.progress(Progress {
                percent: Some(100.0 * (at - from) as f64 / (to - from) as f64),
                rate: Some(rate),
                eta: Some((to - at) as f64 / rate.max(1.0)),
                message: None,
            });
        }
    }
    device.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Reporter;
    use roost_proto::paths::Paths;

    #[test]
    fn only_the_new_part_is_overwritten() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("volume");
        std::fs::write(&path, vec![7_u8; 4 * MIB as usize]).expect("file");
        let node = "00000000-0000-4000-8000-000000000001".parse().expect("uuid");
        let paths = Paths::new(Some(dir.path().to_owned()));
        let work = Work {
            paths,
            node,
            instance: None,
            undo: false,
            reporter: Reporter::silent(),
            budget: Default::default(),
        };
        write_zeros(&path, MIB, 3 * MIB, &work).expect("written");
        let bytes = std::fs::read(&path).expect("file");
        let kept = |part: &[u8]| part.iter().all(|b| *b == 7);
        let mib = MIB as usize;
        assert!(kept(&bytes[..mib]) && kept(&bytes[3 * mib..]), "the rest is kept");
        assert!(bytes[mib..3 * mib].iter().all(|b| *b == 0));
        let error = write_zeros(&path, MIB, 5 * MIB, &work).expect_err("too small");
        assert!(error.to_string().contains("it has 4 MiB, not 5"), "{error}");
        assert_eq!(std::fs::read(&path).expect("file").len(), 4 * mib, "never longer");
    }
}
