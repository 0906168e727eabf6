//! What nodes are told about exports, and what they say of them.
//!
//! An export is a directory `<export directory>/<instance>/` on a node: `config.ini`, which says
//! what the instance was like, and one dump for each disk, named by the disk's UUID: what the
//! script `export` of its OS wrote. Until it is whole it is called `<instance>.new`.

use super::guest::GuestSpec;
use crate::ids::NodeId;
use crate::names::InstanceName;
use crate::objects::{Disk, ParamMap};
use serde::{Deserialize, Serialize};

/// One step of an export or an import. Idempotent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ExportAction {
    /// On the node that keeps the export: begins it, and allows these dumps to be written by
    /// [`ExportAction::Send`] of that token.
    Receive { name: InstanceName, dumps: Vec<String>, token: String },
    /// On the instance's node: runs the OS's script `export` for each disk and sends what it
    /// writes to the node at `address`.
    Send {
        scripts: Box<ExportScripts>,
        /// What the scripts read, in the order of the instance's disks: the disks, or snapshots.
        disks: Vec<Disk>,
        target: NodeId,
        address: String,
        token: String,
        /// How it travels: a name of a compression tool.
        compress: String,
    },
    /// All dumps are there: writes `config.ini`, makes all of it durable and puts it in the place
    /// of an older export of that name, which is kept aside. Done already: success.
    Finish { name: InstanceName, config: String },
    /// It stays: the older one that was kept aside goes.
    Settle { name: InstanceName },
    /// Removes an export. With `unfinished` only one that is not settled; what it took the place of
    /// is back then. Not there: success.
    Remove {
        name: String,
        #[serde(default)]
        unfinished: bool,
    },
    /// On the node of a new instance: runs the OS's script `import` for each disk, with the dump
    /// that [`ExportAction::SendDumps`] of that token sends.
    Accept { scripts: Box<ExportScripts>, token: String },
    /// On the node that has the export: sends its dumps, in the order of the new instance's disks.
    /// `path` is the export's directory, absolute or below the export directory.
    SendDumps {
        path: String,
        dumps: Vec<String>,
        target: NodeId,
        address: String,
        token: String,
        compress: String,
    },
}

/// Which scripts run, for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportScripts {
    pub guest: GuestSpec,
    /// Public parameters.
    #[serde(default)]
    pub osparams: ParamMap,
    /// Private and secret ones. Never logged.
    #[serde(default)]
    pub osparams_private: ParamMap,
    #[serde(default)]
    pub debug: bool,
}

/// What is asked about exports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum ExportQuestion {
    /// Which there are. Answer: `list`.
    List,
    /// What one is like; `path` as in [`ExportAction::SendDumps`]. Answer: `info`, without text
    /// where there is none.
    Info { path: String },
    /// Whether the node could export an instance with this OS. Answer: `list`, of the scripts that
    /// cannot be used, with the reason.
    Scripts { os: String },
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportAnswer {
    List(Vec<String>),
    /// The text of `config.ini`, and the bytes of each dump that it names and that is there.
    Info(Option<ExportInfo>),
}

/// An export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExportInfo {
    /// The text of `config.ini`.
    pub config: String,
    /// Dumps that are there, with their bytes.
    #[serde(default)]
    pub dumps: std::collections::BTreeMap<String, u64>,
}
