//! Opcodes about instances.

pub mod check;
mod console;
mod convert;
mod create;
mod create_nodes;
mod devices;
mod disks;
mod failover;
mod grow_disk;
mod import;
mod migrate;
mod migrate_disks;
mod move_disks;
mod query_data;
mod reboot;
mod recreate_disks;
mod reinstall;
mod relocate;
mod remove;
mod rename;
mod repair_mirror;
mod replace_disks;
mod set_devices;
mod set_disks;
mod set_params;
pub mod shutdown;
mod startup;
