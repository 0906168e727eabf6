//! What is attached on this node: a file for each volume below `/run`, written before `attach` runs.
//! One of an earlier boot says nothing: what it was attached as may be something else by now.

use crate::durable;
use roost_extstorage::Attached;
use roost_proto::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What is known of a volume on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    boot: String,
    /// `attach` said yes; else it was begun.
    pub attached: bool,
    pub device: Option<PathBuf>,
    /// (hypervisor, URI).
    pub uris: Vec<(String, String)>,
    /// `open` was run: exclusively or not.
    pub open: Option<bool>,
    /// … and has not said yes so far.
    #[serde(default)]
    pub opening: bool,
}

impl Attachment {
    /// One that is about to be.
    pub fn begun() -> Attachment {
        Attachment { boot: boot(), ..Attachment::default() }
    }

    /// What `attach` said.
    pub fn set(&mut self, attached: Attached) {
        self.attached = true;
        self.device = attached.device;
        self.uris = attached.uris;
    }

    /// What is known, of this boot.
    pub fn read(path: &Path) -> Result<Option<Attachment>> {
        match fs::read(path) {
            // Cut short by a crash: it may be attached, or not.
            Ok(text) => {
                let found = serde_json::from_slice(&text).unwrap_or_else(|_| Attachment::begun());
                Ok(Some(found).filter(|found| found.boot == boot()))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::exec(format!("Cannot read '{}': {e}", path.display()))),
        }
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(dir) = path.parent() {
            durable::make_dir(dir)?;
        }
        let text = serde_json::to_vec(self).map_err(|e| Error::internal(e.to_string()))?;
        durable::write(path, &text, 0o600)
    }

    /// Forgets it.
    pub fn clear(path: &Path) -> Result<()> {
        if path.exists() { durable::remove(path) } else { Ok(()) }
    }
}

/// The kernel's name for this boot.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_this_boot_or_nothing() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("sub/san.v0");
        assert_eq!(Attachment::read(&path).expect("none"), None);
        let mut attachment = Attachment::begun();
        attachment.set(Attached { device: Some("/dev/x".into()), ..Attached::default() });
        attachment.write(&path).expect("written");
        assert_eq!(Attachment::read(&path).expect("read"), Some(attachment.clone()));
        Attachment { boot: "another".into(), ..attachment }.write(&path).expect("written");
        assert_eq!(Attachment::read(&path).expect("read"), None);
        fs::write(&path, "{\"boot\": \"").expect("cut short");
        let found = Attachment::read(&path).expect("read").expect("begun");
        assert!(!found.attached);
        Attachment::clear(&path).expect("removed");
        Attachment::clear(&path).expect("removed already");
    }
}
