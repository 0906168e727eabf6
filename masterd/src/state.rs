//! The one writer.
//!
//! ```text
//!   commit(changes, documents) ─┐
//!   commit(…)                   ├─► one thread: apply to the newest snapshot, ─► publish, answer
//!   commit(…)                  ─┘   make durable together (one fsync)
//! ```
//!
//! What waits while a group is written forms the next group, so the price of durability is shared
//! by all who pay it at the same time. A list of changes that does not fit is refused alone; when
//! the store fails, the whole group is refused and the snapshot stays what it was.

use crate::clock;
use crate::config::{Change, Config, LoadError, Rejected};
use crate::store::{Batch, Key, Since, Space, Store, StoreError};
use roost_proto::error::{Error, ErrorType};
use roost_proto::ids::Serial;
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use tokio::sync::{oneshot, watch};

/// What is to happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Changes of the configuration.
    pub changes: Vec<Change>,
    /// Other documents: jobs, journal, notes.
    pub puts: Vec<(Key, String)>,
    pub deletes: Vec<Key>,
}

/// Why a commit did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// It contradicts the configuration.
    #[error("{0}")]
    Rejected(#[from] Rejected),
    /// It could not be made durable.
    #[error("the change could not be stored: {0}")]
    Store(String),
    /// The daemon is stopping.
    #[error("masterd is stopping")]
    Stopped,
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Error {
        match &error {
            CommitError::Rejected(Rejected::Stale(_)) => Error::prereq(
                ErrorType::WrongState,
                format!("{error} while this was being prepared, please retry"),
            ),
            CommitError::Rejected(Rejected::NameTaken(_) | Rejected::Exists(_)) => {
                Error::exists(error.to_string())
            }
            CommitError::Rejected(_) => Error::wrong_state(error.to_string()),
            CommitError::Store(_) | CommitError::Stopped => Error::environment(error.to_string()),
        }
    }
}

enum Request {
    Commit(Commit, oneshot::Sender<Result<Serial, CommitError>>),
    Since(Serial, oneshot::Sender<Result<Since, StoreError>>),
    Get(Key, oneshot::Sender<Result<Option<String>, StoreError>>),
    LastId(Space, oneshot::Sender<Result<Option<String>, StoreError>>),
    Scan(Space, oneshot::Sender<Result<Vec<(String, String)>, StoreError>>),
}

/// How to reach the writer and the newest snapshot. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    requests: mpsc::Sender<Request>,
    newest: Arc<RwLock<Arc<Config>>>,
    serial: watch::Receiver<Serial>,
}

impl State {
    /// Loads the configuration and starts the writer. Also returns all other documents.
    pub fn start(mut store: Box<dyn Store>) -> Result<(State, Vec<(Key, String)>), StartError> {
        let contents = store.load()?;
        let config = Arc::new(Config::load(&contents)?);
        let rest = contents.documents.into_iter().filter(|(key, _)| !key.space.is_config());
        let rest = rest.collect();
        let newest = Arc::new(RwLock::new(config.clone()));
        let (requests, inbox) = mpsc::channel();
        let (announce, serial) = watch::channel(config.serial);
        let writer = Writer { store, config, newest: newest.clone(), announce };
        std::thread::Builder::new()
            .name("state".into())
            .spawn(move || writer.run(&inbox))
            .map_err(StartError::Thread)?;
        Ok((State { requests, newest, serial }, rest))
    }

    /// The newest snapshot.
    pub fn config(&self) -> Arc<Config> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes with every commit.
    pub fn serial(&self) -> watch::Receiver<Serial> {
        self.serial.clone()
    }

    /// Makes it durable, then visible, then returns.
    pub async fn commit(&self, commit: Commit) -> Result<Serial, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Commit(commit, reply)).map_err(|_| CommitError::Stopped)?;
        answer.await.map_err(|_| CommitError::Stopped)?
    }

    /// What was committed after a serial.
    pub async fn since(&self, serial: Serial) -> Result<Since, Error> {
        self.ask(|reply| Request::Since(serial, reply)).await
    }

    /// A document that is not part of the configuration.
    pub async fn get(&self, key: Key) -> Result<Option<String>, Error> {
        self.ask(|reply| Request::Get(key, reply)).await
    }

    /// The largest id of a space.
    pub async fn last_id(&self, space: Space) -> Result<Option<String>, Error> {
        self.ask(|reply| Request::LastId(space, reply)).await
    }

    /// All documents of a space.
    pub async fn scan(&self, space: Space) -> Result<Vec<(String, String)>, Error> {
        self.ask(|reply| Request::Scan(space, reply)).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, Error> {
        let stopped = || Error::environment("masterd is stopping");
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?.map_err(|e| Error::environment(e.to_string()))
    }
}

/// Why there is no state to work with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("no thread for the store: {0}")]
    Thread(std::io::Error),
}

struct Writer {
    store: Box<dyn Store>,
    config: Arc<Config>,
    newest: Arc<RwLock<Arc<Config>>>,
    announce: watch::Sender<Serial>,
}

impl Writer {
    /// Works until all handles are gone.
    fn run(mut self, inbox: &mpsc::Receiver<Request>) {
        while let Ok(first) = inbox.recv() {
            let mut group = Vec::new();
            for request in std::iter::once(first).chain(inbox.try_iter()) {
                match request {
                    Request::Commit(commit, reply) => group.push((commit, reply)),
                    read => {
                        // Whoever reads after a commit must see it.
                        self.write(std::mem::take(&mut group));
                        self.read(read);
                    }
                }
            }
            self.write(group);
        }
    }

    fn read(&mut self, request: Request) {
        // A reader that is gone needs no answer.
        match request {
            Request::Since(serial, reply) => {
                reply.send(self.store.since(serial)).ok();
            }
            Request::Get(key, reply) => {
                reply.send(self.store.get(&key)).ok();
            }
            Request::LastId(space, reply) => {
                reply.send(self.store.last_id(space)).ok();
            }
            Request::Scan(space, reply) => {
                reply.send(self.store.scan(space)).ok();
            }
            Request::Commit(..) => {}
        }
    }

    fn write(&mut self, group: Vec<(Commit, oneshot::Sender<Result<Serial, CommitError>>)>) {
        let now = clock::seconds();
        let mut tip = self.config.clone();
        let mut batches = Vec::with_capacity(group.len());
        let mut accepted = Vec::with_capacity(group.len());
        for (commit, reply) in group {
            match prepare(&tip, commit, now) {
                Ok((next, batch)) => {
                    if let Some(next) = next {
                        tip = Arc::new(next);
                    }
                    batches.push(batch);
                    accepted.push(reply);
                }
                Err(rejected) => {
                    reply.send(Err(rejected.into())).ok();
                }
            }
        }
        if batches.is_empty() {
            return;
        }
        match self.store.commit(roost_proto::ids::Epoch(0), &batches) {
            Ok(last) => {
                let mut config = (*tip).clone();
                config.serial = last;
                self.config = Arc::new(config);
                *self.newest.write().unwrap_or_else(PoisonError::into_inner) = self.config.clone();
                self.announce.send_replace(last);
                let first = last.0 + 1 - batches.len() as u64;
                for (i, reply) in accepted.into_iter().enumerate() {
                    reply.send(Ok(Serial(first + i as u64))).ok();
                }
            }
            Err(error) => {
                tracing::error!(%error, "nothing can be stored");
                for reply in accepted {
                    reply.send(Err(CommitError::Store(error.to_string()))).ok();
                }
            }
        }
    }
}

fn prepare(config: &Config, commit: Commit, now: f64) -> Result<(Option<Config>, Batch), Rejected> {
    if commit.changes.is_empty() {
        return Ok((None, Batch { puts: commit.puts, deletes: commit.deletes }));
    }
    let (next, written) = config.apply(&commit.changes, now)?;
    let mut batch = Batch { puts: written.puts, deletes: written.deletes };
    batch.puts.extend(commit.puts);
    batch.deletes.extend(commit.deletes);
    Ok((Some(next), batch))
}
