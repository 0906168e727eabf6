//! The first process of a node: furnishes the node's namespaces, then reaps.
//!
//! ```text
//!  gnt-lab up ─ unshare (net, mount, uts, ipc, pid) ─ gnt-lab node-init
//!                 report "starting" → mounts, host name → report "ready" → reap until killed
//! ```
//! Everything a node has hangs on this process: killing it is the power cut. Nothing is pinned in
//! the file system, so a lab whose tool was killed half-way leaves only processes behind, and
//! those are found again by their report or by their command line.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::error::{Context as _, Error, Result};
use super::layout::{EXT_DIR, Layout, OS_DIR, PRIVATE, SHARED_DIR, SWITCH};
use super::process::Process;
use super::state::write_json;
use super::uml::{self, Machine};

/// The hidden subcommand of `gnt-lab` that is a node's first process.
pub const SUBCOMMAND: &str = "node-init";

/// What the first process says about itself in `init.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Itself, as the host sees it.
    pub process: Process,
    /// How far it got.
    pub phase: Phase,
}

/// How far the first process got.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Mounting.
    Starting,
    /// The node can be entered.
    Ready,
    /// It gave up; the text says why.
    Failed(String),
}

impl Report {
    /// The last report of a node's first process, if there is one.
    pub fn read(layout: &Layout, node: &str) -> Option<Report> {
        serde_json::from_str(&fs::read_to_string(layout.init_report(node)).ok()?).ok()
    }
}

/// The arguments that make `gnt-lab` the first process of a node.
pub fn args(layout: &Layout, node: &str, os_dir: &Path, ext_dir: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    vec![SUBCOMMAND.into(), text(layout.dir()), node.into(), text(os_dir), text(ext_dir)]
}

/// Whether a command line (program first) is that of a node's first process in this lab; of any
/// node when `node` is `None`.
pub fn is_init(args: &[String], layout: &Layout, node: Option<&str>) -> bool {
    let [_, sub, dir, name, ..] = args else { return false };
    sub == SUBCOMMAND && Path::new(dir) == layout.dir() && node.is_none_or(|wanted| wanted == name)
}

/// Runs as the first process of a node. Returns only when it could not furnish the node.
pub fn run(
    layout: &Layout,
    node: &str,
    os_dir: &Path,
    ext_dir: &Path,
) -> Result<std::convert::Infallible> {
    // Until the node has its own /proc, this is the pid the host knows us by.
    let process = Process::me_in_proc()?;
    let report = |phase| write_json(&layout.init_report(node), &Report { process, phase });
    report(Phase::Starting)?;
    let machine = Machine::of(layout, node);
    let furnished = match &machine {
        None => furnish(layout, node, os_dir, ext_dir).map(|()| None),
        Some(machine) => {
            furnish_for_machine().and_then(|()| uml::host::start(layout, machine)).map(Some)
        }
    };
    match furnished {
        Err(e) => {
            report(Phase::Failed(e.to_string()))?;
            Err(e)
        }
        Ok(machine) => {
            report(Phase::Ready)?;
            match machine {
                None => reap(),
                Some(machine) => reap_until_end(node, machine.id()),
            }
        }
    }
}

/// The machine brings its own files; its cables are looked at from outside.
fn furnish_for_machine() -> Result<()> {
    change("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    fresh("proc", "/proc", "")?;
    fresh("sysfs", "/sys", "")
}

/// Returns when the machine has ended by itself; what is left of it ends with this process.
fn reap_until_end(node: &str, machine: u32) -> Result<std::convert::Infallible> {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid().is_some_and(|p| p.as_raw() as u32 == machine) => {
                return Err(Error::PowerLost { node: node.into() });
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e).what(|| "cannot wait for children".into()),
        }
    }
}

fn furnish(layout: &Layout, node: &str, os_dir: &Path, ext_dir: &Path) -> Result<()> {
    nix::unistd::sethostname(node).what(|| format!("cannot set host name {node}"))?;
    // Whatever the host does with its mounts from now on stays there, and ours stay here.
    change("/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
    fresh("proc", "/proc", "")?;
    // /sys/class/net shows the interfaces of whoever mounted it.
    fresh("sysfs", "/sys", "")?;
    let own = layout.node(node);
    bind(&own.join("hosts"), "/etc/hosts")?;
    if node != SWITCH {
        for (inside, name) in PRIVATE {
            bind_dir(&own.join(name), inside)?;
        }
        bind_dir(&layout.shared(), SHARED_DIR)?;
        for (source, inside) in [(os_dir, OS_DIR), (ext_dir, EXT_DIR)] {
            bind_dir(source, inside)?;
            change(inside, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY)?;
        }
    }
    // Last, because the lab's own folders must stay reachable until here.
    fresh("tmpfs", "/run", "mode=755")?;
    fs::create_dir_all("/run/lock").what(|| "cannot make /run/lock".into())
}

fn bind_dir(source: &Path, target: &str) -> Result<()> {
    // The mount point is made on the host: an empty folder where Ganeti would have one too.
    fs::create_dir_all(target).what(|| format!("cannot make {target}"))?;
    bind(source, target)
}

fn bind(source: &Path, target: &str) -> Result<()> {
    let none = None::<&str>;
    mount(Some(source), target, none, MsFlags::MS_BIND, none)
        .what(|| format!("cannot bind {} to {target}", source.display()))
}

fn fresh(kind: &str, target: &str, options: &str) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .what(|| format!("cannot mount a {kind} on {target}"))
}

fn change(target: &str, flags: MsFlags) -> Result<()> {
    let none = None::<&str>;
    mount(none, target, none, flags, none).what(|| format!("cannot change the mount of {target}"))
}

/// libvirtd waits for daemonised QEMU processes to vanish, so somebody must reap them.
fn reap() -> Result<std::convert::Infallible> {
    let mut child = SigSet::empty();
    child.add(Signal::SIGCHLD);
    child.thread_block().what(|| "cannot block SIGCHLD".into())?;
    loop {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e).what(|| "cannot wait for children".into()),
            }
        }
        child.wait().what(|| "cannot wait for SIGCHLD".into())?;
    }
}

/// Reads the report until the node is ready; `gone` tells that its process ended early.
pub fn wait_ready(
    layout: &Layout,
    node: &str,
    limit: std::time::Duration,
    mut gone: impl FnMut() -> bool,
) -> Result<Process> {
    let mut outcome = None;
    super::process::wait_until(
        limit,
        || format!("furnishing of {node}"),
        || {
            let ended = gone();
            outcome = match Report::read(layout, node) {
                Some(Report { process, phase: Phase::Ready }) => Some(Ok(process)),
                Some(Report { phase: Phase::Failed(why), .. }) => Some(Err(why)),
                _ if ended => Some(Err(log_tail(layout, node))),
                _ => None,
            };
            outcome.is_some()
        },
    )?;
    let outcome = outcome.unwrap_or_else(|| Err("no report".into()));
    outcome.map_err(|why| Error::Init { node: node.into(), why })
}

fn log_tail(layout: &Layout, node: &str) -> String {
    let log = fs::read_to_string(layout.init_log(node)).unwrap_or_default();
    format!("its first process ended: {}", log.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_process_is_recognised_by_its_arguments_only_in_its_own_lab() {
        let lab = Layout::at(Path::new("/l/a"));
        let mut line = vec!["/x/gnt-lab".to_owned()];
        line.extend(args(&lab, "node1", Path::new("/os"), Path::new("/ext")));
        assert!(is_init(&line, &lab, Some("node1")));
        assert!(is_init(&line, &lab, None));
        assert!(!is_init(&line, &lab, Some("node2")));
        assert!(!is_init(&line, &Layout::at(Path::new("/l/b")), None));
        line.insert(0, "unshare".into());
        assert!(!is_init(&line, &lab, None));
    }

    #[test]
    fn a_failure_is_reported_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let lab = Layout::new(root.path(), "a");
        fs::create_dir_all(lab.node("node1")).unwrap();
        let process = Process::me_in_proc().unwrap();
        let report = Report { process, phase: Phase::Failed("no room".into()) };
        write_json(&lab.init_report("node1"), &report).unwrap();
        let second = std::time::Duration::from_secs(1);
        let e = wait_ready(&lab, "node1", second, || false).unwrap_err();
        assert_eq!(e.to_string(), "node1 could not furnish its namespaces: no room");
    }
}
