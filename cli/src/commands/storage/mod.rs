//! `gnt-storage`: external storage providers.

mod check;
mod diagnose;
mod info;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] =
    &[entry::<check::Check>(), entry::<diagnose::Diagnose>(), entry::<info::Info>()];
