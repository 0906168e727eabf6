//! OS definitions: Ganeti's scripts that put an operating system on disks.
//!
//! An OS is a directory on every node; see `definition` for what it must have. Scripts get what
//! they need to know in their environment, and nothing else.

mod definition;
mod environment;
mod run;
mod transfer;

pub use definition::{Definition, list};
pub use run::{Run, run, validate};
pub use transfer::{Transfer, check_export, export, import};
