//! Whole copies of the database, as files.
//!
//! A file that arrives is checked before it takes the old one's place, and the old one is kept
//! beside it: what was in it and nowhere else can still be looked at.

use crate::clock;
use crate::failpoint::{self, Place};
use crate::store::sqlite::SqliteStore;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use roost_proto::secrets::SecretFile;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Databases set aside that are kept.
const KEPT: usize = 2;
/// Bytes in one message.
const PIECE: usize = 256 << 10;

fn failed(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::environment(format!("{}: {e}", path.display()))
}

/// SQLite's files of a database.
fn all_files(database: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|ending| {
        let mut name = database.as_os_str().to_owned();
        name.push(ending);
        name.into()
    })
}

fn remove(database: &Path) -> Result<()> {
    for file in all_files(database) {
        match fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&file, &e)),
            _ => {}
        }
    }
    Ok(())
}

/// Moves this machine's database out of the way; returns where to. `why` becomes part of its name.
pub fn set_aside(paths: &Paths, why: &str) -> Result<PathBuf> {
    let database = paths.database();
    let name = format!("config.db.{why}-{}", clock::seconds() as u64);
    let aside = paths.data_dir().join(name);
    for (from, to) in all_files(&database).iter().zip(all_files(&aside)) {
        match fs::rename(from, &to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(from, &e)),
            _ => {}
        }
    }
    prune(paths, why, KEPT);
    Ok(aside)
}

/// The disk is full: that the cluster goes on is worth more than what was replaced long ago.
fn make_room(paths: &Paths) {
    prune(paths, "replaced", 0);
}

/// Of databases set aside for one reason, only the newest few are kept.
fn prune(paths: &Paths, why: &str, keep: usize) {
    let Ok(entries) = fs::read_dir(paths.data_dir()) else { return };
    let prefix = format!("config.db.{why}-");
    let is_one = |name: &str| {
        name.strip_prefix(&prefix).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut names: Vec<String> = (entries.flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| is_one(name))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse((name.len(), name.clone())));
    for name in names.iter().skip(keep) {
        if let Err(error) = remove(&paths.data_dir().join(name)) {
            tracing::warn!(%error, "an old copy of the state is not removed");
        }
    }
}

/// Removes this machine's database.
pub fn drop_copy(paths: &Paths) -> Result<()> {
    remove(&paths.database())
}

/// Removes the secrets that only master candidates have.
pub fn drop_secrets(paths: &Paths) -> Result<()> {
    for secret in SecretFile::ALL.into_iter().filter(|secret| !secret.is_everywhere()) {
        let file = paths.secret(secret);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(&file, &e)),
            _ => {}
        }
    }
    Ok(())
}

/// A copy to send, of one moment; removed when dropped.
#[derive(Debug)]
pub struct Outgoing {
    path: PathBuf,
    file: File,
    digest: Sha256,
}

impl Outgoing {
    /// Makes it, while commits go on.
    pub async fn create(paths: &Paths) -> Result<Outgoing> {
        #[allow(clippy::disallowed_methods, reason = "two copies may be made at once")]
        let path = paths.data_dir().join(format!(".config.db.copy-{}", uuid::Uuid::new_v4()));
        let (database, copy) = (paths.database(), path.clone());
        let made =
            tokio::task::spawn_blocking(move || SqliteStore::reader(&database)?.copy_to(&copy));
        let copied = made.await.map_err(|e| Error::internal(e.to_string()))?;
        let opened = copied
            .map_err(|e| Error::environment(e.to_string()))
            .and_then(|()| File::open(&path).map_err(|e| failed(&path, &e)));
        match opened {
            Ok(file) => Ok(Outgoing { path, file, digest: Sha256::new() }),
            Err(error) => {
                // Half a copy on a disk that is full must not stay.
                remove(&path)?;
                make_room(paths);
                Err(error)
            }
        }
    }

    /// The next piece; `None` at the end.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>> {
        let mut piece = vec![0; PIECE];
        let length = self.file.read(&mut piece).map_err(|e| failed(&self.path, &e))?;
        piece.truncate(length);
        self.digest.update(&piece);
        Ok((length > 0).then_some(piece))
    }

    /// SHA-256 of all that was read.
    pub fn digest(&self) -> Vec<u8> {
        self.digest.clone().finalize().to_vec()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // One left behind costs space only; the next start sweeps it.
        fs::remove_file(&self.path).ok();
    }
}

/// A copy that arrives.
#[derive(Debug)]
pub struct Incoming {
    paths: Paths,
    path: PathBuf,
    file: File,
    digest: Sha256,
}

impl Incoming {
    /// Begins beside the database; what an earlier attempt left is thrown away.
    pub fn create(paths: &Paths) -> Result<Incoming> {
        let path = paths.data_dir().join("config.db.incoming");
        remove(&path)?;
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|e| failed(&path, &e))?;
        Ok(Incoming { paths: paths.clone(), path, file, digest: Sha256::new() })
    }

    /// Adds a piece.
    pub fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.digest.update(piece);
        self.file.write_all(piece).map_err(|e| {
            make_room(&self.paths);
            failed(&self.path, &e)
        })
    }

    /// All is here, its digest should be this one: puts it in place of the database. The process
    /// must start over after it; the old file is kept if `keep_old`.
    pub fn finish(self, digest: &[u8], keep_old: bool) -> Result<()> {
        if self.digest.clone().finalize().as_slice() != digest {
            return Err(failed(&self.path, &"the copy was damaged on its way"));
        }
        self.put_in_place(keep_old)
    }

    /// As [`Incoming::finish`], without a digest: the connection vouches for it.
    pub fn put_in_place(self, keep_old: bool) -> Result<()> {
        self.file.sync_all().map_err(|e| failed(&self.path, &e))?;
        // Opening it checks that it is whole.
        drop(SqliteStore::open(&self.path).map_err(|e| Error::environment(e.to_string()))?);
        if keep_old {
            let aside = set_aside(&self.paths, "replaced")?;
            tracing::warn!(
                kept = %aside.display(),
                "this copy of the state parted from the leader's and is replaced"
            );
        }
        remove(&self.paths.database())?;
        let database = self.paths.database();
        fs::rename(&self.path, &database).map_err(|e| failed(&self.path, &e))?;
        File::open(self.paths.data_dir())
            .and_then(|dir| dir.sync_all())
            .map_err(|e| failed(&database, &e))?;
        failpoint::hit(Place::CopyInPlace);
        Ok(())
    }
}

/// Removes what a crash left of copies on their way.
pub fn sweep(paths: &Paths) {
    let Ok(entries) = fs::read_dir(paths.data_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".config.db.copy-") || name.starts_with("config.db.incoming") {
            // What cannot be removed now will be tried at the next start.
            fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, Key, Log, Space, Store};
    use roost_proto::ids::Epoch;

    fn machine() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        fs::create_dir_all(paths.data_dir()).unwrap();
        (dir, paths)
    }

    fn fill(paths: &Paths, body: &str) {
        let mut store = SqliteStore::create(&paths.database()).unwrap();
        let puts = vec![(Key::new(Space::Archive, 1), body.into())];
        store.commit(Epoch(4), &[Batch { puts, deletes: vec![] }]).unwrap();
    }

    #[tokio::test]
    async fn a_whole_copy_has_everything_and_the_old_one_is_kept() {
        let ((_a, from), (_b, to)) = (machine(), machine());
        fill(&from, "new");
        fill(&to, "old");
        let mut outgoing = Outgoing::create(&from).await.unwrap();
        let mut incoming = Incoming::create(&to).unwrap();
        while let Some(piece) = outgoing.read().unwrap() {
            incoming.write(&piece).unwrap();
        }
        incoming.finish(&outgoing.digest(), true).unwrap();
        let mut store = SqliteStore::open(&to.database()).unwrap();
        assert_eq!(store.get(&Key::new(Space::Archive, 1)).unwrap().as_deref(), Some("new"));
        assert_eq!(store.position().unwrap().epoch, Epoch(4));
        let kept: Vec<_> = fs::read_dir(to.data_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("config.db.replaced-"))
            .collect();
        assert!(!kept.is_empty(), "{kept:?}");
    }

    #[test]
    fn a_copy_that_was_damaged_on_its_way_replaces_nothing() {
        let (_dir, paths) = machine();
        fill(&paths, "good");
        let mut incoming = Incoming::create(&paths).unwrap();
        incoming.write(b"not a database").unwrap();
        incoming.finish(&[0; 32], true).unwrap_err();
        let mut incoming = Incoming::create(&paths).unwrap();
        incoming.write(b"not a database").unwrap();
        incoming.put_in_place(true).unwrap_err();
        let mut store = SqliteStore::open(&paths.database()).unwrap();
        assert_eq!(store.get(&Key::new(Space::Archive, 1)).unwrap().as_deref(), Some("good"));
        drop(store);
        sweep(&paths);
        assert!(!paths.data_dir().join("config.db.incoming").exists());
    }

    #[test]
    fn only_the_newest_old_ones_are_kept() {
        let (_dir, paths) = machine();
        for number in 1..=6 {
            fs::write(paths.data_dir().join(format!("config.db.replaced-{number}")), "").unwrap();
        }
        fs::write(paths.data_dir().join("config.db.damaged-1"), "").unwrap();
        prune(&paths, "replaced", KEPT);
        let exists = |name: &str| paths.data_dir().join(format!("config.db.{name}")).exists();
        assert!(exists("replaced-6") && exists("replaced-5") && exists("damaged-1"));
        assert!(!exists("replaced-4"));
        make_room(&paths);
        assert!(!exists("replaced-6") && exists("damaged-1"));
    }
}
