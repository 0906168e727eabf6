//! Which volumes were made from this node, and how far that came: a file for each below noded's
//! data, written before a volume is made and removed after it.
//!
//! ```text
//!   no mark ─► making ─► made ─► no mark
//!                └── the script refused, nothing was made ──► no mark
//! ```
//!
//! A volume that was there before (an administrator may give an existing one to a provider that
//! takes it) is marked so, and never removed by an undo.

use crate::durable;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No job lasts as long: a mark this old is of a volume that another node may have removed.
const OLD: Duration = Duration::from_secs(90 * 86400);

/// What is known of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub disk: DiskId,
    /// The script said yes.
    pub made: bool,
    /// The volume was there before.
    pub existed: bool,
}

/// The mark of a volume.
pub fn read(path: &Path) -> Result<Option<Mark>> {
    match fs::read(path) {
        // It is written as a whole: what cannot be read is not ours.
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| {
            Error::exec(format!("The mark '{}' of a volume is damaged: {e}", path.display()))
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::exec(format!("Cannot read '{}': {e}", path.display()))),
    }
}

/// Writes it, durably.
pub fn write(path: &Path, mark: &Mark) -> Result<()> {
    if let Some(dir) = path.parent() {
        durable::make_dir(dir)?;
    }
    let text = serde_json::to_vec(mark).map_err(|e| Error::internal(e.to_string()))?;
    durable::write(path, &text, 0o600)
}

/// Removes it.
pub fn clear(path: &Path) -> Result<()> {
    if path.exists() { durable::remove(path) } else { Ok(()) }
}

/// Removes marks that mean nothing any more. Failures do no harm.
pub fn prune(dir: &Path) {
    let old = |path: &Path| {
        let age = path.metadata().and_then(|meta| meta.modified()).map(|time| time.elapsed());
        matches!(age, Ok(Ok(age)) if age > OLD)
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path: PathBuf = entry.path();
        if old(&path) && matches!(read(&path), Ok(Some(Mark { made: true, .. }))) {
            let _ = fs::remove_file(path);
        }
    }
}
