//! `gnt-debug`.

mod delay;
mod iallocator;
mod locks;
mod submit_job;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<delay::Delay>(),
    entry::<iallocator::Iallocator>(),
    entry::<locks::Locks>(),
    entry::<submit_job::SubmitJob>(),
];
