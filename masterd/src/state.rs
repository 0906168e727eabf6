//! The one writer.
//!
//! ```text
//!   commit(changes, documents) ─┐
//!   commit(…)                   ├─► one thread: apply to the newest, make durable   ─► counts? ─► publish,
//!   commit(…)                  ─┘   together (one fsync)                              (Quorum)     answer
//! ```
//!
//! What waits while a group is written forms the next group, so the price of durability is shared
//! by all who pay it at the same time. A list of changes that does not fit is refused alone; when
//! the store fails, the whole group is refused and the snapshot stays what it was.
//!
//! A change is visible and acknowledged only when it *counts*: when as many copies hold it as the
//! [`Quorum`] of this leadership wants. Until then it is written but pending, and further groups are
//! written behind it. A state that does not lead takes the commits of another masterd instead.

use crate::clock;
use crate::config::{Change, Config, LoadError, Rejected};
use crate::failpoint::{self, Place};
use crate::replication::Voters;
use crate::store::{Batch, Contents, Entry, Key, Position, Since, Space, Store, StoreError};
use roost_proto::error::{Error, ErrorType};
use roost_proto::ids::{Epoch, Serial};
use std::collections::VecDeque;
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

/// Who must hold a change before it counts.
pub trait Quorum: Send + Sync {
    /// Whether to write at all now; asked again whenever [`State::counts`] is called.
    fn may_write(&self) -> bool;

    /// These are durable here; `voters` have a say from now on, and `tip` is the configuration.
    /// Returns the last serial that counts; later ones are told by [`State::counts`].
    fn wrote(&self, entries: Vec<Entry>, voters: &Voters, tip: &Arc<Config>) -> Serial;
}

/// Nobody else: what is durable here counts.
#[derive(Debug)]
pub struct NobodyElse;

impl Quorum for NobodyElse {
    fn may_write(&self) -> bool {
        true
    }

    fn wrote(&self, entries: Vec<Entry>, _: &Voters, _: &Arc<Config>) -> Serial {
        entries.last().map_or(Serial(0), |entry| entry.at.serial)
    }
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
    /// Another masterd leads.
    #[error("this masterd does not lead")]
    NotLeading,
    /// The daemon is stopping, or was deposed: whether the change counts will be known to whoever
    /// leads next.
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
            CommitError::Store(_) | CommitError::NotLeading | CommitError::Stopped => {
                Error::environment(error.to_string())
            }
        }
    }
}

type Reply<T> = oneshot::Sender<T>;
type CommitReply = Reply<Result<Serial, CommitError>>;

enum Request {
    Commit(Commit, CommitReply),
    Counts(Serial),
    Lead(Epoch, Arc<dyn Quorum>, Reply<Result<Vec<(Key, String)>, StoreError>>),
    Append(Vec<Entry>, Serial, Reply<Result<Position, AppendError>>),
    End(Reply<Result<(Position, Voters), StoreError>>),
    Refresh(Reply<Result<(), AppendError>>),
    Written(Reply<Result<Arc<Config>, StoreError>>),
    Entries(Serial, usize, Reply<Result<Option<Vec<Entry>>, StoreError>>),
    EpochOf(Serial, Reply<Result<Option<Epoch>, StoreError>>),
    Since(Serial, Reply<Result<Since, StoreError>>),
    Get(Key, Reply<Result<Option<String>, StoreError>>),
    LastId(Space, Reply<Result<Option<String>, StoreError>>),
    Scan(Space, Reply<Result<Vec<(String, String)>, StoreError>>),
}

/// Why commits of the leader were not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a commit of the leader does not fit: {0}")]
    Load(#[from] LoadError),
    #[error("this masterd leads itself")]
    Leading,
    #[error("the store is shared, there are no copies of it")]
    Shared,
}

/// How to reach the writer and the newest snapshot. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    requests: mpsc::Sender<Request>,
    newest: Arc<RwLock<Arc<Config>>>,
    serial: watch::Receiver<Serial>,
}

impl State {
    /// Loads the configuration and starts the writer: it takes another masterd's commits until
    /// [`State::lead`].
    pub fn open(store: Box<dyn Store>) -> Result<State, StartError> {
        Ok(Self::load(store, None)?.0)
    }

    /// Loads the configuration and starts the writer, for a store nobody else has a copy of. Also
    /// returns all other documents.
    pub fn start(store: Box<dyn Store>) -> Result<(State, Vec<(Key, String)>), StartError> {
        let leading = Leading { epoch: Epoch(0), quorum: Arc::new(NobodyElse) };
        let (state, contents) = Self::load(store, Some(leading))?;
        Ok((state, other_documents(contents)))
    }

    fn load(
        mut store: Box<dyn Store>,
        leading: Option<Leading>,
    ) -> Result<(State, Contents), StartError> {
        let contents = store.load()?;
        let config = Arc::new(Config::load(&contents)?);
        let voters = voters(&contents, &config)?;
        let newest = Arc::new(RwLock::new(config.clone()));
        let (requests, inbox) = mpsc::channel();
        let (announce, serial) = watch::channel(config.serial);
        let writer = Writer {
            store,
            leading,
            config,
            voters,
            is_first: true,
            pending: VecDeque::new(),
            held: VecDeque::new(),
            newest: newest.clone(),
            announce,
        };
        std::thread::Builder::new()
            .name("state".into())
            .spawn(move || writer.run(&inbox))
            .map_err(StartError::Thread)?;
        Ok((State { requests, newest, serial }, contents))
    }

    /// The newest snapshot that counts.
    pub fn config(&self) -> Arc<Config> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes with every commit that counts.
    pub fn serial(&self) -> watch::Receiver<Serial> {
        self.serial.clone()
    }

    /// Makes it durable, waits until it counts, then visible, then returns.
    pub async fn commit(&self, commit: Commit) -> Result<Serial, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Commit(commit, reply)).map_err(|_| CommitError::Stopped)?;
        answer.await.map_err(|_| CommitError::Stopped)?
    }

    /// From now on commits are made here, in this epoch. Returns all documents but the
    /// configuration.
    pub async fn lead(
        &self,
        epoch: Epoch,
        quorum: Arc<dyn Quorum>,
    ) -> Result<Vec<(Key, String)>, Error> {
        self.ask(|reply| Request::Lead(epoch, quorum, reply)).await
    }

    /// Everything up to here counts, or the quorum may allow writing again.
    pub fn counts(&self, serial: Serial) {
        // Without a writer nobody waits.
        self.requests.send(Request::Counts(serial)).ok();
    }

    /// Takes commits of the leader; everything up to `counts` counts. Returns where the log ends.
    pub async fn append(&self, entries: Vec<Entry>, counts: Serial) -> Result<Position, Error> {
        self.ask(|reply| Request::Append(entries, counts, reply)).await
    }

    /// Where the log ends, counted or not, and who has a say about it.
    pub async fn end(&self) -> Result<(Position, Voters), Error> {
        self.ask(Request::End).await
    }

    /// Takes what others committed to a store that is shared.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.ask(Request::Refresh).await
    }

    /// The newest configuration that is written, counted or not.
    pub async fn config_written(&self) -> Result<Arc<Config>, Error> {
        self.ask(Request::Written).await
    }

    /// Commits after a serial, see [`crate::store::Log::entries`].
    pub async fn entries(&self, after: Serial, limit: usize) -> Result<Option<Vec<Entry>>, Error> {
        self.ask(|reply| Request::Entries(after, limit, reply)).await
    }

    /// The epoch of a commit, see [`crate::store::Log::epoch_of`].
    pub async fn epoch_of(&self, serial: Serial) -> Result<Option<Epoch>, Error> {
        self.ask(|reply| Request::EpochOf(serial, reply)).await
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

    async fn ask<T, E: std::fmt::Display>(
        &self,
        request: impl FnOnce(Reply<Result<T, E>>) -> Request,
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

fn other_documents(contents: Contents) -> Vec<(Key, String)> {
    contents.documents.into_iter().filter(|(key, _)| !key.space.is_config()).collect()
}

/// Who has a say, as the log tells. Before it ever told, nobody had a copy but the master: the first
/// commit of a leadership gives the other candidates their say.
fn voters(contents: &Contents, config: &Config) -> Result<Voters, LoadError> {
    let stored = contents.documents.iter().find(|(key, _)| *key == Voters::key());
    match stored {
        Some((_, body)) => read_voters(body),
        None => Ok(Voters::one([config.master()].into())),
    }
}

/// Who has a say is never guessed: a document that cannot be read is an error.
fn read_voters(body: &str) -> Result<Voters, LoadError> {
    serde_json::from_str(body)
        .map_err(|e| LoadError::Unreadable { key: Voters::key(), detail: e.to_string() })
}

struct Leading {
    epoch: Epoch,
    quorum: Arc<dyn Quorum>,
}

/// Written, and not known to count.
struct Pending {
    end: Serial,
    config: Arc<Config>,
    replies: Vec<(Serial, CommitReply)>,
}

struct Writer {
    store: Box<dyn Store>,
    leading: Option<Leading>,
    /// The newest that is written.
    config: Arc<Config>,
    voters: Voters,
    /// Nothing was written in this leadership yet.
    is_first: bool,
    pending: VecDeque<Pending>,
    /// Commits that came while nothing may be written.
    held: VecDeque<(Commit, CommitReply)>,
    newest: Arc<RwLock<Arc<Config>>>,
    announce: watch::Sender<Serial>,
}

impl Writer {
    /// Works until all handles are gone.
    fn run(mut self, inbox: &mpsc::Receiver<Request>) {
        while let Ok(first) = inbox.recv() {
            for request in std::iter::once(first).chain(inbox.try_iter()) {
                match request {
                    Request::Commit(commit, reply) => self.held.push_back((commit, reply)),
                    Request::Counts(serial) => self.publish(serial),
                    other => {
                        // Whoever reads after a commit must see it.
                        self.write_held();
                        self.answer(other);
                    }
                }
            }
            self.write_held();
        }
    }

    fn answer(&mut self, request: Request) {
        // A reader that is gone needs no answer.
        match request {
            Request::Lead(epoch, quorum, reply) => {
                self.leading = Some(Leading { epoch, quorum });
                self.is_first = true;
                reply.send(self.store.load().map(other_documents)).ok();
            }
            Request::Append(entries, counts, reply) => {
                reply.send(self.append(&entries, counts)).ok();
            }
            Request::End(reply) => {
                let end = match self.store.log() {
                    Some(log) => log.position(),
                    None => Ok(Position { epoch: Epoch(0), serial: self.config.serial }),
                };
                reply.send(end.map(|end| (end, self.voters.clone()))).ok();
            }
            Request::Refresh(reply) => {
                reply.send(self.refresh()).ok();
            }
            Request::Written(reply) => {
                reply.send(Ok(self.config.clone())).ok();
            }
            Request::Entries(after, limit, reply) => {
                let entries = self.store.log().map(|log| log.entries(after, limit));
                reply.send(entries.unwrap_or(Ok(None))).ok();
            }
            Request::EpochOf(serial, reply) => {
                let epoch = self.store.log().map(|log| log.epoch_of(serial));
                reply.send(epoch.unwrap_or(Ok(None))).ok();
            }
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
            Request::Commit(..) | Request::Counts(..) => {}
        }
    }

    /// Writes what waits, if there may be writing.
    fn write_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let Some(leading) = &self.leading else {
            for (_, reply) in self.held.drain(..) {
                reply.send(Err(CommitError::NotLeading)).ok();
            }
            return;
        };
        if leading.quorum.may_write() {
            let group = std::mem::take(&mut self.held);
            self.write(group);
        }
    }

    fn write(&mut self, group: VecDeque<(Commit, CommitReply)>) {
        let now = clock::seconds();
        let mut tip = self.config.clone();
        let mut batches = Vec::with_capacity(group.len());
        let mut accepted = Vec::with_capacity(group.len());
        // How many commits there are up to the last one that changes the configuration.
        let mut changes = 0;
        for (commit, reply) in group {
            match prepare(&tip, commit, now) {
                Ok((next, batch)) => {
                    batches.push(batch);
                    if let Some(next) = next {
                        tip = Arc::new(next);
                        changes = batches.len() as u64;
                    }
                    accepted.push(reply);
                }
                Err(rejected) => {
                    reply.send(Err(rejected.into())).ok();
                }
            }
        }
        if !batches.is_empty() {
            self.store(tip, changes, batches, accepted);
        }
    }

    /// Makes a group durable and hands it to the quorum.
    fn store(
        &mut self,
        tip: Arc<Config>,
        changes: u64,
        mut batches: Vec<Batch>,
        accepted: Vec<CommitReply>,
    ) {
        let Some(leading) = &self.leading else { return };
        let mut voters = self.voters.clone();
        if (!Arc::ptr_eq(&tip, &self.config) || self.is_first)
            && let Some(changed) = voters.changed_to(Voters::wanted(&tip))
        {
            voters = changed;
        }
        if voters != self.voters
            && let Some(last) = batches.last_mut()
        {
            last.puts.push((Voters::key(), document(&voters)));
        }
        let last = match self.store.commit(leading.epoch, &batches) {
            Ok(last) => last,
            Err(error) => {
                tracing::error!(%error, "nothing can be stored");
                let over =
                    matches!(error, StoreError::NotLeader { .. } | StoreError::Undecided { .. });
                for reply in accepted {
                    let why = match over {
                        // Another leads or will, and it goes on with what there is.
                        true => CommitError::Stopped,
                        false => CommitError::Store(error.to_string()),
                    };
                    reply.send(Err(why)).ok();
                }
                return;
            }
        };
        failpoint::hit(Place::CommitStored);
        let mut config = (*tip).clone();
        config.serial = last;
        let first = last.0 + 1 - batches.len() as u64;
        if changes > 0 {
            config.changed = Serial(first + changes - 1);
        }
        self.config = Arc::new(config);
        self.voters = voters;
        self.is_first = false;
        let replies = (first..).map(Serial).zip(accepted).collect();
        self.pending.push_back(Pending { end: last, config: self.config.clone(), replies });
        let entries = (first..).zip(batches).map(|(serial, batch)| Entry {
            at: Position { epoch: leading.epoch, serial: Serial(serial) },
            batch,
        });
        let counts = leading.quorum.wrote(entries.collect(), &self.voters, &self.config);
        self.publish(counts);
    }

    /// Everything up to `counts` is for everybody to see.
    fn publish(&mut self, counts: Serial) {
        while let Some(group) = self.pending.pop_front_if(|group| group.end <= counts) {
            if self.leading.is_some() {
                failpoint::hit(Place::CommitCounts);
            }
            *self.newest.write().unwrap_or_else(PoisonError::into_inner) = group.config;
            self.announce.send_replace(group.end);
            for (serial, reply) in group.replies {
                reply.send(Ok(serial)).ok();
            }
        }
        // A change of the voters that counts is over: only the new ones have a say.
        if self.leading.is_some()
            && let Some(settled) = self.voters.settled_by(self.config.serial, counts)
        {
            let before = std::mem::replace(&mut self.voters, settled);
            let puts = vec![(Voters::key(), document(&self.voters))];
            self.settle(before, Batch { puts, deletes: vec![] });
        }
    }

    fn settle(&mut self, before: Voters, batch: Batch) {
        let Some(leading) = &self.leading else { return };
        match self.store.commit(leading.epoch, std::slice::from_ref(&batch)) {
            Ok(serial) => {
                let mut config = (*self.config).clone();
                config.serial = serial;
                self.config = Arc::new(config);
                let config = self.config.clone();
                self.pending.push_back(Pending { end: serial, config, replies: vec![] });
                let at = Position { epoch: leading.epoch, serial };
                let counts =
                    leading.quorum.wrote(vec![Entry { at, batch }], &self.voters, &self.config);
                self.publish(counts);
            }
            Err(error) => {
                // Both sets keep their say; the next commit that counts tries again.
                tracing::error!(%error, "the change of the voters cannot be stored");
                self.voters = before;
            }
        }
    }

    /// What is in a shared store counts.
    fn refresh(&mut self) -> Result<(), AppendError> {
        if self.leading.is_some() {
            return Err(AppendError::Leading);
        }
        let mut next = (*self.config).clone();
        match self.store.since(next.serial)? {
            Since::Snapshot(contents) => next = Config::load(&contents)?,
            Since::Tail(tail) => {
                for (serial, batch) in tail {
                    next = next.replay(serial, &batch)?;
                }
            }
        }
        let end = next.serial;
        self.config = Arc::new(next);
        let config = self.config.clone();
        self.pending.push_back(Pending { end, config, replies: vec![] });
        self.publish(end);
        Ok(())
    }

    fn append(&mut self, entries: &[Entry], counts: Serial) -> Result<Position, AppendError> {
        if self.leading.is_some() {
            return Err(AppendError::Leading);
        }
        // First all of it is understood, then it is stored: file and memory never part.
        let (mut config, mut voters) = (self.config.clone(), self.voters.clone());
        let mut written = Vec::with_capacity(entries.len());
        for entry in entries {
            config = Arc::new(config.replay(entry.at.serial, &entry.batch)?);
            let said = entry.batch.puts.iter().find(|(key, _)| *key == Voters::key());
            if let Some((_, body)) = said {
                voters = read_voters(body)?;
            }
            let end = entry.at.serial;
            written.push(Pending { end, config: config.clone(), replies: vec![] });
        }
        let Some(log) = self.store.log() else { return Err(AppendError::Shared) };
        if !entries.is_empty() {
            log.append(entries)?;
            failpoint::hit(Place::AppendStored);
        }
        let end = log.position()?;
        (self.config, self.voters) = (config, voters);
        self.pending.extend(written);
        self.publish(counts);
        Ok(end)
    }
}

fn document(voters: &Voters) -> String {
    serde_json::to_string(voters).expect("sets of identifiers are plain data")
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

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
