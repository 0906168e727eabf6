//! The placement tools: hbal, hail, hspace, … in one program, found by name.
//!
//! ```text
//!   argv[0] or $HTOOLS, `gnt hbal …` ─► TOOLS ─► getopt (one form of words) ─► clap ─► Tool::run
//!                                                                                        │
//!            sources (I/O) ─► load (offline nodes, utilisation, selection) ─► roost_htools (pure) ─► print
//! ```
//!
//! Everything that decides is in the library `roost_htools`; here are options, files, connections and what
//! is printed. Options, output and exit codes are the reference's: 2 for a wrong command line, 1 for what
//! else goes wrong.
//!
//! To add a tool: a module with a struct that derives [`clap::Args`] and flattens what it shares with
//! others from [`options`], `impl` [`Tool`] for it, and its line in [`TOOLS`]. Words that are no options are
//! its positional arguments, if it has any. A cluster comes from [`load::load`], or, without its
//! preparations, from [`sources::load`].

pub mod execute;
pub mod getopt;
pub mod hail;
pub mod harep;
pub mod hbal;
pub mod hcheck;
pub mod help;
pub mod hinfo;
pub mod hroller;
pub mod hscan;
pub mod hspace;
pub mod hsqueeze;
pub mod load;
pub mod options;
pub mod personality;
pub mod show;
pub mod sources;
pub mod values;

pub use personality::{Entry, Tool, entry};

use crate::context::{Environment, Io};
use std::ffi::OsString;

/// All tools, in alphabetical order.
pub const TOOLS: &[Entry] = &[
    entry::<hail::Hail>(),
    entry::<harep::Harep>(),
    entry::<hbal::Hbal>(),
    entry::<hcheck::Hcheck>(),
    entry::<hinfo::Hinfo>(),
    entry::<hroller::Hroller>(),
    entry::<hscan::Hscan>(),
    entry::<hspace::Hspace>(),
    entry::<hsqueeze::Hsqueeze>(),
];

/// The program that is none of them itself.
const MULTI_CALL: &str = "htools";

/// The tool of a name.
pub fn find(name: &str) -> Option<&'static Entry> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// Which tool a program is, if it is one: by the variable `HTOOLS`, or else by its own name.
pub fn role(program: &str, environment: &Environment) -> Option<String> {
    let program = program.to_lowercase();
    if program != MULTI_CALL && find(&program).is_none() {
        return None;
    }
    Some(environment.htools.as_ref().map_or(program, |name| name.to_lowercase()))
}

/// Runs a tool; returns the exit code.
pub async fn run(name: &str, words: Vec<OsString>, environment: Environment, io: Io) -> u8 {
    match find(name) {
        Some(tool) => tool.run(words, environment, io).await,
        None => {
            io.write_err(&help::unrecognised(name, TOOLS));
            1
        }
    }
}
