//! The configuration as masterd publishes it on every master candidate: the file `config.data`, and a feed of its
//! changes on a unix socket. Objects are in Ganeti's format, strictly: no key that Ganeti does not know.
//!
//! ```text
//!   reader   {"from": serial, "epoch": e}                once; 0: everything
//!   masterd  {"begin": {"serial": n, "snapshot": true, "epoch": e}}
//!                                                        an update: a snapshot replaces all, otherwise changes
//!            {"put": {"space": "node", "id": …, "body": {…}}} …
//!            {"delete": {"space": "node", "id": …}} …
//!            {"end": n}                                  now it counts, all of it
//! ```
//!
//! One JSON value a line, of at most [`LINE_LIMIT`] bytes. The first update comes at once, also if it is empty.
//! Deleting what is not there changes nothing. An update without its end is dropped. The published cluster's `serial_no` is that of
//! the commit it was last published with, so that of two master candidates the higher one is the newer.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Longest line, bytes. No object comes near.
pub const LINE_LIMIT: usize = 16 << 20;

/// What the reader sends after it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The serial it has; 0: nothing.
    pub from: u64,
    /// The epoch that came with it. None: it has it from the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// A line of the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    Begin(Begin),
    Put(Put),
    Delete(Delete),
    /// The serial that the reader has now.
    End(u64),
}

/// An update begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub serial: u64,
    /// Forget what was there before.
    pub snapshot: bool,
    /// The leadership that gave the serial, where the state is kept in copies: the same serial of another is
    /// not the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// An object is now like this.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Put {
    pub space: Space,
    /// UUID; for the cluster and the top level, empty.
    pub id: String,
    pub body: Box<RawValue>,
}

/// An object is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    pub space: Space,
    pub id: String,
}

/// Kinds of objects; the maps of `config.data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// What is beside the maps: `version`, `ctime`, `mtime`, `serial_no`.
    Top,
    Cluster,
    Node,
    NodeGroup,
    Instance,
    Disk,
    Network,
    Filter,
}
