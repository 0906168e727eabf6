//! `gnt-filter`.

mod add;
mod delete;
mod info;
mod list;
mod replace;
mod rule;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<add::Add>(),
    entry::<delete::Delete>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<list::ListFields>(),
    entry::<replace::Replace>(),
];
