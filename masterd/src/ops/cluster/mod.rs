//! Opcodes about the whole cluster.

mod destroy;
mod modify;
mod post_init;
mod query;
mod redist_conf;
mod rename;
mod repair_disk_sizes;
mod verify;
mod verify_disks;
