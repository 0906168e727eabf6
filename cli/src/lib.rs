//! The command line of Roost: one program that is `gnt-cluster`, `gnt-node`, `gnt-instance`, … by
//! the name it is called with, or `gnt cluster`, `gnt node`, … by its first word.
//!
//! ```text
//! argv ──tool──► family and verb ──clap──► commands/<family>/<verb>.rs ──opcode──► submit ─┐
//!                                                   │ query                                │
//!                                                   ▼                                      ▼
//!                         table, info_dump ◄──── client (gRPC over masterd's socket) ◄── job_follow
//! ```
//!
//! The placement tools are in the same program: `htools`, see there.
//!
//! A command only describes a job or a query; it never touches the cluster itself. Names, options,
//! output and exit codes are Ganeti's.

pub mod client;
pub mod clock;
pub mod command_log;
pub mod commands;
pub mod confirm;
pub mod context;
pub mod docs;
pub mod exec;
pub mod failure;
pub mod htools;
pub mod info_dump;
pub mod interrupt;
pub mod job_follow;
pub mod jobs;
pub mod options;
pub mod ping;
pub mod replication;
pub mod resolve;
pub mod selection;
pub mod submit;
pub mod table;
pub mod tool;
pub mod values;
pub mod verb;
pub mod whole_file;

#[cfg(test)]
mod testing;

use context::{Environment, Io};
use std::ffi::OsString;
use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let environment = Environment::from_process();
    interrupt::watch();
    ExitCode::from(tool::run(words, environment, Io::standard()))
}
