//! Out-of-band helpers: programs that reach a machine past its operating system, by its management
//! board or its socket. They run on the master's node.
//!
//! ```text
//!   PROGRAM health | power-status NODE                  says JSON      a question
//!   PROGRAM power-on | power-off | power-cycle NODE     says nothing   an action
//! ```
//!
//! Exit status 0: done. Source: Ganeti's reference on interfaces, out-of-band helpers.

use crate::choices::OobAction;
use serde::{Deserialize, Serialize};

/// How many helpers that only look run at the same time.
pub const AT_ONCE: usize = 8;

/// One run of a helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OobCall {
    /// An absolute path on the master's node.
    pub program: String,
    pub command: OobAction,
    /// The name of the node it is about.
    pub node: String,
    /// Seconds until it is killed.
    pub timeout: u64,
}

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OobReply {
    /// What it wrote to its standard output.
    Said(String),
    /// Why it failed, in words.
    Failed(String),
}
