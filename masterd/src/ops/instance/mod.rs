//! Opcodes about instances.

mod check;
mod create;
mod devices;
mod shutdown;
mod startup;
