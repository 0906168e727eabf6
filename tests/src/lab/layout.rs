//! Names, addresses and paths of a lab: pure facts, no I/O.
//!
//! ```text
//!  ROOT/NAME/lab.json            what the lab is (nodes, hypervisor, cuts)
//!  ROOT/NAME/bin/                on every node's PATH: links to the built programs, by all their names
//!  ROOT/NAME/shared/             /srv/ganeti/shared-file-storage of every node
//!  ROOT/NAME/nodes/NODE/         init.json (first process), init.log, hosts, and the private folders below
//! ```

use std::path::{Path, PathBuf};

/// The namespace with the bridge every node is plugged into; plays the outside client.
pub const SWITCH: &str = "switch";
/// Most nodes a lab can have: their addresses stay clear of guests (.50 and up).
pub const MAX_NODES: usize = 49;
/// The cluster's name.
pub const CLUSTER: &str = "cluster.lab";
/// The address that follows the master.
pub const CLUSTER_IP: &str = "10.78.0.250";
/// The outside client's address.
pub const SWITCH_IP: &str = "10.78.0.254";
/// Where shared disks live, in every node.
pub const SHARED_DIR: &str = "/srv/ganeti/shared-file-storage";
/// Where OS definitions live, in every node.
pub const OS_DIR: &str = "/srv/ganeti/os";

/// Where providers of external storage live, in every node.
pub const EXT_DIR: &str = "/srv/ganeti/extstorage";

/// Folders each node has for itself: (path inside, name under the node's folder).
pub const PRIVATE: &[(&str, &str)] = &[
    ("/var/lib/ganeti", "lib-ganeti"),
    ("/var/log/ganeti", "log-ganeti"),
    ("/etc/ganeti", "etc-ganeti"),
    ("/srv/ganeti/file-storage", "file-storage"),
    ("/srv/ganeti/export", "export"),
    ("/etc/etcd", "etc-etcd"),
    ("/var/lib/etcd", "lib-etcd"),
    ("/etc/libvirt", "etc-libvirt"),
    ("/var/lib/libvirt", "lib-libvirt"),
    ("/var/log/libvirt", "log-libvirt"),
    ("/var/cache/libvirt", "cache-libvirt"),
];

/// Every name the multi-call binary `gnt` answers to.
pub const GNT_NAMES: &[&str] = &[
    "gnt-backup",
    "gnt-cluster",
    "gnt-confd-client",
    "gnt-debug",
    "gnt-filter",
    "gnt-group",
    "gnt-instance",
    "gnt-job",
    "gnt-network",
    "gnt-node",
    "gnt-os",
    "gnt-rule",
    "gnt-storage",
    "daemon-util",
    "hail",
    "hbal",
    "hcheck",
    "hinfo",
    "hroller",
    "hscan",
    "hspace",
    "hsqueeze",
];

/// Name of the n-th node, counted from 1.
pub fn node_name(n: usize) -> String {
    format!("node{n}")
}

/// Address of the n-th node, counted from 1.
pub fn node_ip(n: usize) -> String {
    format!("10.78.0.{n}")
}

/// `node3` → 3; also understands `node3.lab` and `3`.
pub fn node_number(name: &str) -> Option<usize> {
    let short = name.strip_suffix(".lab").unwrap_or(name);
    short.strip_prefix("node").unwrap_or(short).parse().ok().filter(|n| *n >= 1)
}

/// `/etc/hosts` of every node and of the switch.
pub fn hosts(nodes: usize) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for n in 1..=nodes {
        text += &format!("{} {name}.lab {name}\n", node_ip(n), name = node_name(n));
    }
    text += &format!("{CLUSTER_IP} {CLUSTER} cluster\n{SWITCH_IP} {SWITCH}.lab {SWITCH}\n");
    text
}

/// The folders of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Lab `name` below `root`.
    pub fn new(root: &Path, name: &str) -> Layout {
        Layout { dir: root.join(name) }
    }

    /// A lab by its own folder.
    pub fn at(dir: &Path) -> Layout {
        Layout { dir: dir.into() }
    }

    /// The lab's own folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the lab is.
    pub fn state(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// Held while the lab is being changed; outside its folder, which `down` removes.
    pub fn lock(&self) -> PathBuf {
        self.dir.with_extension("lock")
    }

    /// Links to the programs.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// The storage all nodes share.
    pub fn shared(&self) -> PathBuf {
        self.dir.join("shared")
    }

    /// Certificates of the lab's etcd.
    pub fn etcd(&self) -> PathBuf {
        self.dir.join("etcd")
    }

    /// Exists once the lab's etcd asks for passwords.
    pub fn etcd_secured(&self) -> PathBuf {
        self.etcd().join("secured")
    }

    /// Everything of one node (or the switch).
    pub fn node(&self, node: &str) -> PathBuf {
        self.dir.join("nodes").join(node)
    }

    /// What a node's first process reported about itself.
    pub fn init_report(&self, node: &str) -> PathBuf {
        self.node(node).join("init.json")
    }

    /// What a node's first process printed.
    pub fn init_log(&self, node: &str) -> PathBuf {
        self.node(node).join("init.log")
    }

    /// Exists once a node was powered on completely.
    pub fn up_marker(&self, node: &str) -> PathBuf {
        self.node(node).join("up")
    }

    /// Exists while all of a node stands still.
    pub fn frozen_marker(&self, node: &str) -> PathBuf {
        self.node(node).join("frozen")
    }

    /// The host folder behind a node's private folder, by the path inside.
    pub fn private(&self, node: &str, inside: &str) -> Option<PathBuf> {
        let (_, name) = PRIVATE.iter().find(|(path, _)| *path == inside)?;
        Some(self.node(node).join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_understood_in_every_form() {
        assert_eq!(node_number("node3"), Some(3));
        assert_eq!(node_number("node12.lab"), Some(12));
        assert_eq!(node_number("2"), Some(2));
        assert_eq!(node_number("node0"), None);
        assert_eq!(node_number("switch"), None);
    }

    #[test]
    fn hosts_resolve_nodes_and_the_cluster() {
        let text = hosts(2);
        assert!(text.contains("10.78.0.2 node2.lab node2\n"));
        assert!(text.contains("10.78.0.250 cluster.lab cluster\n"));
        assert!(!text.contains("node3"));
    }

    #[test]
    fn the_lock_lies_beside_the_folder_that_down_removes() {
        let l = Layout::new(Path::new("/r"), "a");
        assert_eq!(l.lock(), Path::new("/r/a.lock"));
        assert_eq!(
            l.private("node1", "/etc/ganeti").unwrap(),
            Path::new("/r/a/nodes/node1/etc-ganeti")
        );
        assert_eq!(l.private("node1", "/etc"), None);
    }
}
