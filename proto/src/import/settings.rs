//! What masterd is told when it is to make a cluster from a file: JSON on its standard input.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What to import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ImportSpec {
    /// A backup of our own.
    Backup(BackupImport),
    /// A `config.data`.
    Ganeti(GanetiImport),
}

/// `gnt-cluster import-config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackupImport {
    /// The backup's text.
    pub file: String,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// Also in place of a cluster that is there, with masterd stopped.
    #[serde(default)]
    pub force: bool,
    /// The epoch to lead with at least.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// This machine's address, if it is not the one the master had.
    #[serde(default)]
    pub address: Option<String>,
    /// Nodes that are no more: they become offline.
    #[serde(default)]
    pub lost: Vec<String>,
}

/// `gnt-cluster import-ganeti`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GanetiImport {
    /// The file.
    pub config: Value,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// Also if something in it is not supported.
    #[serde(default)]
    pub force: bool,
    /// The node that this machine is, if not the one that was master.
    #[serde(default)]
    pub master: Option<String>,
    /// Where Ganeti's other files are.
    #[serde(default)]
    pub data_dir: Option<String>,
    /// Leave instances that were up as they are.
    #[serde(default)]
    pub keep_admin_state: bool,
}
