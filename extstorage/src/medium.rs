//! An attached volume as something that has a size and holds data: a block device, or a URI that
//! QEMU's tools open.

use crate::run::{End, Ended, Exec, Job};
use roost_proto::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// QEMU's tools take no larger piece at once.
const PIECE: u64 = 1 << 30;

/// Where data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A block device.
    Device(PathBuf),
    /// As QEMU writes it.
    Uri(String),
}

impl Medium {
    /// Its size in bytes. Errors: it cannot be opened; for a URI also, QEMU's tools are missing.
    pub async fn size(&self, exec: &impl Exec, limit: Duration) -> Result<u64> {
        let uri = match self {
            Medium::Device(path) => return device::size(path),
            Medium::Uri(uri) => uri,
        };
        let args = ["info", "-U", "-f", "raw", "--output=json", uri];
        let info = tool(exec, "qemu-img", &args, limit).await?;
        let told: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap_or_default();
        told["virtual-size"].as_u64().ok_or_else(|| {
            Error::exec(format!("Cannot tell the size of '{uri}': qemu-img does not say it"))
        })
    }

    /// Overwrites `size` MiB with zeros; `tell` hears how much is done, from 0 to 1. For URIs; a
    /// device is [`device::zero`]'s.
    pub async fn zero(
        uri: &str,
        size: u64,
        exec: &impl Exec,
        limit: Duration,
        tell: impl Fn(f64),
    ) -> Result<()> {
        let whole = size * MIB;
        let mut at = 0;
        while at < whole {
            let length = PIECE.min(whole - at);
            let command = format!("write -z {at} {length}");
            let args = ["-f", "raw", "-c", &command, "-c", "flush", uri];
            tool(exec, "qemu-io", &args, limit).await?;
            at += length;
            tell(at as f64 / whole as f64);
        }
        Ok(())
    }

    /// Fills the MiB at `at` (in MiB) with a byte.
    pub async fn fill(&self, at: u64, byte: u8, exec: &impl Exec, limit: Duration) -> Result<()> {
        match self {
            Medium::Device(path) => device::fill(path, at * MIB, byte),
            Medium::Uri(uri) => {
                let command = format!("write -P {byte} {} {MIB}", at * MIB);
                let args = ["-f", "raw", "-c", &command, "-c", "flush", uri];
                tool(exec, "qemu-io", &args, limit).await.map(drop)
            }
        }
    }

    /// Whether the MiB at `at` (in MiB) is filled with a byte.
    pub async fn holds(
        &self,
        at: u64,
        byte: u8,
        exec: &impl Exec,
        limit: Duration,
    ) -> Result<bool> {
        let uri = match self {
            Medium::Device(path) => return device::holds(path, at * MIB, byte),
            Medium::Uri(uri) => uri,
        };
        let command = format!("read -P {byte} {} {MIB}", at * MIB);
        let args = ["-r", "-f", "raw", "-c", &command, uri];
        // It ends with an error for other data, too, and then says so.
        let job = job("qemu-io", &args, limit);
        let ended = exec.run(job).await?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        if said.contains("Pattern verification failed") {
            return Ok(false);
        }
        expect("qemu-io", ended).map(|_| true)
    }
}

fn job(program: &str, args: &[&str], limit: Duration) -> Job {
    Job {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        dir: "/".into(),
        env: BTreeMap::new(),
        deadline: limit,
        log: None,
    }
}

async fn tool(exec: &impl Exec, program: &str, args: &[&str], limit: Duration) -> Result<Ended> {
    expect(program, exec.run(job(program, args, limit)).await?)
}

fn expect(program: &str, ended: Ended) -> Result<Ended> {
    if ended.end == End::Exit(0) {
        return Ok(ended);
    }
    let said = [ended.stderr, ended.stdout].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(Error::exec(format!("{program} {}: {said}", ended.end)))
}

/// Block devices. These calls block.
pub mod device {
    use super::MIB;
    use nix::fcntl::{FallocateFlags, fallocate};
    use nix::sys::stat::{SFlag, major, minor};
    use roost_proto::error::{Error, Result};
    use std::fs::{File, OpenOptions};
    use std::io::{Seek, SeekFrom};
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::path::Path;

    /// Zeros are written in pieces of this many bytes.
    const PIECE: u64 = 1 << 30;

    /// Major and minor number; nothing if it is not a block device.
    pub fn number(path: &Path) -> Option<(u32, u32)> {
        let meta = path.metadata().ok()?;
        let is_block = meta.mode() & SFlag::S_IFMT.bits() == SFlag::S_IFBLK.bits();
        let part = |n: u64| u32::try_from(n).ok();
        is_block.then_some((part(major(meta.rdev()))?, part(minor(meta.rdev()))?))
    }

    /// Its size in bytes.
    pub fn size(path: &Path) -> Result<u64> {
        let end = File::open(path).and_then(|mut file| file.seek(SeekFrom::End(0)));
        end.map_err(|e| failed("read the size of", path, e))
    }

    /// Overwrites all of it with zeros; `tell` hears how much is done, from 0 to 1.
    pub fn zero(path: &Path, tell: impl Fn(f64)) -> Result<()> {
        let error = |e| failed("wipe", path, e);
        let mut file = OpenOptions::new().write(true).open(path).map_err(error)?;
        let whole = file.seek(SeekFrom::End(0)).map_err(error)?;
        let mut at = 0;
        while at < whole {
            let length = PIECE.min(whole - at);
            // The kernel writes zeros itself where the device cannot forget.
            let range =
                |n: u64| i64::try_from(n).map_err(|_| error(nix::errno::Errno::EFBIG.into()));
            let flags = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            fallocate(&file, flags, range(at)?, range(length)?).map_err(|e| error(e.into()))?;
            at += length;
            tell(at as f64 / whole as f64);
        }
        file.sync_all().map_err(error)
    }

    /// Fills the MiB at an offset with a byte.
    pub(super) fn fill(path: &Path, at: u64, byte: u8) -> Result<()> {
        let data = vec![byte; MIB as usize];
        let written = OpenOptions::new().write(true).open(path).and_then(|file| {
            file.write_all_at(&data, at)?;
            file.sync_all()
        });
        written.map_err(|e| failed("write to", path, e))
    }

    /// Whether the MiB at an offset is filled with a byte.
    pub(super) fn holds(path: &Path, at: u64, byte: u8) -> Result<bool> {
        let mut data = vec![0; MIB as usize];
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut data, at));
        read.map_err(|e| failed("read from", path, e))?;
        Ok(data.iter().all(|found| *found == byte))
    }

    fn failed(what: &str, path: &Path, e: std::io::Error) -> Error {
        Error::exec(format!("Cannot {what} the device '{}': {e}", path.display()))
    }
}
