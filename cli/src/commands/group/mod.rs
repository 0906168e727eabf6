//! `gnt-group`.

mod add;
mod assign_nodes;
mod evacuate;
mod info;
mod list;
mod modify;
mod remove;
mod rename;
mod tags;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<add::Add>(),
    entry::<tags::AddTags>(),
    entry::<assign_nodes::AssignNodes>(),
    entry::<evacuate::Evacuate>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<list::ListFields>(),
    entry::<tags::ListTags>(),
    entry::<modify::Modify>(),
    entry::<remove::Remove>(),
    entry::<tags::RemoveTags>(),
    entry::<rename::Rename>(),
];
