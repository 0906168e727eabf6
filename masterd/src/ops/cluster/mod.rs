//! Opcodes about the whole cluster.

mod destroy;
mod post_init;
mod redist_conf;
mod rename;
mod repair_disk_sizes;
mod verify;
