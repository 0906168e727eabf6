//! `gnt-node`.

mod add;
mod affected;
mod evacuate;
mod failover;
mod health;
mod info;
mod list;
mod list_drbd;
mod list_storage;
mod migrate;
mod modify;
mod modify_storage;
mod out_of_band;
mod power;
mod powercycle;
mod remove;
mod repair_storage;
mod tags;
mod token;
mod volumes;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<add::Add>(),
    entry::<tags::AddTags>(),
    entry::<evacuate::Evacuate>(),
    entry::<failover::Failover>(),
    entry::<health::Health>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<list_drbd::ListDrbd>(),
    entry::<list::ListFields>(),
    entry::<list_storage::ListStorage>(),
    entry::<tags::ListTags>(),
    entry::<migrate::Migrate>(),
    entry::<modify::Modify>(),
    entry::<modify_storage::ModifyStorage>(),
    entry::<power::Power>(),
    entry::<powercycle::Powercycle>(),
    entry::<remove::Remove>(),
    entry::<tags::RemoveTags>(),
    entry::<repair_storage::RepairStorage>(),
    entry::<token::Token>(),
    entry::<volumes::Volumes>(),
];
