//! `gnt-rule`: placement rules. Ganeti has no such tool.

mod add;
mod info;
mod list;
mod modify;
mod remove;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<add::Add>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<list::ListFields>(),
    entry::<modify::Modify>(),
    entry::<remove::Remove>(),
];
