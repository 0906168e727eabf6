//! Requests to allocators, and their answers: Ganeti's allocator protocol.
//!
//! ```text
//!   JSON ─► read ─► Request: the cluster, what is wanted (by names) ─► answer ─► JSON, and the cluster afterwards
//! ```
//!
//! What is wanted may be asked of another cluster than the one in the request: names are looked up when it is
//! answered. Nothing here panics, whatever the text. Source: Ganeti's reference on interfaces (allocator protocol)
//! and htools (hail).

mod answer;
mod fields;
mod json;
mod opcodes;
mod read;

pub use answer::{Answer, answer};
pub use fields::Malformed;
pub use read::{cluster, read};

use crate::model::Instance;
use crate::sources::Known;
use roost_proto::choices::EvacMode;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub known: Known,
    pub wanted: Wanted,
}

/// A place for a new instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub instance: Instance,
    /// 1, or 2 for one with a secondary.
    pub nodes: usize,
    /// Name or UUID.
    pub group: Option<String>,
    /// Names.
    pub restrict_to: Option<Vec<String>>,
}

/// What is wanted. Instances, nodes and groups are named.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    Allocate(Box<Asked>),
    MultiAllocate(Vec<Asked>),
    AllocateSecondary { instance: String },
    Relocate { instance: String, nodes: i64, from: Vec<String> },
    NodeEvacuate { instances: Vec<String>, mode: EvacMode },
    ChangeGroup { instances: Vec<String>, groups: Vec<String> },
}

#[cfg(test)]
mod tests;
