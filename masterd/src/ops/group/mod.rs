//! Opcodes about node groups.

mod add;
mod assign_nodes;
mod evacuate;
mod remove;
mod rename;
mod set_params;
mod settings;
mod verify_disks;
