//! The store: documents in one transactional place, numbered by one serial.
//!
//! ```text
//!   batch, batch, batch ──► commit ──► durable, each with its own serial
//!                                  └─► log of the last batches, for watchers and followers
//! ```
//!
//! A document is JSON text under (space, id). The store knows nothing of what is in it. It is
//! driven by one thread (see [`crate::state`]), which hands over several batches at once: they
//! become durable together, at the price of one.
//!
//! Implementations: [`sqlite`], [`etcd`]. All pass [`conformance`]. Which one: [`settings`].

#[cfg(test)]
pub mod conformance;
pub mod etcd;
pub mod migrate;
pub mod settings;
pub mod sqlite;

use roost_proto::ids::{Epoch, Serial};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a document is about; with its id it names the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    Cluster,
    Node,
    NodeGroup,
    Instance,
    Disk,
    Network,
    Filter,
    Rule,
    /// Jobs that are not archived.
    Job,
    /// Plans of unfinished opcodes, and how far they are.
    Journal,
    /// What could not be undone or removed.
    Debris,
    /// Archived jobs: not loaded, looked up one by one.
    Archive,
    /// Single facts: the epoch, the last job's number, the drain flag.
    Meta,
}

impl Space {
    /// All of them.
    pub const ALL: [Space; 13] = [
        Space::Cluster,
        Space::Node,
        Space::NodeGroup,
        Space::Instance,
        Space::Disk,
        Space::Network,
        Space::Filter,
        Space::Rule,
        Space::Job,
        Space::Journal,
        Space::Debris,
        Space::Archive,
        Space::Meta,
    ];

    /// Its word, as stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Space::Cluster => "cluster",
            Space::Node => "node",
            Space::NodeGroup => "nodegroup",
            Space::Instance => "instance",
            Space::Disk => "disk",
            Space::Network => "network",
            Space::Filter => "filter",
            Space::Rule => "rule",
            Space::Job => "job",
            Space::Journal => "journal",
            Space::Debris => "debris",
            Space::Archive => "archive",
            Space::Meta => "meta",
        }
    }

    /// The space of a word.
    pub fn of(word: &str) -> Option<Space> {
        Space::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Part of the configuration, as opposed to jobs and notes.
    pub fn is_config(self) -> bool {
        matches!(
            self,
            Space::Cluster
                | Space::Node
                | Space::NodeGroup
                | Space::Instance
                | Space::Disk
                | Space::Network
                | Space::Filter
                | Space::Rule
        )
    }
}

/// The name of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub space: Space,
    pub id: String,
}

impl Key {
    /// Names a document.
    pub fn new(space: Space, id: impl ToString) -> Key {
        Key { space, id: id.to_string() }
    }
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub puts: Vec<(Key, String)>,
    pub deletes: Vec<Key>,
}

impl Batch {
    /// Nothing would change.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }
}

/// Where a log ends: the larger, the newer. Two logs that hold the same position agree on everything
/// before it, because a leadership (an epoch) gives each serial at most once.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    pub epoch: Epoch,
    pub serial: Serial,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "serial {} of epoch {}", self.serial, self.epoch)
    }
}

/// A batch with its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub at: Position,
    pub batch: Batch,
}

/// Everything in a store but the archive.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    pub serial: Serial,
    pub documents: Vec<(Key, String)>,
}

/// What happened since a serial.
#[derive(Clone, Debug)]
pub enum Since {
    /// These batches, oldest first.
    Tail(Vec<(Serial, Batch)>),
    /// Too long ago to tell: start from here.
    Snapshot(Contents),
}

/// Why a store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file belongs to a newer version of the program.
    #[error(
        "{path} was written by a newer version (its format is {found}, this program reads up to \
         {known}): install that version, or restore the copy made before the upgrade",
        path = path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// The file is not one of ours.
    #[error("{path} is not a Roost database", path = path.display())]
    Foreign { path: PathBuf },
    /// The file is damaged.
    #[error(
        "{path} is damaged: {detail}. Do not use it. Restore it from another master candidate, or \
         from a backup",
        path = path.display()
    )]
    Damaged { path: PathBuf, detail: String },
    /// What is to be added does not follow what is there.
    #[error("{path} ends with {have}, and {next} does not follow it", path = path.display())]
    Gap { path: PathBuf, have: Position, next: Position },
    /// There is none.
    #[error("{path} does not exist: this node holds no cluster configuration", path = path.display())]
    Missing { path: PathBuf },
    /// There is one already.
    #[error("{path} exists already", path = path.display())]
    Exists { path: PathBuf },
    /// Another masterd leads now, or nobody does.
    #[error("this masterd does not lead any more ({detail}): nothing was stored")]
    NotLeader { detail: String },
    /// It leads no more, and what became of its last commit only the next leader will see.
    #[error(
        "etcd at {endpoints} did not say in time whether it stored the change, and this masterd \
         does not lead any more: look at the cluster before trying again"
    )]
    Undecided { endpoints: String },
    /// Nobody answers.
    #[error(
        "etcd at {endpoints} does not answer ({detail}): check that most of its members run and \
         that this node reaches them"
    )]
    Unavailable { endpoints: String, detail: String },
    /// It answers that it will not.
    #[error("etcd at {endpoints} refuses: {detail}")]
    Refused { endpoints: String, detail: String },
    /// The database could not do it: disk full, no permission, …
    #[error("{path}: {detail}", path = path.display())]
    Failed { path: PathBuf, detail: String },
}

/// A place that keeps documents.
pub trait Store: Send {
    /// Everything but the archive.
    fn load(&mut self) -> Result<Contents, StoreError>;

    /// Makes the batches durable, together, as commits of the leadership `epoch`. Returns the serial
    /// of the last; the others have the ones before it, in order. On an error nothing was changed.
    fn commit(&mut self, epoch: Epoch, batches: &[Batch]) -> Result<Serial, StoreError>;

    /// What happened after `serial`.
    fn since(&mut self, serial: Serial) -> Result<Since, StoreError>;

    /// One document.
    fn get(&mut self, key: &Key) -> Result<Option<String>, StoreError>;

    /// The largest id of a space.
    fn last_id(&mut self, space: Space) -> Result<Option<String>, StoreError>;

    /// All documents of a space, in the order of their ids.
    fn scan(&mut self, space: Space) -> Result<Vec<(String, String)>, StoreError>;

    /// Its log, if others are to keep copies of it. A store that is shared has none.
    fn log(&mut self) -> Option<&mut dyn Log> {
        None
    }
}

/// The log of a store that is copied to other machines.
pub trait Log {
    /// Where it ends.
    fn position(&mut self) -> Result<Position, StoreError>;

    /// The epoch of the commit with this serial; `None` if the log does not reach back to it, or
    /// not yet.
    fn epoch_of(&mut self, serial: Serial) -> Result<Option<Epoch>, StoreError>;

    /// The commits after `serial`, oldest first, about `limit` bytes of them but at least one if
    /// there is one. `None`: the log does not reach back that far.
    fn entries(&mut self, serial: Serial, limit: usize) -> Result<Option<Vec<Entry>>, StoreError>;

    /// Makes commits of another machine durable here, together. They must follow the log's end
    /// without a gap.
    fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError>;

    /// What [`Log::copy_to`] needs, from a thread of its own while commits go on.
    fn file(&self) -> PathBuf;
}
