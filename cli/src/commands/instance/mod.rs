//! `gnt-instance`.

mod activate_disks;
mod add;
mod batch_create;
mod change_group;
mod console;
mod deactivate_disks;
mod disk_dump;
mod exists;
mod failover;
mod grow_disk;
mod info;
mod list;
mod migrate;
mod modify;
mod move_;
mod reboot;
mod recreate_disks;
mod reinstall;
mod remove;
mod rename;
mod repair_mirror;
mod replace_disks;
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
    entry::<change_group::ChangeGroup>(),
    entry::<console::Console>(),
    entry::<deactivate_disks::DeactivateDisks>(),
    entry::<failover::Failover>(),
    entry::<grow_disk::GrowDisk>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<list::ListFields>(),
    entry::<tags::ListTags>(),
    entry::<migrate::Migrate>(),
    entry::<modify::Modify>(),
    entry::<move_::Move>(),
    entry::<reboot::Reboot>(),
    entry::<recreate_disks::RecreateDisks>(),
    entry::<reinstall::Reinstall>(),
    entry::<remove::Remove>(),
    entry::<tags::RemoveTags>(),
    entry::<rename::Rename>(),
    entry::<repair_mirror::RepairMirror>(),
    entry::<replace_disks::ReplaceDisks>(),
    entry::<shutdown::Shutdown>(),
    entry::<startup::Startup>(),
];
