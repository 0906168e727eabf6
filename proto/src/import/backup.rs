//! A backup: everything a cluster is, in one JSON file from which it can be made again.
//!
//! It holds the documents of the store at one serial (the journal of unfinished work apart, which
//! means nothing later), and the master's identity, certificates and keys. It is therefore secret:
//! whoever has it commands the cluster.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The format this version writes, and the newest it reads.
pub const BACKUP_FORMAT: u32 = 1;

/// Other files of the data directory that make a master: Ganeti's names.
pub const KEPT_FILES: &[&str] =
    &["hmac.key", "cluster-domain-secret", "rapi.pem", "rapi/users", "spice.pem", "spice-ca.pem"];

/// A backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// See [`BACKUP_FORMAT`]. Also how such a file is known.
    pub roost_backup: u32,
    /// The version that made it.
    pub release: String,
    /// When, in seconds since 1970.
    pub made: f64,
    /// The cluster's name and UUID.
    pub cluster_name: String,
    pub cluster_uuid: String,
    /// The master's name.
    pub master: String,
    /// The state's serial and the leadership's epoch.
    pub serial: u64,
    pub epoch: u64,
    /// SHA-256 over all documents and files, hexadecimal.
    pub digest: String,
    /// The master's files.
    pub files: KeptFiles,
    /// Configuration, jobs, debris, notes.
    pub documents: Vec<Document>,
}

/// Files of the master, as text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptFiles {
    pub identity: String,
    pub authority: String,
    /// Absent once the store has it: then it is among the documents.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub authority_key: String,
    pub certificate: String,
    pub key: String,
    /// Of [`KEPT_FILES`], those there are.
    #[serde(default)]
    pub others: std::collections::BTreeMap<String, String>,
}

/// A document: space, id, JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document(pub String, pub String, pub String);

impl Backup {
    /// Reads a file. Errors: `wrong_input`, with what it is instead.
    pub fn read(text: &str) -> Result<Backup> {
        let wrong = |why: String| Error::wrong_input(format!("This is not a backup: {why}"));
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| {
            wrong(format!("it is not JSON, or is not complete ({e}); take another copy of it"))
        })?;
        match value.get("roost_backup").and_then(serde_json::Value::as_u64) {
            Some(format) if format > u64::from(BACKUP_FORMAT) => {
                return Err(Error::wrong_input(format!(
                    "This backup has format {format}, made by a newer version; the newest that can be \
                     read here is {BACKUP_FORMAT}: install that version and import there"
                )));
            }
            Some(_) => {}
            None if value.get("version").is_some() && value.get("cluster").is_some() => {
                return Err(wrong(
                    "it is a config.data in Ganeti's format, which lacks certificates and keys; \
                     'gnt-cluster import-ganeti' makes a new cluster of it"
                        .into(),
                ));
            }
            None => return Err(wrong("it has no number under 'roost_backup'".into())),
        }
        serde_json::from_value(value).map_err(|e| wrong(format!("a part of it is damaged: {e}")))
    }

    /// What the digest is over, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        let f = &self.files;
        let files =
            [&f.identity, &f.authority, &f.authority_key, &f.certificate, &f.key].into_iter();
        let others = f.others.iter().flat_map(|(name, text)| [name, text]);
        let documents =
            self.documents.iter().flat_map(|Document(space, id, body)| [space, id, body]);
        files.chain(others).chain(documents).map(String::as_str)
    }
}
