//! What a lab remembers on disk: what it is and which wires are cut. Living processes are not in
//! here: each node's first process reports itself, see [`super::init`].

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::error::{Context as _, Error, Result};
use super::layout::Layout;

/// What runs the guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Hypervisor {
    /// Real QEMU guests; every node has its own libvirtd.
    Kvm,
    /// Simulated guests; no libvirtd.
    Fake,
}

impl Hypervisor {
    /// Ganeti's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Hypervisor::Kvm => "kvm",
            Hypervisor::Fake => "fake",
        }
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// Namespaces of this machine's kernel.
    #[default]
    Host,
    /// A machine of its own, as user-mode Linux: with LVM, DRBD and disks.
    Uml,
}

/// Two places that do not hear each other; `b` is `None` when `a` hears nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// A node.
    pub a: String,
    /// A node, or the switch (the outside).
    pub b: Option<String>,
}

/// The lab's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How many nodes.
    pub nodes: usize,
    /// What runs their guests.
    pub hypervisor: Hypervisor,
    /// What nodes are.
    #[serde(default)]
    pub kernel: Kernel,
    /// The first nodes have an etcd.
    #[serde(default)]
    pub etcd: bool,
    /// Wires that are cut.
    #[serde(default)]
    pub cuts: Vec<Cut>,
}

impl State {
    /// Whether it is the same lab, whatever happens in it.
    pub fn is_like(&self, other: &State) -> bool {
        let kind = |s: &State| (s.nodes, s.hypervisor, s.kernel, s.etcd);
        kind(self) == kind(other)
    }

    /// The lab's state; `None` when there is no such lab.
    pub fn load(layout: &Layout) -> Result<Option<State>> {
        let path = layout.state();
        match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            text => {
                let text = text.what(|| format!("cannot read {}", path.display()))?;
                let bad = |e: serde_json::Error| Error::State { path, why: e.to_string() };
                serde_json::from_str(&text).map(Some).map_err(bad)
            }
        }
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, layout: &Layout) -> Result<()> {
        write_json(&layout.state(), self)
    }
}

/// Writes a JSON file, whole or not at all.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).expect("plain data always has a JSON form");
    let new = path.with_extension("new");
    fs::write(&new, text).what(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, path).what(|| format!("cannot replace {}", path.display()))
}

/// Held while a lab is being changed; released when dropped, also by a killed process.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<fs::File>,
}

impl Lock {
    /// Waits for its turn.
    pub fn take(layout: &Layout) -> Result<Lock> {
        let path = layout.lock();
        let what = || format!("cannot lock {}", path.display());
        if let Some(root) = path.parent() {
            fs::create_dir_all(root).what(|| format!("cannot make {}", root.display()))?;
        }
        loop {
            let file = fs::File::create(&path).what(what)?;
            let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e).what(what)?;
            // Taking a lab down removes the file: what was waited for may not be the lock any more.
            let held = file.metadata().what(what)?.ino();
            if fs::metadata(&path).is_ok_and(|now| now.ino() == held) {
                return Ok(Lock { _file: file });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_comes_back_as_written() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), "x");
        assert_eq!(State::load(&layout).unwrap(), None);
        fs::create_dir_all(layout.dir()).unwrap();
        let cuts = vec![Cut { a: "node1".into(), b: None }];
        let (hypervisor, kernel) = (Hypervisor::Fake, Kernel::Uml);
        let state = State { nodes: 2, hypervisor, kernel, etcd: true, cuts };
        state.save(&layout).unwrap();
        assert_eq!(State::load(&layout).unwrap(), Some(state));
        fs::write(layout.state(), "{").unwrap();
        assert!(matches!(State::load(&layout), Err(Error::State { .. })));
    }

    #[test]
    fn a_lock_is_free_again_once_dropped() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path(), "x");
        drop(Lock::take(&layout).unwrap());
        drop(Lock::take(&layout).unwrap());
    }
}
