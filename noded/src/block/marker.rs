//! The mark by which a file is known as a certain disk: a hidden file beside it with its UUID.
//!
//! `disk0` has `.disk0.roost`. The mark is made before the data and removed after it, so data
//! without one is never ours by accident. (Extended attributes would be neater, but not every
//! shared file system has them.)

use crate::durable;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use std::path::{Path, PathBuf};

/// Whose the data at a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This disk's.
    Ours,
    /// Another disk's.
    Other(DiskId),
    /// It has no mark: not made by us, or by Ganeti.
    Unmarked,
}

/// Reads the mark of the data at `path`.
pub fn owner(path: &Path, disk: DiskId) -> Result<Owner> {
    let mark = mark(path);
    match std::fs::read_to_string(&mark) {
        Ok(text) => match text.trim().parse::<DiskId>() {
            Ok(uuid) if uuid == disk => Ok(Owner::Ours),
            Ok(uuid) => Ok(Owner::Other(uuid)),
            // Cut short by a power failure: nothing was made after it.
            Err(_) => Ok(Owner::Unmarked),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Owner::Unmarked),
        Err(e) => Err(Error::exec(format!("Cannot read '{}': {e}", mark.display()))),
    }
}

/// Marks the data at `path`, which need not exist yet.
pub fn set(path: &Path, disk: DiskId) -> Result<()> {
    durable::write(&mark(path), format!("{disk}\n").as_bytes(), 0o600)
}

/// Removes the mark.
pub fn clear(path: &Path) -> Result<()> {
    durable::remove(&mark(path))
}

/// Where the mark of the data at `path` is.
pub fn mark(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.roost"))
}
