//! The files that are fake guests.

use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, InstanceId, NicId};
use roost_proto::node::{GuestReport, GuestState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// All there is to a fake guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FakeGuest {
    pub uuid: InstanceId,
    pub name: String,
    pub state: GuestState,
    /// MiB.
    pub memory: u64,
    pub vcpus: u64,
    #[serde(default)]
    pub disks: Vec<DiskId>,
    #[serde(default)]
    pub nics: Vec<NicId>,
}

impl FakeGuest {
    /// As the node reports it.
    pub fn report(&self) -> GuestReport {
        let there = !matches!(self.state, GuestState::Shutdown | GuestState::Crashed);
        GuestReport {
            name: self.name.clone(),
            uuid: Some(self.uuid),
            hypervisor: Hypervisor::Fake,
            state: self.state,
            memory: if there { self.memory } else { 0 },
            vcpus: self.vcpus,
            cpu_time: 0.0,
        }
    }
}

/// What a file's name says of a guest that ended. `@` cannot be in an instance's name.
const ENDS: [(&str, GuestState); 2] =
    [("@shutdown", GuestState::Shutdown), ("@crashed", GuestState::Crashed)];
/// Files being written: ignored when read.
const NEW: &str = "@new";

/// The directory of the files.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub fn open(dir: PathBuf) -> Result<Files> {
        std::fs::create_dir_all(&dir).map_err(|e| failed("make", &dir, &e))?;
        Ok(Files { dir })
    }

    /// Changes whenever a guest's file is made, renamed or removed.
    pub fn changed(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.dir).and_then(|meta| meta.modified()).ok()
    }

    /// All guests. A file nobody can read is no guest, and said so. Of those in `known` only the
    /// file's name is looked at: nobody else writes into them.
    pub fn read_all(
        &self,
        known: &BTreeMap<String, FakeGuest>,
    ) -> Result<BTreeMap<String, FakeGuest>> {
        let entries = std::fs::read_dir(&self.dir).map_err(|e| failed("read", &self.dir, &e))?;
        let mut guests = BTreeMap::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if file.ends_with(NEW) {
                continue;
            }
            if let Some(guest) = known.get(file)
                && !matches!(guest.state, GuestState::Shutdown | GuestState::Crashed)
            {
                guests.insert(file.to_owned(), guest.clone());
                continue;
            }
            let content = match std::fs::read(&path) {
                Ok(content) => content,
                // Removed while we were reading.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(failed("read", &path, &e)),
            };
            match serde_json::from_slice::<FakeGuest>(&content) {
                Ok(mut guest) => {
                    for (end, state) in ENDS {
                        if file.ends_with(end) {
                            guest.state = state;
                        }
                    }
                    guests.insert(guest.name.clone(), guest);
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "not a fake guest");
                }
            }
        }
        Ok(guests)
    }

    /// Writes a guest's file, whole or not at all.
    pub fn write(&self, guest: &FakeGuest) -> Result<()> {
        let path = self.dir.join(&guest.name);
        let new = self.dir.join(format!("{}{NEW}", guest.name));
        let content = serde_json::to_vec(guest)
            .map_err(|e| Error::internal(format!("fake guest {}: {e}", guest.name)))?;
        std::fs::write(&new, content).map_err(|e| failed("write", &new, &e))?;
        std::fs::rename(&new, &path).map_err(|e| failed("write", &path, &e))?;
        self.remove_ends(&guest.name)
    }

    /// Removes whatever there is of a guest.
    pub fn remove(&self, name: &str) -> Result<()> {
        remove(&self.dir.join(name))?;
        self.remove_ends(name)
    }

    fn remove_ends(&self, name: &str) -> Result<()> {
        ENDS.iter().try_for_each(|(end, _)| remove(&self.dir.join(format!("{name}{end}"))))
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("remove", path, &e)),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::exec(format!("Cannot {what} {} of the fake hypervisor: {error}", path.display()))
}
