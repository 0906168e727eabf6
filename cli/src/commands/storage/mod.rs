//! `gnt-storage`: external storage providers.

mod diagnose;
mod info;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[entry::<diagnose::Diagnose>(), entry::<info::Info>()];
