//! `gnt-confd-client`: questions to confd, for administrators. Works on every node, and while there is no master.

mod addresses;
mod cluster;
mod how;
mod objects;

pub(super) use how::minors_table;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<cluster::Candidates>(),
    entry::<cluster::Collectors>(),
    entry::<cluster::Config>(),
    entry::<objects::Disks>(),
    entry::<objects::Drbd>(),
    entry::<objects::Guests>(),
    entry::<addresses::InstanceIp>(),
    entry::<objects::Instances>(),
    entry::<addresses::Ips>(),
    entry::<cluster::Master>(),
    entry::<cluster::Nodes>(),
    entry::<cluster::Ping>(),
    entry::<objects::Role>(),
];
