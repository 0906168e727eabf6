//! What this node awaits from others: what may be written over, by the token that allows it.
//!
//! ```text
//!   allow ─► awaited ◄─ connection after connection, one at a time; what is kept is remembered
//!              │        (a newer one ends the one before it)
//!             end: the disks are used otherwise now; a connection at work is cut
//! ```
//!
//! It survives noded: a file for each, in which also stands how much of each part is kept. Only
//! scripts that take an import end with noded.

use crate::credentials::hex;
use crate::{clock, durable};
use roost_proto::error::{Error, Result};
use roost_proto::node::{ExportScripts, InstanceRef};
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// What nobody wrote to for so long is not awaited any more, seconds.
const FORGOTTEN: f64 = 7.0 * 24.0 * 3600.0;

/// Where what arrives goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaited {
    /// Into disks, in order.
    Disks { instance: InstanceRef, disks: Vec<Disk> },
    /// Into files of these names in a directory.
    Files { dir: PathBuf, names: Vec<String> },
    /// Into the `import` script of an OS, once for each disk.
    Scripts(Box<ExportScripts>),
}

impl Awaited {
    /// How many parts there are.
    pub fn count(&self) -> usize {
        match self {
            Awaited::Disks { disks, .. } => disks.len(),
            Awaited::Files { names, .. } => names.len(),
            Awaited::Scripts(scripts) => scripts.guest.disks.len(),
        }
    }
}

/// How much of a part is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Bytes from the beginning.
    pub bytes: u64,
    /// All of it.
    pub whole: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    token: String,
    /// An instance's UUID or an export's name: what one is awaited for at a time.
    about: String,
    awaited: Awaited,
    kept: Vec<Kept>,
}

/// Something that is awaited.
#[derive(Debug)]
pub struct Entry {
    record: Mutex<Record>,
    /// Nothing: not to outlive noded.
    file: Option<PathBuf>,
    ended: CancellationToken,
    /// The connection at work.
    current: Mutex<CancellationToken>,
    busy: Arc<tokio::sync::Mutex<()>>,
    /// An import script at work, with the part it takes and how much it got.
    script: Mutex<Option<super::script::Import>>,
}

/// The right to write: there is one connection at a time.
#[derive(Debug)]
pub struct Session {
    pub entry: Arc<Entry>,
    /// Cancelled when the connection is not to go on.
    pub stop: CancellationToken,
    _busy: OwnedMutexGuard<()>,
}

/// All that is awaited.
#[derive(Debug)]
pub struct Receivers {
    dir: PathBuf,
    all: Mutex<HashMap<String, Arc<Entry>>>,
}

impl Receivers {
    /// What was awaited before noded ended still is.
    pub fn load(paths: &Paths) -> Receivers {
        let dir = paths.copies_dir();
        let mut all = HashMap::new();
        for file in std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()) {
            match read(&file) {
                Some(record) => {
                    let token = record.token.clone();
                    all.insert(token, Arc::new(Entry::new(record, Some(file))));
                }
                // Half written when the power failed, or of a job of long ago.
                None => drop(durable::remove(&file)),
            }
        }
        Receivers { dir, all: Mutex::new(all) }
    }

    /// Awaits it. Whatever else was awaited about the same is not any more; awaited already with
    /// this token, it stays as far as it is.
    pub fn allow(&self, token: &str, about: &str, awaited: Awaited) -> Result<()> {
        let known = self.lock().get(token).cloned();
        let same = |entry: Arc<Entry>| {
            let record = entry.record();
            record.about == about && record.awaited == awaited
        };
        if known.is_some_and(same) {
            return Ok(());
        }
        self.end(about);
        let file = match awaited {
            // Secret parameters are in no file.
            Awaited::Scripts(_) => None,
            _ => Some(self.dir.join(hex(&Sha256::digest(token)[..16]))),
        };
        let kept = vec![Kept::default(); awaited.count()];
        let record = Record { token: token.into(), about: about.into(), awaited, kept };
        let entry = Entry::new(record, file);
        if let Some(file) = &entry.file {
            durable::make_dir(&self.dir)?;
            durable::write(file, &entry.text(), 0o600)?;
        }
        self.lock().insert(token.into(), Arc::new(entry));
        Ok(())
    }

    /// Nothing about this is awaited any more.
    pub fn end(&self, about: impl ToString) {
        let about = about.to_string();
        let mut gone = vec![];
        self.lock().retain(|_, entry| {
            let is = entry.record().about == about;
            if is {
                gone.push(entry.clone());
            }
            !is
        });
        for entry in gone {
            entry.ended.cancel();
            entry.script().take();
            if let Some(file) = &entry.file
                && let Err(error) = durable::remove(file)
            {
                tracing::warn!(%error, "a copy that is over will be awaited again");
            }
        }
    }

    /// Begins a connection; the one before it is ended first.
    pub async fn enter(&self, token: &str) -> Result<Session> {
        let entry = self.lock().get(token).cloned().ok_or_else(|| {
            Error::wrong_state("No copy of disks is awaited here under this token")
        })?;
        let stop = entry.ended.child_token();
        let before = std::mem::replace(
            &mut *entry.current.lock().unwrap_or_else(PoisonError::into_inner),
            stop.clone(),
        );
        before.cancel();
        let busy = entry.busy.clone().lock_owned().await;
        Ok(Session { entry, stop, _busy: busy })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Entry>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(record: Record, file: Option<PathBuf>) -> Entry {
        Entry {
            record: Mutex::new(record),
            file,
            ended: CancellationToken::new(),
            current: Mutex::default(),
            busy: Arc::default(),
            script: Mutex::default(),
        }
    }

    /// It is not awaited any more.
    pub fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Goes on with something as long as this is awaited.
    pub async fn unless_over<T>(&self, doing: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = doing => done,
            () = self.ended.cancelled() => Err(Error::wrong_state("It is not awaited any more")),
        }
    }

    /// Where it goes.
    pub fn awaited(&self) -> Awaited {
        self.record().awaited.clone()
    }

    /// How much of a part is there.
    pub fn kept(&self, part: usize) -> Kept {
        self.record().kept.get(part).copied().unwrap_or_default()
    }

    /// So much of a part is there now.
    pub fn keep(&self, part: usize, kept: Kept) -> Result<()> {
        if let Some(known) = self.record().kept.get_mut(part) {
            *known = kept;
        }
        match &self.file {
            // One that was ended in this moment must not come back.
            Some(file) if !self.ended.is_cancelled() => durable::write(file, &self.text(), 0o600),
            _ => Ok(()),
        }
    }

    /// The script that takes an import.
    pub fn script(&self) -> MutexGuard<'_, Option<super::script::Import>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.record()).expect("plain data")
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> Option<Record> {
    let text = std::fs::read(file).ok()?;
    let written = file.metadata().ok()?.mtime() as f64;
    serde_json::from_slice(&text).ok().filter(|_| clock::now() - written < FORGOTTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Awaited {
        Awaited::Files { dir: dir.to_owned(), names: vec!["a".into(), "b".into()] }
    }

    #[tokio::test]
    async fn what_is_awaited_and_kept_survives_noded() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let receivers = Receivers::load(&paths);
        receivers.allow("t1", "web1", files(root.path())).expect("allowed");
        receivers.enter("t2").await.expect_err("another token");
        let session = receivers.enter("t1").await.expect("awaited");
        session.entry.keep(1, Kept { bytes: 5, whole: false }).expect("remembered");
        receivers.allow("t1", "web1", files(root.path())).expect("allowed already");
        drop(receivers);
        let receivers = Receivers::load(&paths);
        let session = receivers.enter("t1").await.expect("still awaited");
        assert_eq!(session.entry.kept(1), Kept { bytes: 5, whole: false });
        assert_eq!(session.entry.kept(0), Kept::default());
        drop(session);
        receivers.allow("t2", "web1", files(root.path())).expect("another copy");
        receivers.enter("t1").await.expect_err("void now");
        receivers.end("web1");
        assert_eq!(std::fs::read_dir(paths.copies_dir()).expect("list").count(), 0);
        std::fs::write(paths.copies_dir().join("x"), "half").expect("file");
        assert!(Receivers::load(&paths).lock().is_empty());
    }

    #[tokio::test]
    async fn a_newer_connection_ends_the_one_before() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let receivers = Arc::new(Receivers::load(&paths));
        receivers.allow("t", "web1", files(root.path())).expect("allowed");
        let first = receivers.enter("t").await.expect("the first");
        let second = tokio::spawn({
            let receivers = receivers.clone();
            async move { receivers.enter("t").await }
        });
        first.stop.cancelled().await;
        assert!(!second.is_finished(), "the first still writes");
        let entry = first.entry.clone();
        drop(first);
        let second = second.await.expect("joined").expect("the second");
        assert!(!second.stop.is_cancelled());
        receivers.end("web1");
        assert!(second.stop.is_cancelled());
        entry.keep(0, Kept { bytes: 1, whole: true }).expect("no matter");
        assert_eq!(std::fs::read_dir(paths.copies_dir()).expect("list").count(), 0);
    }
}
