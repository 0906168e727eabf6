//! Where things are on a machine: Ganeti's places, all below one root.
//!
//! The root is `/` unless `GANETI_ROOTDIR` says otherwise; then everything moves with it, so that
//! several nodes can live on one machine. Reading the variable is left to the programs.

use std::path::{Path, PathBuf};

/// The environment variable that moves everything.
pub const ROOTDIR_ENV: &str = "GANETI_ROOTDIR";
/// TCP port of noded.
pub const NODED_PORT: u16 = 1811;
/// TCP port at which masterd lets nodes join.
pub const JOIN_PORT: u16 = 1812;

/// UDP port of confd.
pub const CONFD_PORT: u16 = 1814;
/// TCP port of mond.
pub const MOND_PORT: u16 = 1815;

/// All paths, for one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Paths below `root`; below `/` if there is none.
    pub fn new(root: Option<PathBuf>) -> Paths {
        Paths { root: root.unwrap_or_else(|| PathBuf::from("/")) }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The path of an absolute path of the cluster's configuration (a storage directory) here.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// `/var/lib/ganeti`: what must survive a restart.
    pub fn data_dir(&self) -> PathBuf {
        self.at("var/lib/ganeti")
    }

    /// `/var/log/ganeti`.
    pub fn log_dir(&self) -> PathBuf {
        self.at("var/log/ganeti")
    }

    /// `/run/ganeti`: what must not.
    pub fn run_dir(&self) -> PathBuf {
        self.at("run/ganeti")
    }

    /// `/var/lock/ganeti`: lock files that Ganeti's tools use too.
    pub fn lock_dir(&self) -> PathBuf {
        self.at("var/lock/ganeti")
    }

    /// `/etc/ganeti`.
    pub fn conf_dir(&self) -> PathBuf {
        self.at("etc/ganeti")
    }

    /// The configuration, the jobs and the journal: masterd's.
    pub fn database(&self) -> PathBuf {
        self.data_dir().join("config.db")
    }

    /// Who this machine is: JSON of [`Identity`].
    pub fn identity(&self) -> PathBuf {
        self.data_dir().join("identity.json")
    }

    /// The cluster's authority, PEM: all certificates are signed by it.
    pub fn authority(&self) -> PathBuf {
        self.data_dir().join("ca.pem")
    }

    /// The authority's key: only on master candidates, only for root.
    pub fn authority_key(&self) -> PathBuf {
        self.data_dir().join("ca.key")
    }

    /// This node's certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.data_dir().join("node.pem")
    }

    /// Its key, only for root.
    pub fn key(&self) -> PathBuf {
        self.data_dir().join("node.key")
    }

    /// The key that waits for its certificate while a node's certificate is renewed.
    pub fn next_key(&self) -> PathBuf {
        self.data_dir().join("node-next.key")
    }

    /// The node's former certificate, while not all nodes know the new one.
    pub fn former_certificate(&self) -> PathBuf {
        self.data_dir().join("node-former.pem")
    }

    /// Its key.
    pub fn former_key(&self) -> PathBuf {
        self.data_dir().join("node-former.key")
    }

    /// A file that nodes share and nobody else may read.
    pub fn secret(&self, file: crate::secrets::SecretFile) -> PathBuf {
        self.data_dir().join(file.as_str())
    }

    /// What noded remembers: the highest epoch, finished steps.
    pub fn noded_dir(&self) -> PathBuf {
        self.data_dir().join("noded")
    }

    /// An ssconf file.
    pub fn ssconf(&self, key: &str) -> PathBuf {
        self.data_dir().join(format!("ssconf_{key}"))
    }

    /// masterd's socket for clients: Ganeti's name for it.
    pub fn master_socket(&self) -> PathBuf {
        self.run_dir().join("socket/ganeti-master")
    }

    /// The configuration as masterd publishes it on master candidates: Ganeti's `config.data`.
    pub fn published_config(&self) -> PathBuf {
        self.data_dir().join("config.data")
    }

    /// The socket at which masterd tells changes of it ([`crate::published`]).
    pub fn config_feed(&self) -> PathBuf {
        self.run_dir().join("socket/ganeti-config")
    }

    /// What masterd says of itself, every few seconds, for the monitoring of its machine.
    pub fn masterd_status(&self) -> PathBuf {
        self.run_dir().join("status/masterd.json")
    }

    /// What confd says of itself, every ten seconds.
    pub fn confd_status(&self) -> PathBuf {
        self.run_dir().join("status/confd.json")
    }

    /// Programs that report on the machine in addition to the collectors of mond.
    pub fn collector_plugins(&self) -> PathBuf {
        self.conf_dir().join("mond/collectors.d")
    }

    /// Why instances are in their state: one JSON file each, by name.
    pub fn instance_reasons(&self) -> PathBuf {
        self.run_dir().join("instance-reason")
    }

    /// A daemon's process id.
    pub fn pid_file(&self, daemon: &str) -> PathBuf {
        self.run_dir().join(format!("{daemon}.pid"))
    }

    /// A daemon's log.
    pub fn log_file(&self, daemon: &str) -> PathBuf {
        self.log_dir().join(format!("{daemon}.log"))
    }

    /// Logs of OS scripts.
    pub fn os_log_dir(&self) -> PathBuf {
        self.log_dir().join("os")
    }

    /// Hooks.
    pub fn hooks_dir(&self) -> PathBuf {
        self.conf_dir().join("hooks")
    }

    /// Sockets of migrations under way.
    pub fn migration_dir(&self) -> PathBuf {
        self.run_dir().join("migration")
    }

    /// Where OS definitions are looked for, first match wins.
    pub fn os_search_path(&self) -> Vec<PathBuf> {
        ["srv/ganeti/os", "usr/local/lib/ganeti/os", "usr/lib/ganeti/os", "usr/share/ganeti/os"]
            .iter()
            .map(|p| self.at(p))
            .collect()
    }

    /// Where allocator scripts are looked for, first match wins.
    pub fn iallocator_search_path(&self) -> Vec<PathBuf> {
        ["usr/local/lib/ganeti/iallocators", "usr/lib/ganeti/iallocators"]
            .iter()
            .map(|p| self.at(p))
            .collect()
    }

    /// Requests that allocator scripts read.
    pub fn iallocator_dir(&self) -> PathBuf {
        self.run_dir().join("iallocator")
    }

    /// Where external storage providers are looked for, first match wins.
    pub fn es_search_path(&self) -> Vec<PathBuf> {
        [
            "srv/ganeti/extstorage",
            "usr/local/lib/ganeti/extstorage",
            "usr/lib/ganeti/extstorage",
            "usr/share/ganeti/extstorage",
        ]
        .iter()
        .map(|p| self.at(p))
        .collect()
    }

    /// `/srv/ganeti/export`: exports of instances.
    pub fn export_dir(&self) -> PathBuf {
        self.at("srv/ganeti/export")
    }

    /// Which copies this node awaits: one file each.
    pub fn copies_dir(&self) -> PathBuf {
        self.noded_dir().join("copies")
    }

    /// Logs of external storage providers' scripts.
    pub fn es_log_dir(&self) -> PathBuf {
        self.log_dir().join("extstorage")
    }

    /// Which volumes of external storage were made here: one file each.
    pub fn es_made_dir(&self) -> PathBuf {
        self.noded_dir().join("extstorage")
    }

    /// Which volumes of external storage are attached here: one file each.
    pub fn es_attached_dir(&self) -> PathBuf {
        self.run_dir().join("extstorage")
    }

    /// Directories that file disks may be in: one a line. Absent: the cluster's own only.
    pub fn file_storage_paths(&self) -> PathBuf {
        self.conf_dir().join("file-storage-paths")
    }
}

/// Who this machine is, written when it joins.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: crate::ids::ClusterId,
    /// Its own UUID.
    pub node: crate::ids::NodeId,
    /// Its name.
    pub name: crate::names::NodeName,
    /// Its primary address: where noded listens.
    pub address: String,
}

/// The name in a node's certificate: its identity, whatever its addresses and names are.
pub fn certificate_name(node: crate::ids::NodeId) -> String {
    format!("{node}.node.roost")
}
