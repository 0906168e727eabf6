//! `gnt-cluster`.

mod activate_master_ip;
mod balancer;
mod command;
mod copyfile;
mod deactivate_master_ip;
mod destroy;
mod export_config;
mod getmaster;
mod import_config;
mod import_ganeti;
mod info;
mod init;
mod master_failover;
mod master_ping;
mod migrate_store;
mod modify;
mod nodes;
mod queue;
mod redist_conf;
mod rename;
mod renew_crypto;
mod repair_debris;
mod repair_disk_sizes;
mod search_tags;
mod tags;
mod verify;
mod verify_disks;
mod version;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<activate_master_ip::ActivateMasterIp>(),
    entry::<tags::AddTags>(),
    entry::<balancer::Balancer>(),
    entry::<command::CommandVerb>(),
    entry::<copyfile::Copyfile>(),
    entry::<deactivate_master_ip::DeactivateMasterIp>(),
    entry::<destroy::Destroy>(),
    entry::<export_config::ExportConfig>(),
    entry::<getmaster::Getmaster>(),
    entry::<import_config::ImportConfig>(),
    entry::<import_ganeti::ImportGaneti>(),
    entry::<info::Info>(),
    entry::<init::Init>(),
    entry::<tags::ListTags>(),
    entry::<master_failover::MasterFailover>(),
    entry::<master_ping::MasterPing>(),
    entry::<migrate_store::MigrateStore>(),
    entry::<modify::Modify>(),
    entry::<queue::Queue>(),
    entry::<redist_conf::RedistConf>(),
    entry::<tags::RemoveTags>(),
    entry::<rename::Rename>(),
    entry::<renew_crypto::RenewCrypto>(),
    entry::<repair_debris::RepairDebris>(),
    entry::<repair_disk_sizes::RepairDiskSizes>(),
    entry::<search_tags::SearchTags>(),
    entry::<verify::Verify>(),
    entry::<verify_disks::VerifyDisks>(),
    entry::<version::Version>(),
];
