//! What can be done to a lab beyond wires and power: whole nodes frozen, disks filled, settings
//! of daemons; and how a masterd is reached from outside its node.
//!
//! ```text
//!   Options::data_mib ── a tmpfs of that size on nodes/NODE/lib-ganeti, outside the node: it
//!                        survives a power cut, and goes when the lab is taken down
//!   fill ── a file takes all that is free there ── unfill: it is gone again
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::daemon::{self, Activity};
use super::error::{Context as _, Error, Result};
use super::layout::{Layout, node_name};
use super::node::Node;
use super::{Lab, Options, state, uml};

/// Where a node keeps the cluster's state.
const DATA: &str = "/var/lib/ganeti";
/// The file that takes the room.
const FILLER: &str = ".gnt-lab-fill";
/// Of root's processes the client's socket is found here.
pub(super) const MASTER_SOCKET: &str = "/run/ganeti/socket/ganeti-master";

/// The last lines of one log.
#[derive(Debug, Clone)]
pub struct LogPlace {
    path: PathBuf,
    from: u64,
}

impl LogPlace {
    /// What was written since.
    pub fn since(&self) -> String {
        let text = fs::read(&self.path).unwrap_or_default();
        let from = usize::try_from(self.from).unwrap_or(0).min(text.len());
        String::from_utf8_lossy(&text[from..]).into_owned()
    }
}

impl Lab {
    /// Stops everything on a node that the cluster knows of: it keeps its connections and answers
    /// nothing, as a machine that hangs.
    pub fn freeze_node(&self, node: &str) -> Result<()> {
        if self.node(node)?.machine().is_some() {
            return self.node(node)?.freeze();
        }
        self.each_daemon(node, Activity::Running, daemon::freeze)
    }

    /// Lets a frozen node go on.
    pub fn thaw_node(&self, node: &str) -> Result<()> {
        if self.node(node)?.machine().is_some() {
            return self.node(node)?.thaw();
        }
        self.each_daemon(node, Activity::Frozen, daemon::thaw)
    }

    fn each_daemon(
        &self,
        node: &str,
        now: Activity,
        change: fn(&Node<'_>, &str) -> Result<()>,
    ) -> Result<()> {
        let node = self.node(node)?;
        // The master first: it must not see its own node silent.
        for daemon in daemon::KNOWN.iter().rev() {
            if daemon::activity(&node, daemon) == Some(now) {
                change(&node, daemon)?;
            }
        }
        Ok(())
    }

    /// Takes all the room there is for the cluster's state on a node.
    ///
    /// Errors: the lab was made without [`Options::data_mib`], so that the room is the machine's.
    pub fn fill(&self, node: &str) -> Result<()> {
        let dir = self.data_dir(node)?;
        let path = dir.join(FILLER);
        let what = || format!("cannot fill {}", dir.display());
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).what(what)?;
        let mut size = 1 << 20;
        while size > 0 {
            match file.write_all(&vec![b'x'; size]) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::StorageFull => size /= 16,
                Err(e) => return Err(e).what(what),
            }
        }
        Ok(())
    }

    /// Gives the room back; fine when it was not taken.
    pub fn unfill(&self, node: &str) -> Result<()> {
        let path = self.data_dir(node)?.join(FILLER);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).what(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn data_dir(&self, node: &str) -> Result<PathBuf> {
        let dir = self.host_path(node, DATA)?;
        if mounts_below(&dir).is_empty() {
            return Err(Error::Invalid(format!(
                "{} is not limited, filling it would fill this machine: bring the lab up with \
                 --data-size",
                dir.display()
            )));
        }
        Ok(dir)
    }

    /// A file's contents, of a node with power.
    pub fn read(&self, node: &str, inside: &str) -> Result<Vec<u8>> {
        self.node(node)?.read(inside)
    }

    /// Writes a file on a node with power, whole or not at all.
    pub fn write(&self, node: &str, inside: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.node(node)?.write(inside, mode, bytes)
    }

    /// Where one of a node's own folders lies, with or without power; also files below them. Nodes
    /// with a kernel of their own keep most of theirs on their own disks.
    pub fn host_path(&self, node: &str, inside: &str) -> Result<PathBuf> {
        let name = self.canonical(node)?;
        let machine = self.node(&name)?.machine().is_some();
        if machine && !uml::ON_HOST.iter().any(|path| Path::new(inside).starts_with(path)) {
            return Err(Error::Invalid(format!(
                "{inside} of {name} lies on its own disk: use Lab::read, Lab::write or exec"
            )));
        }
        let found = super::layout::PRIVATE.iter().find_map(|(path, _)| {
            let rest = Path::new(inside).strip_prefix(path).ok()?;
            Some(self.layout.private(&name, path)?.join(rest))
        });
        found.ok_or_else(|| Error::Invalid(format!("{inside} is in no folder of a node's own")))
    }

    /// The end of a daemon's log, to read what is written from now on.
    pub fn log_place(&self, node: &str, daemon: &str) -> Result<LogPlace> {
        let path = self.host_path(node, &format!("/var/log/ganeti/{daemon}.log"))?;
        let from = fs::metadata(&path).map_or(0, |m| m.len());
        Ok(LogPlace { path, from })
    }

    /// A daemon's whole log.
    pub fn log(&self, node: &str, daemon: &str) -> Result<String> {
        let place = self.log_place(node, daemon)?;
        Ok(LogPlace { from: 0, ..place }.since())
    }

    /// The socket of a node's masterd, as this process can reach it.
    pub fn master_socket(&self, node: &str) -> Result<PathBuf> {
        let node = self.node(node)?;
        let init = node.init()?;
        Ok(match node.machine() {
            Some(_) => uml::master_socket(&self.layout, node.name()),
            None => init.path(MASTER_SOCKET),
        })
    }

    /// Remembers the settings of [`Options`] that concern daemons.
    pub(super) fn settle(&self) -> Result<()> {
        let Options { environment, data_mib, .. } = &self.options;
        if !environment.is_empty() {
            state::write_json(&environment_file(&self.layout), environment)?;
        }
        let Some(mib) = data_mib else { return Ok(()) };
        for n in 1..=self.state.nodes {
            let node = Node::new(&self.layout, &node_name(n));
            node.make_folders(self.state.nodes)?;
            let dir = self.host_path(node.name(), DATA)?;
            if mounts_below(&dir).is_empty() {
                let size = format!("size={mib}m,mode=755");
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount(Some("gnt-lab"), &dir, Some("tmpfs"), flags, Some(size.as_str()))
                    .what(|| format!("cannot mount a tmpfs on {}", dir.display()))?;
            }
        }
        Ok(())
    }
}

fn environment_file(layout: &Layout) -> PathBuf {
    layout.dir().join("environment.json")
}

/// What every command of the lab's nodes finds in its environment, and so its daemons.
pub(super) fn environment(layout: &Layout) -> BTreeMap<String, String> {
    let text = fs::read_to_string(environment_file(layout)).unwrap_or_default();
    // Most labs have none.
    serde_json::from_str(&text).unwrap_or_default()
}

/// Unmounts what [`Lab::settle`] mounted.
pub(super) fn unmount(layout: &Layout) -> Result<()> {
    for dir in mounts_below(layout.dir()) {
        umount2(&dir, MntFlags::MNT_DETACH).what(|| format!("cannot unmount {}", dir.display()))?;
    }
    Ok(())
}

/// Mount points at or below a folder, the deepest first.
fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut found: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    found.sort_by_key(|point| std::cmp::Reverse(point.as_os_str().len()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_log_shows_what_came_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "before\n").unwrap();
        let place = LogPlace { path: path.clone(), from: 7 };
        assert_eq!(place.since(), "");
        fs::write(&path, "before\nafter\n").unwrap();
        assert_eq!(place.since(), "after\n");
    }

    #[test]
    fn mounts_are_found_by_their_folder() {
        assert!(mounts_below(Path::new("/proc")).contains(&PathBuf::from("/proc")));
        assert!(mounts_below(Path::new("/no/such/folder")).is_empty());
    }
}
