//! `gnt-cluster`.

mod command;
mod copyfile;
mod destroy;
mod getmaster;
mod info;
mod init;
mod master_ping;
mod modify;
mod nodes;
mod queue;
mod redist_conf;
mod repair_debris;
mod search_tags;
mod tags;
mod verify;
mod version;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<tags::AddTags>(),
    entry::<command::CommandVerb>(),
    entry::<copyfile::Copyfile>(),
    entry::<destroy::Destroy>(),
    entry::<getmaster::Getmaster>(),
    entry::<info::Info>(),
    entry::<init::Init>(),
    entry::<tags::ListTags>(),
    entry::<master_ping::MasterPing>(),
    entry::<modify::Modify>(),
    entry::<queue::Queue>(),
    entry::<redist_conf::RedistConf>(),
    entry::<tags::RemoveTags>(),
    entry::<repair_debris::RepairDebris>(),
    entry::<search_tags::SearchTags>(),
    entry::<verify::Verify>(),
    entry::<version::Version>(),
];
