//! `gnt-backup`.

mod export;
mod import;
mod list;
mod remove;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<export::Export>(),
    entry::<import::Import>(),
    entry::<list::List>(),
    entry::<list::ListFields>(),
    entry::<remove::Remove>(),
];
