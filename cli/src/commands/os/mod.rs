//! `gnt-os`.

pub mod diagnose;
mod info;
mod list;
mod modify;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<diagnose::Diagnose>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<modify::Modify>(),
];
