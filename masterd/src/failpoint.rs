//! Dying at an exact place, for tests: only in builds with debug assertions, nothing otherwise.
//!
//! Whoever writes the name of a place into the file `failpoint` of the data directory has this
//! masterd die there, as by `kill -9`, the next time it comes by; with a number n behind it, the
//! n-th time. The file goes away with it, so it dies once; until then it says how often is left.
//! `tests/tests/e2e/failpoints.rs` does so at every place.

use std::path::PathBuf;
use std::sync::OnceLock;

static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Places at which masterd may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A group of commits is durable here, and nobody else has it.
    CommitStored,
    /// It counts, and nobody was told.
    CommitCounts,
    /// Commits of the leader are durable here, and it was not told.
    AppendStored,
    /// An epoch is promised on disk, and nobody was told.
    PromiseWritten,
    /// A whole copy is in place, and the process has not started over with it.
    CopyInPlace,
    /// Elected, and nothing of the leadership is written.
    Elected,
    /// The leadership's first commit counts, and no job was taken up.
    Begun,
}

impl Place {
    /// All of them.
    pub const ALL: [Place; 7] = [
        Place::CommitStored,
        Place::CommitCounts,
        Place::AppendStored,
        Place::PromiseWritten,
        Place::CopyInPlace,
        Place::Elected,
        Place::Begun,
    ];

    /// Its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::CommitStored => "commit-stored",
            Place::CommitCounts => "commit-counts",
            Place::AppendStored => "append-stored",
            Place::PromiseWritten => "promise-written",
            Place::CopyInPlace => "copy-in-place",
            Place::Elected => "elected",
            Place::Begun => "begun",
        }
    }
}

/// Where to look; without it no place is deadly.
pub fn look_in(file: PathBuf) {
    // Once in a process.
    FILE.set(file).ok();
}

/// Dies, if that is wanted here.
pub fn hit(place: Place) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(file) = FILE.get() else { return };
    let Ok(wanted) = std::fs::read_to_string(file) else { return };
    let (name, left) = wanted.trim().split_once(' ').unwrap_or((wanted.trim(), "1"));
    if name != place.as_str() {
        return;
    }
    let left: u32 = left.parse().unwrap_or(1);
    if left > 1 {
        std::fs::write(file, format!("{name} {}", left - 1)).ok();
        return;
    }
    // Only whoever removes it dies: several threads may come by.
    if std::fs::remove_file(file).is_ok() {
        tracing::error!(place = place.as_str(), "dying at a failpoint");
        std::process::abort();
    }
}
