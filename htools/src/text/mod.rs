//! Ganeti's text format for clusters: what `-t` reads and `-S` writes.
//!
//! ```text
//!   groups     name|uuid|alloc policy|tags|networks
//!                                                      one empty line between sections
//!   nodes      name|total mem|node mem|free mem|total disk|free disk|cpus|Y, M or N|group uuid|spindles|tags|
//!              exclusive storage|free spindles|node cpus|cpu speed
//!
//!   instances  name|mem|disk|vcpus|status|auto balance|primary|secondary|template|tags|spindle use|spindles|forthcoming
//!
//!   cluster tags, one a line
//!
//!   policies   group (or nothing)|standard|min;max;…|templates|vcpu ratio|spindle ratio
//! ```
//!
//! Memory and disk in MiB. Source: Ganeti's reference on htools, text format.

mod read;
mod write;

pub use read::read;
pub use write::write;

use std::fmt;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// From 1; 0: the file as a whole.
    pub line: usize,
    /// The field, if it is one.
    pub field: &'static str,
    pub message: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Malformed {}
