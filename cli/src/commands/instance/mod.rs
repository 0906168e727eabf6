//! `gnt-instance`.

mod activate_disks;
mod add;
mod batch_create;
mod console;
mod deactivate_disks;
mod disk_dump;
mod exists;
mod failover;
mod info;
mod list;
mod migrate;
mod modify;
mod move_;
mod reboot;
mod reinstall;
mod remove;
mod rename;
mod shutdown;
mod startup;
mod tags;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<activate_disks::ActivateDisks>(),
    entry::<add::Add>(),
    entry::<tags::AddTags>(),
    entry::<batch_create::BatchCreate>(),
    entry::<console::Console>(),
    entry::<deactivate_disks::DeactivateDisks>(),
    entry::<failover::Failover>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<list::ListFields>(),
    entry::<tags::ListTags>(),
    entry::<migrate::Migrate>(),
    entry::<modify::Modify>(),
    entry::<move_::Move>(),
    entry::<reboot::Reboot>(),
    entry::<reinstall::Reinstall>(),
    entry::<remove::Remove>(),
    entry::<tags::RemoveTags>(),
    entry::<rename::Rename>(),
    entry::<shutdown::Shutdown>(),
    entry::<startup::Startup>(),
];
