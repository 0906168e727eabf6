//! Opcodes about the whole cluster.

mod destroy;
mod modify;
mod post_init;
mod redist_conf;
mod rename;
mod repair_disk_sizes;
mod verify;
