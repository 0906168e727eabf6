//! Nodes that are machines of their own: user-mode Linux, with a kernel, block devices and a system
//! of their own.
//!
//! ```text
//!   host ── gnt-lab node-init          first process of the node's namespaces, see [`host`]
//!             ├── linux.uml            the machine; it dies with the namespaces: that is a power cut
//!             │     └── gnt-lab machine-init    process 1 inside, see [`boot`]
//!             │           └── gnt-lab machine-agent      runs commands, see [`agent`]
//!             │                    ▲
//!             └── agent.sock ────────┘  over a cable that nothing inside sees and no cut reaches
//!                    ▲
//!   gnt-lab machine-exec ── a command's standard streams and exit code, see [`client`]
//! ```
//!
//! The root file system is a layer (`system.cow`) over an image that `scripts/build-uml-node` makes
//! once. It has a journal, as all a node writes must survive a power cut. The project's programs and
//! what all nodes share come in through hostfs.

pub mod agent;
pub mod boot;
pub mod client;
pub mod host;
mod image;
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{Context as _, Result};
use super::layout::{EXT_DIR, Layout, OS_DIR, SHARED_DIR, node_number};
use super::state::{Hypervisor, write_json};
use super::{Options, exec};

/// The volume group of every node.
pub const VOLUME_GROUP: &str = "xenvg";
/// What the host must have for it: (program, Debian package).
pub const PROGRAMS: &[(&str, &str)] =
    &[("linux.uml", "user-mode-linux"), ("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")];
/// Where the tiny guest lies, on the host and in every node.
const TINY: &str = "/var/lib/roost/tiny";
/// The kernel's modules on the host.
const MODULES: &str = "/usr/lib/uml/modules";

/// One machine: what it has, and what it sees of the host. Written at the first power on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Which node, from 1.
    pub number: usize,
    /// Host name.
    pub name: String,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Files of the disks in its volume group, in the node's folder.
    pub disks: Vec<String>,
    /// Size of each of them, MiB.
    pub disk_mib: u64,
    /// What the root file system is a layer of.
    pub image: PathBuf,
    /// Folder of the built programs.
    pub programs: PathBuf,
    /// Folders of the host it sees.
    pub folders: Vec<Folder>,
    /// Text of `/etc/hosts`.
    pub hosts: String,
}

/// A folder of the host that a machine sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Where on the host.
    pub host: PathBuf,
    /// Where in the machine.
    pub inside: PathBuf,
    /// Whether it can be written to.
    pub writable: bool,
}

/// The node's own folders that lie on the host all the same, so that they can be read and prepared
/// without power. Everything else a node writes is on its own disk.
pub const ON_HOST: &[&str] = &["/var/log/ganeti", "/var/log/libvirt", "/etc/etcd"];

impl Machine {
    /// A new one as the options say.
    pub fn new(options: &Options, layout: &Layout, node: &str, nodes: usize) -> Result<Machine> {
        let memory = match options.hypervisor {
            Hypervisor::Fake => 256,
            Hypervisor::Kvm => 900,
        };
        let folder = |host: PathBuf, inside: PathBuf, writable| Folder { host, inside, writable };
        let mut folders = vec![
            folder(layout.bin(), layout.bin(), false),
            folder(layout.shared(), SHARED_DIR.into(), true),
            folder(options.os_dir.clone(), OS_DIR.into(), false),
            folder(options.ext_dir.clone(), EXT_DIR.into(), false),
            folder(MODULES.into(), "/usr/lib/modules".into(), false),
        ];
        for inside in ON_HOST {
            folders
                .extend(layout.private(node, inside).map(|dir| folder(dir, inside.into(), true)));
        }
        if Path::new(TINY).exists() {
            folders.push(folder(TINY.into(), TINY.into(), false));
        }
        Ok(Machine {
            number: node_number(node).unwrap_or_default(),
            name: node.into(),
            memory_mib: options.memory_mib.unwrap_or(memory),
            disks: (1..=options.disks).map(|n| format!("disk{n}")).collect(),
            disk_mib: options.disk_mib,
            image: image::current()?,
            programs: options.programs.clone(),
            folders,
            hosts: super::layout::hosts(nodes),
        })
    }

    /// The machine a node is; `None` when it is namespaces of the host's kernel.
    pub fn of(layout: &Layout, node: &str) -> Option<Machine> {
        Machine::read(&layout.node(node).join(FILE))
    }

    fn read(path: &Path) -> Option<Machine> {
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    }

    /// Writes it and makes its disks: sparse files that are there already stay.
    pub fn save(&self, layout: &Layout) -> Result<()> {
        let dir = layout.node(&self.name);
        for disk in &self.disks {
            let path = dir.join(disk);
            let what = || format!("cannot make {}", path.display());
            let file = fs::OpenOptions::new().create(true).append(true).open(&path).what(what)?;
            file.set_len(self.disk_mib << 20).what(what)?;
        }
        write_json(&dir.join(FILE), self)
    }

    /// A command on the host that runs `argv` inside with the environment it is given itself.
    pub fn command(&self, layout: &Layout, argv: &[&str]) -> std::process::Command {
        let program = self.programs.join("gnt-lab").display().to_string();
        let socket = agent_socket(layout, &self.name).display().to_string();
        exec::command(
            &[&[program.as_str(), client::SUBCOMMAND, &self.name, &socket, "--"], argv].concat(),
        )
    }
}

/// Tells a machine's folder from that of a node in namespaces.
const FILE: &str = "machine.json";

/// The socket its agent is reached by, on the host.
pub fn agent_socket(layout: &Layout, node: &str) -> PathBuf {
    layout.node(node).join("agent.sock")
}

/// The socket its masterd is reached by, on the host.
pub fn master_socket(layout: &Layout, node: &str) -> PathBuf {
    layout.node(node).join("master.sock")
}

/// Makes sure that there is a current image; builds it if not.
pub fn prepare() -> Result<()> {
    image::build()
}

/// A file in a machine that runs.
pub fn read(layout: &Layout, node: &str, path: &str) -> Result<Vec<u8>> {
    client::read(node, &agent_socket(layout, node), path)
}

/// Writes a file in a machine that runs, whole or not at all.
pub fn write(layout: &Layout, node: &str, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    client::write(node, &agent_socket(layout, node), path, mode, bytes)
}

/// The environment a client passes on.
type Environment = BTreeMap<String, String>;
