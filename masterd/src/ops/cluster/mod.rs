//! Opcodes about the whole cluster.

mod activate_master_ip;
mod deactivate_master_ip;
mod destroy;
mod master_ip;
mod modify;
mod post_init;
mod query;
mod redist_conf;
mod rename;
mod renew_crypto;
mod repair_disk_sizes;
mod set_balancer;
mod verify;
mod verify_disks;
