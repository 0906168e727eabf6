//! The HMAC key that is valid now: renewing the cluster's secrets replaces its file.

use crate::wire::HmacKey;
use roost_proto::error::{Error, Result};
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A key is far shorter; what is longer is not one.
const LONGEST: u64 = 64 << 10;

/// What tells one content of a file from another.
type Mark = (u64, u64, i64, i64);

/// A key and the file it comes from.
#[derive(Debug)]
pub struct Keyring {
    file: Option<PathBuf>,
    key: RwLock<Arc<HmacKey>>,
    looked: Mutex<Looked>,
}

#[derive(Debug, Default)]
struct Looked {
    mark: Option<Mark>,
    /// What was wrong with the file when it was last read; told once.
    complaint: Option<String>,
}

impl Keyring {
    /// Of a key that never changes.
    pub fn fixed(key: HmacKey) -> Keyring {
        Keyring { file: None, key: RwLock::new(Arc::new(key)), looked: Mutex::default() }
    }

    /// Of a file. Errors: it cannot be read, or is empty.
    pub fn open(file: &Path) -> Result<Keyring> {
        let (key, mark) = read(file)?;
        let looked = Looked { mark: Some(mark), complaint: None };
        Ok(Keyring {
            file: Some(file.to_owned()),
            key: RwLock::new(Arc::new(key)),
            looked: Mutex::new(looked),
        })
    }

    /// The key.
    pub fn current(&self) -> Arc<HmacKey> {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again if it changed. A bad one is told in the log and the key kept that was
    /// good. True: there is a new key.
    pub fn look(&self) -> bool {
        let Some(file) = &self.file else { return false };
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.mark.is_some() && std::fs::metadata(file).ok().as_ref().map(mark) == looked.mark {
            return false;
        }
        match read(file) {
            Ok((key, mark)) => {
                *looked = Looked { mark: Some(mark), complaint: None };
                *self.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("read the HMAC key '{}' again: it was replaced", file.display());
                true
            }
            Err(error) => {
                looked.mark = None;
                if looked.complaint.as_ref() != Some(&error.message) {
                    tracing::warn!("{error}; the former key stays valid");
                    looked.complaint = Some(error.message);
                }
                false
            }
        }
    }
}

fn mark(file: &Metadata) -> Mark {
    (file.ino(), file.size(), file.mtime(), file.mtime_nsec())
}

fn read(path: &Path) -> Result<(HmacKey, Mark)> {
    let failed =
        |e| Error::environment(format!("Cannot read the HMAC key '{}': {e}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    // Before the content: what changes in between is read again.
    let mark = mark(&file.metadata().map_err(failed)?);
    let mut content = vec![];
    file.by_ref().take(LONGEST + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LONGEST {
        return Err(Error::environment(format!("'{}' is too long for a key", path.display())));
    }
    if content.is_empty() {
        return Err(Error::environment(format!("The HMAC key '{}' is empty", path.display())));
    }
    Ok((HmacKey::new(&content)?, mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Tag;
    use std::fs;

    fn tag(key: &HmacKey) -> Vec<u8> {
        let mut tag = vec![];
        key.sign(Tag::Sha1, b"salt", b"msg", &mut tag);
        tag
    }

    fn expected(content: &[u8]) -> Vec<u8> {
        tag(&HmacKey::new(content).unwrap())
    }

    #[test]
    fn a_replaced_file_is_a_new_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hmac.key");
        fs::write(&file, "first\n").unwrap();
        let ring = Keyring::open(&file).unwrap();
        assert_eq!(tag(&ring.current()), expected(b"first\n"));
        assert!(!ring.look(), "nothing changed");
        fs::write(dir.path().join("new"), "other\n").unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        assert!(ring.look());
        assert_eq!(tag(&ring.current()), expected(b"other\n"));
        assert!(!ring.look());
    }

    #[test]
    fn a_bad_file_leaves_the_good_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hmac.key");
        fs::write(&file, "good\n").unwrap();
        let ring = Keyring::open(&file).unwrap();
        fs::write(&file, "").unwrap();
        assert!(!ring.look());
        fs::remove_file(&file).unwrap();
        assert!(!ring.look());
        assert_eq!(tag(&ring.current()), expected(b"good\n"));
        fs::write(&file, "good again\n").unwrap();
        assert!(ring.look());
        assert_eq!(tag(&ring.current()), expected(b"good again\n"));
    }

    #[test]
    fn without_a_key_there_is_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hmac.key");
        let error = Keyring::open(&file).unwrap_err();
        assert!(error.message.contains("hmac.key"), "{error}");
        fs::write(&file, "").unwrap();
        assert!(Keyring::open(&file).unwrap_err().message.ends_with("is empty"));
    }
}
