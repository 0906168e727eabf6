//! A machine for the daemons: a network of its own, mounts of its own, and a node's directory.

use super::daemons::command;
use crate::generate_config::{self, Shape};
use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian's daemons are, below its root.
pub(super) const PEER_LIBRARY: &str = "usr/lib/ganeti/3.0/usr/sbin";
/// The key of the cluster that is measured.
pub(super) const KEY: &[u8] = b"0123456789abcdef0123456789abcdef01234567\n";
/// Where the peer finds its node's directory.
pub(super) const PEER_DATA: &str = "/bench";

const NONE: Option<&str> = None;

/// Gives the process a network in which all ports are free, mounts that nobody else sees, and a name.
pub(super) fn leave_this_machine() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .context("a network of its own (needs root)")?;
    mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
    // mond asks confd about its own node.
    nix::unistd::sethostname(generate_config::node_name(0))?;
    let up = command(&["ip", "link", "set", "lo", "up"]).status()?;
    ensure!(up.success(), "the loopback device cannot be used");
    Ok(())
}

/// A directory that is removed at the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("bench-peers-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A node's directory with a configuration: what `GANETI_ROOTDIR` names.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) root: PathBuf,
}

impl Node {
    /// Makes one.
    pub(super) fn new(root: PathBuf, shape: Shape) -> Result<Node> {
        for dir in ["var/lib/ganeti", "var/log/ganeti", "var/run/ganeti", "run/ganeti", "var/lock"]
        {
            fs::create_dir_all(root.join(dir))?;
        }
        let node = Node { root };
        let data = node.data();
        fs::write(data.join("hmac.key"), KEY)?;
        let mut config: Value = serde_json::from_str(&generate_config::config_text(shape))?;
        // What this machine has no program for would end in errors on one side or the other.
        for (name, active) in [("drbd", false), ("lv", true), ("inst-status-xen", false)] {
            config["cluster"]["data_collectors"][name] =
                serde_json::json!({"active": active, "interval": 5_000_000});
        }
        fs::write(data.join("config.data"), config.to_string())?;
        let nodes: Vec<usize> = (0..shape.nodes).collect();
        let names = |count: usize| -> String {
            nodes[..count].iter().map(|i| generate_config::node_name(*i) + "\n").collect()
        };
        let primary: String = nodes
            .iter()
            .map(|i| {
                format!("{} {}\n", generate_config::node_name(*i), generate_config::node_ip(*i))
            })
            .collect();
        let files = [
            ("master_candidates_ips", "127.0.0.1\n".to_owned()),
            ("master_candidates", names(1)),
            ("master_node", names(1)),
            ("master_ip", "127.0.0.1\n".to_owned()),
            ("cluster_name", "bench.example.org\n".to_owned()),
            ("node_list", names(shape.nodes)),
            ("node_primary_ips", primary),
            ("primary_ip_family", "4\n".to_owned()),
            ("hypervisor_list", "kvm\n".to_owned()),
        ];
        for (key, text) in files {
            fs::write(data.join(format!("ssconf_{key}")), text)?;
        }
        Ok(node)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.join("var/lib/ganeti")
    }
}

/// Debian's root, made fit for its daemons.
pub(super) struct Peer {
    pub(super) root: PathBuf,
}

impl Peer {
    /// Mounts what its daemons need, and this node's directory.
    pub(super) fn prepare(root: &Path, node: &Node, scratch: &Path) -> Result<Peer> {
        let peer = Peer { root: root.to_owned() };
        let inside = |path: &str| root.join(path.trim_start_matches('/'));
        let bind = |from: &Path, to: &Path| {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(from), to, NONE, flags, NONE)
                .with_context(|| format!("cannot mount {} at {}", from.display(), to.display()))
        };
        fs::create_dir_all(inside(PEER_DATA))?;
        bind(&node.root, &inside(PEER_DATA))?;
        mount(Some("proc"), &inside("/proc"), Some("proc"), MsFlags::empty(), NONE)?;
        bind(Path::new("/dev"), &inside("/dev"))?;
        // It asks for the address of its host's name, and has no DNS.
        let hosts = scratch.join("hosts");
        fs::write(&hosts, format!("127.0.0.1 localhost {}\n", generate_config::node_name(0)))?;
        let target = inside("/etc/hosts");
        fs::OpenOptions::new().create(true).append(true).open(&target)?;
        bind(&hosts, &target)?;
        // It can read only lines of 14 fields, as kernels before 4.18 wrote them.
        let lines = fs::read_to_string("/proc/diskstats")?;
        let old = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().take(14).collect();
            fields.join(" ") + "\n"
        };
        let diskstats = scratch.join("diskstats");
        fs::write(&diskstats, lines.lines().map(old).collect::<String>())?;
        bind(&diskstats, &inside("/proc/diskstats"))?;
        Ok(peer)
    }
}
