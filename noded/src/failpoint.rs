//! Dying at an exact place, for tests: only in builds with debug assertions, nothing otherwise.
//!
//! Whoever writes the name of a place and a number into the file `failpoint-noded` of the data
//! directory has this noded die there, as by `kill -9`, when it comes by for the n-th time. The file
//! goes away with it, so it dies once; until then it says how often is left.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

static FILE: OnceLock<PathBuf> = OnceLock::new();
/// Several threads may come by at once: each counts.
static COUNTING: Mutex<()> = Mutex::new(());

/// Places at which noded may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A step is to be carried out, and nothing of it is done.
    StepBegun,
    /// A step is done, and neither written down nor told.
    StepDone,
    /// A command of a step has ended, and what it did is not known yet.
    CommandEnded,
}

impl Place {
    fn as_str(self) -> &'static str {
        match self {
            Place::StepBegun => "step-begun",
            Place::StepDone => "step-done",
            Place::CommandEnded => "command-ended",
        }
    }
}

/// Where to look; without it no place is deadly.
pub fn look_in(file: PathBuf) {
    // Once in a process.
    FILE.set(file).ok();
}

/// Dies, if that is wanted here and now.
pub fn hit(place: Place) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(file) = FILE.get() else { return };
    let _alone = COUNTING.lock().unwrap_or_else(|e| e.into_inner());
    let Ok(wanted) = std::fs::read_to_string(file) else { return };
    let Some((name, left)) = wanted.trim().split_once(' ') else { return };
    let left: u32 = left.parse().unwrap_or(0);
    if name != place.as_str() || left == 0 {
        return;
    }
    if left > 1 {
        std::fs::write(file, format!("{name} {}", left - 1)).ok();
    } else if std::fs::remove_file(file).is_ok() {
        tracing::error!(place = name, "dying at a failpoint");
        std::process::abort();
    }
}
