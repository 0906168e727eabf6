//! The configuration as masterd publishes it on every master candidate: the file `config.data`, and a feed of its
//! changes on a unix socket. Objects are in Ganeti's format, strictly: no key that Ganeti does not know.
//!
//! ```text
//!   reader   {"from": serial}                            once; 0: everything
//!   masterd  {"begin": {"serial": n, "snapshot": true}}  an update: a snapshot replaces all, otherwise changes
//!            {"put": {"space": "node", "id": …, "body": {…}}} …
//!            {"delete": {"space": "node", "id": …}} …
//!            {"end": n}                                  now it counts, all of it
//! ```
//!
//! One JSON value a line. An update without its end is dropped. The published cluster's `serial_no` is that of
//! the commit it was last published with, so that of two master candidates the higher one is the newer.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the reader sends after it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The serial it has; 0: nothing.
    pub from: u64,
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
