//! The files that make a machine the master of a cluster.

use crate::config::Config;
use crate::pki::Pair;
use crate::store::Key;
use crate::{clock, files, init};
use roost_proto::error::{Error, Result};
use roost_proto::ids::Epoch;
use roost_proto::paths::{Identity, Paths};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Everything a master has.
#[derive(Debug)]
pub struct Place {
    pub identity: Identity,
    pub authority: Pair,
    pub own: Pair,
    /// Other secrets, by name in the data directory.
    pub others: Vec<(String, String)>,
    pub config: Config,
    pub documents: Vec<(Key, String)>,
    /// The last epoch that others may have seen.
    pub epoch: Epoch,
}

/// What shows that this machine belongs to a cluster.
pub fn occupied(paths: &Paths) -> Option<PathBuf> {
    [paths.database(), paths.identity()].into_iter().find(|path| path.exists())
}

/// Refuses to work beside a running masterd.
pub fn check_stopped(paths: &Paths) -> Result<()> {
    match UnixStream::connect(paths.master_socket()) {
        Err(_) => Ok(()),
        Ok(_) => Err(Error::wrong_state(
            "masterd runs on this machine: stop it first with 'gnt daemon stop masterd'",
        )),
    }
}

impl Place {
    /// Writes it all, the database last. What was there is set aside; returns where it is now.
    pub fn write(self, paths: &Paths) -> Result<Vec<PathBuf>> {
        check_stopped(paths)?;
        let aside = set_aside(paths)?;
        files::make_dir(&paths.log_dir())?;
        if !self.authority.key.is_empty() {
            files::write(&paths.authority_key(), self.authority.key.as_bytes(), 0o600)?;
        }
        files::write(&paths.authority(), self.authority.certificate.as_bytes(), 0o644)?;
        files::write(&paths.key(), self.own.key.as_bytes(), 0o600)?;
        files::write(&paths.certificate(), self.own.certificate.as_bytes(), 0o644)?;
        for (name, text) in &self.others {
            files::write(&paths.data_dir().join(name), text.as_bytes(), 0o600)?;
        }
        for (key, text) in self.config.ssconf() {
            files::write(&paths.ssconf(&key), text.as_bytes(), 0o444)?;
        }
        let text = serde_json::to_string_pretty(&self.identity)
            .map_err(|e| Error::internal(format!("unstorable identity: {e}")))?;
        files::write(&paths.identity(), text.as_bytes(), 0o644)?;
        init::write_database(paths, self.epoch, self.documents)?;
        Ok(aside)
    }
}

/// Renames the files of the cluster that was here.
fn set_aside(paths: &Paths) -> Result<Vec<PathBuf>> {
    let suffix = format!(".before-import-{:.0}", clock::seconds());
    let mut aside = Vec::new();
    let mut put = |from: &Path, to: PathBuf| match std::fs::rename(from, &to) {
        Ok(()) => {
            aside.push(to);
            Ok(())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::environment(format!(
            "{} cannot be renamed to {}: {e}",
            from.display(),
            to.display()
        ))),
    };
    // The database and its log belong together, and keep their names relative to each other.
    for part in ["", "-wal", "-shm"] {
        let database = paths.database();
        put(&with(&database, part), with(&database, &format!("{suffix}{part}")))?;
    }
    for path in [
        paths.data_dir().join("store.json"),
        paths.identity(),
        paths.authority(),
        paths.authority_key(),
        paths.certificate(),
        paths.key(),
    ] {
        put(&path, with(&path, &suffix))?;
    }
    Ok(aside)
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
