//! A store on a real database that stops working at the commit it is told to.

use super::hands::{Crash, When};
use roost_masterd::jobs::journal::{StoredPlan, parse_id};
use roost_masterd::store::sqlite::SqliteStore;
use roost_masterd::store::{Batch, Contents, Key, Since, Space, Store, StoreError};
use roost_proto::ids::{Epoch, JobId, Serial};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

/// What went through a store, and what is to go wrong.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

/// Sees what is about to be committed.
pub type Watcher = Box<dyn FnMut(&[Batch]) + Send>;

#[derive(Default)]
pub struct Entries {
    pub commits: usize,
    /// Plans by (job, opcode).
    pub plans: BTreeMap<(JobId, usize), StoredPlan>,
    /// Everything stops at this commit.
    pub crash: Option<(usize, When)>,
    /// The disk is full: this many commits fail.
    pub full: usize,
    /// Asked before each commit.
    pub watcher: Option<Watcher>,
}

impl Ledger {
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().expect("nobody panics with it")
    }
}

/// See the module. Its database is closed when it is dropped, and `closed` is told.
pub struct CrashingStore {
    path: PathBuf,
    inner: Option<SqliteStore>,
    ledger: Ledger,
    crash: Crash,
    closed: mpsc::Sender<()>,
}

impl CrashingStore {
    pub fn open(
        path: PathBuf,
        ledger: Ledger,
        crash: Crash,
        closed: mpsc::Sender<()>,
    ) -> CrashingStore {
        let inner = SqliteStore::open(&path).expect("a sound database");
        CrashingStore { path, inner: Some(inner), ledger, crash, closed }
    }

    fn failed(&self, detail: &str) -> StoreError {
        StoreError::Failed { path: self.path.clone(), detail: detail.into() }
    }

    fn inner(&mut self) -> Result<&mut SqliteStore, StoreError> {
        if self.crash.has_happened() {
            self.inner = None;
        }
        let path = self.path.clone();
        self.inner.as_mut().ok_or(StoreError::Failed { path, detail: "crashed".into() })
    }
}

impl Drop for CrashingStore {
    fn drop(&mut self) {
        self.inner = None;
        // Whoever does not wait for it any more has what it wanted.
        self.closed.send(()).ok();
    }
}

impl Store for CrashingStore {
    fn load(&mut self) -> Result<Contents, StoreError> {
        self.inner()?.load()
    }

    fn commit(&mut self, epoch: Epoch, batches: &[Batch]) -> Result<Serial, StoreError> {
        let ledger = self.ledger.clone();
        let mut entries = ledger.entries();
        if let Some(watcher) = &mut entries.watcher {
            watcher(batches);
        }
        if entries.full > 0 {
            entries.full -= 1;
            return Err(self.failed("no space left on device"));
        }
        self.inner()?;
        let number = entries.commits;
        entries.commits += 1;
        for (key, body) in batches.iter().flat_map(|batch| &batch.puts) {
            if key.space == Space::Journal
                && let Some((job, op, "plan")) = parse_id(&key.id)
            {
                entries.plans.insert((job, op), serde_json::from_str(body).expect("a plan"));
            }
        }
        match entries.crash.filter(|(commit, _)| *commit == number) {
            Some((_, When::Before)) => {
                self.inner = None;
                self.crash.happen();
            }
            Some((_, When::After)) => {
                self.inner()?.commit(epoch, batches)?;
                self.inner = None;
                self.crash.happen();
            }
            None => {}
        }
        self.inner()?.commit(epoch, batches)
    }

    fn since(&mut self, serial: Serial) -> Result<Since, StoreError> {
        self.inner()?.since(serial)
    }

    fn get(&mut self, key: &Key) -> Result<Option<String>, StoreError> {
        self.inner()?.get(key)
    }

    fn last_id(&mut self, space: Space) -> Result<Option<String>, StoreError> {
        self.inner()?.last_id(space)
    }

    fn scan(&mut self, space: Space) -> Result<Vec<(String, String)>, StoreError> {
        self.inner()?.scan(space)
    }
}
