//! Opcodes about instances.

mod check;
mod console;
mod create;
mod devices;
mod disks;
mod failover;
mod migrate;
mod move_disks;
mod query_data;
mod reboot;
mod reinstall;
mod relocate;
mod remove;
mod rename;
mod set_devices;
mod set_params;
mod shutdown;
mod startup;
