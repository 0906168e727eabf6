//! The store in an etcd cluster, and leadership by its leases.
//!
//! ```text
//!   settings ──► Etcd (connection) ──► Campaign ──win──► Leadership ──guard──► EtcdStore ──► State
//!                     │                                     │ lost: stop leading at once
//!                     └──► EtcdStore without a guard: reads only (followers)
//! ```
//!
//! The same documents as in the embedded store, under [`keys`]; what the values hold is in
//! [`head`]. A commit is one transaction that etcd carries out only for the current leader
//! ([`commit`]); it costs the same however large the cluster is. Reading is at one revision
//! ([`read`]).
//!
//! # How it is meant to be used
//!
//! ```text
//! let StoreSettings::Etcd(settings) = settings::load(paths)? else { … };
//! let etcd = Etcd::new(&settings)?;
//! let campaign = Campaign::new(etcd.clone(), cluster, Candidate { node, name }, settings.ttl);
//! let leadership = campaign.win().await?;                  // follows until it may lead
//! let mut store = EtcdStore::new(Handle::current(), etcd, cluster);
//! store.lead(leadership.guard());
//! let (state, documents) = spawn_blocking(|| State::start(Box::new(store))).await?;
//! let epoch = role::begin_epoch(&state).await?;            // +1, fences off whoever led before
//! leadership.announce(epoch).await?;
//! select! {
//!     () = leadership.lost().cancelled() => …              // drop the master IP, leave everything,
//!     …                                                    // begin anew as a follower
//! }
//! leadership.resign().await;                               // at the end: another takes over at once
//! ```
//!
//! - Its methods block on the runtime of the handle: call them from a thread of their own (the
//!   writer's, or `spawn_blocking`), never from a task.
//! - [`Leadership::lost`] fires at two thirds of the lease's time without a sign of life, so that
//!   nobody else can lead before a third of it has passed. It also fires when a commit finds that
//!   somebody else leads.
//! - After [`StoreError::NotLeader`] or [`StoreError::Undecided`] this store commits nothing any
//!   more. What `Undecided` left open, the next leader sees when it loads.
//! - Followers poll `since`, or wait with [`follow`] for the head to change.

mod commit;
#[cfg(test)]
mod commit_tests;
mod connection;
mod follow;
mod head;
mod health;
mod keys;
mod lease;
#[cfg(test)]
mod lease_tests;
pub mod offline;
mod read;
#[allow(missing_docs, reason = "generated")]
mod rpc;
mod succession;
#[cfg(test)]
pub(crate) mod testing;

pub use connection::Etcd;
pub use follow::follow;
pub use health::{Member, complaint};
pub use lease::{Campaign, Candidate, Guard, Leader, Leadership};
pub use succession::Succession;

use super::{Batch, Contents, Key, Since, Space, Store, StoreError};
use head::Head;
use keys::Keys;
use read::Reader;
use roost_proto::ids::{ClusterId, Epoch, Serial};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Serials kept for watchers and followers that fell behind.
const TAIL: u64 = 10_000;
/// Revisions are kept at least this long, for readers that are at work.
const COMPACT_EVERY: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug)]
pub struct EtcdStore {
    handle: Handle,
    reader: Reader,
    guard: Option<Guard>,
    /// As last seen or written; only the leader's stays true.
    head: Option<Head>,
    /// When the head was written; 0: there is none.
    written: i64,
    /// The newest revision seen.
    revision: i64,
    /// Documents that have pieces.
    in_pieces: Option<BTreeSet<Vec<u8>>>,
    /// Counts large commits.
    attempts: u64,
    /// What became of the last commit is not known.
    undecided: bool,
    tail: u64,
    #[cfg(test)]
    interrupt_folding: bool,
    compaction: Option<(Instant, i64)>,
}

impl EtcdStore {
    /// The store of a cluster, for reading. Asks nothing yet.
    pub fn new(handle: Handle, etcd: Etcd, cluster: ClusterId) -> EtcdStore {
        EtcdStore {
            handle,
            reader: Reader { etcd, keys: Keys::new(cluster) },
            guard: None,
            head: None,
            written: 0,
            revision: 0,
            in_pieces: None,
            attempts: 0,
            undecided: false,
            tail: TAIL,
            #[cfg(test)]
            interrupt_folding: false,
            compaction: None,
        }
    }

    /// Allows commits, as long as this leadership lasts.
    pub fn lead(&mut self, guard: Guard) {
        self.guard = Some(guard);
        self.head = None;
    }

    /// Lets the store remove old revisions of the whole etcd cluster while it commits.
    pub fn compact(&mut self) {
        self.compaction = Some((Instant::now(), 0));
    }

    /// Makes an empty store. Needs a leadership. Errors: [`StoreError::Exists`].
    pub fn create(&mut self) -> Result<(), StoreError> {
        let handle = self.handle.clone();
        handle.block_on(self.create_head())
    }

    /// Makes a store with these documents, those of the archive too, at this serial. It is there
    /// when all is in it; an attempt that failed can be repeated. Needs a leadership.
    pub fn import(
        &mut self,
        serial: Serial,
        epoch: Epoch,
        documents: &mut dyn Iterator<Item = Result<(Key, String), StoreError>>,
    ) -> Result<(), StoreError> {
        let handle = self.handle.clone();
        handle.block_on(self.fill(serial, epoch, documents))
    }

    /// Is there a cluster in it?
    pub fn exists(&mut self) -> Result<bool, StoreError> {
        let handle = self.handle.clone();
        Ok(handle.block_on(self.reader.head())?.is_some())
    }

    /// Has the cluster that was in it moved to another store?
    pub fn is_retired(&mut self) -> Result<bool, StoreError> {
        let handle = self.handle.clone();
        handle.block_on(self.reader.is_retired())
    }

    /// Epoch and serial of the last commit.
    pub fn position(&mut self) -> Result<super::Position, StoreError> {
        let handle = self.handle.clone();
        let head = handle.block_on(self.reader.existing())?.head;
        Ok(super::Position { epoch: head.epoch, serial: head.serial })
    }

    /// Leaves the documents where they are, but so that there is no cluster in them any more. Needs
    /// a leadership.
    pub fn retire(&mut self) -> Result<(), StoreError> {
        let handle = self.handle.clone();
        handle.block_on(self.retire_head())
    }

    /// Removes the cluster's keys, but the leader's. Needs a leadership.
    pub fn destroy(&mut self) -> Result<(), StoreError> {
        let handle = self.handle.clone();
        handle.block_on(self.remove_all())
    }

    fn compact_sometimes(&mut self) {
        let Some((last, revision)) = self.compaction else { return };
        if last.elapsed() < COMPACT_EVERY {
            return;
        }
        self.compaction = Some((Instant::now(), self.revision));
        if revision == 0 {
            return;
        }
        let etcd = self.reader.etcd.clone();
        self.handle.spawn(async move {
            // Somebody else may have done it already.
            if let Err(failure) = etcd.compact(revision).await {
                tracing::debug!(?failure, revision, "old revisions were not removed");
            }
        });
    }
}

impl Store for EtcdStore {
    fn load(&mut self) -> Result<Contents, StoreError> {
        let handle = self.handle.clone();
        let (found, contents) = handle.block_on(self.reader.contents())?;
        self.head = Some(found.head);
        (self.written, self.revision) = (found.written, found.revision);
        Ok(contents)
    }

    fn commit(&mut self, epoch: Epoch, batches: &[Batch]) -> Result<Serial, StoreError> {
        let handle = self.handle.clone();
        handle.block_on(self.commit_batches(epoch, batches))
    }

    fn since(&mut self, serial: Serial) -> Result<Since, StoreError> {
        self.handle.clone().block_on(self.reader.since(serial))
    }

    fn get(&mut self, key: &Key) -> Result<Option<String>, StoreError> {
        self.handle.clone().block_on(self.reader.get(key))
    }

    fn last_id(&mut self, space: Space) -> Result<Option<String>, StoreError> {
        self.handle.clone().block_on(self.reader.last_id(space))
    }

    fn scan(&mut self, space: Space) -> Result<Vec<(String, String)>, StoreError> {
        self.handle.clone().block_on(self.reader.scan(space))
    }
}
