//! The daemons of a node: start, kill, freeze, thaw, look.
//!
//! A daemon leaves its pid, as the node sees it, in `/run/ganeti/NAME.pid`.

use std::time::Duration;

use super::error::{Error, Result};
use super::libvirt;
use super::node::Node;
use super::process::{self, Stat, wait_until};

/// The daemons a status report looks for.
pub const KNOWN: &[&str] = &["libvirtd", "etcd", "noded", "masterd", "confd", "mond", "rapi"];

/// What a daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It runs.
    Running,
    /// It is stopped by a signal and will go on when thawed.
    Frozen,
}

/// Starts a daemon and returns when its start command has ended.
pub fn start(node: &Node<'_>, daemon: &str) -> Result<()> {
    if daemon == "libvirtd" {
        return if find(node, daemon).is_ok() { Ok(()) } else { libvirt::start(node) };
    }
    let argv = ["gnt", "daemon", "start", daemon];
    node.exec(&argv)?.success(&format!("{}: {}", node.name(), argv.join(" ")))?;
    Ok(())
}

/// Starts all daemons the node should have as a member of its cluster.
pub fn start_all(node: &Node<'_>) -> Result<()> {
    let argv = ["gnt", "daemon", "start-all"];
    node.exec(&argv)?.success(&format!("{}: {}", node.name(), argv.join(" ")))?;
    Ok(())
}

/// Kills a daemon without warning and returns when it is gone.
pub fn kill(node: &Node<'_>, daemon: &str) -> Result<()> {
    let found = find(node, daemon)?;
    found.signal(node, "KILL")?;
    let what = || format!("end of {daemon} on {}", node.name());
    wait_until(Duration::from_secs(30), what, || found.stat(node).is_none())
}

/// Stops a daemon where it is; it keeps its connections and answers nothing.
pub fn freeze(node: &Node<'_>, daemon: &str) -> Result<()> {
    let found = find(node, daemon)?;
    found.signal(node, "STOP")?;
    let what = || format!("freezing of {daemon} on {}", node.name());
    wait_until(Duration::from_secs(30), what, || found.stat(node).is_none_or(|s| s.state == 'T'))
}

/// Lets a frozen daemon go on.
pub fn thaw(node: &Node<'_>, daemon: &str) -> Result<()> {
    find(node, daemon)?.signal(node, "CONT")
}

/// What a daemon is doing; `None` when it does not run.
pub fn activity(node: &Node<'_>, daemon: &str) -> Option<Activity> {
    let stat = find(node, daemon).ok()?.stat(node)?;
    Some(if stat.state == 'T' { Activity::Frozen } else { Activity::Running })
}

/// How much memory of the machine a daemon occupies, KiB; `None` when it does not run.
pub fn memory(node: &Node<'_>, daemon: &str) -> Option<u64> {
    let pid = find(node, daemon).ok()?.pid;
    let status = node.read(&format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// A daemon's process, by the pid the node knows it by.
struct Found {
    pid: u32,
}

impl Found {
    fn stat(&self, node: &Node<'_>) -> Option<Stat> {
        let text = node.read(&format!("/proc/{}/stat", self.pid)).ok()?;
        Stat::parse(&String::from_utf8_lossy(&text)).filter(Stat::lives)
    }

    fn signal(&self, node: &Node<'_>, signal: &str) -> Result<()> {
        let script = format!("kill -{signal} {}", self.pid);
        node.exec(&["sh", "-c", &script])?.success(&format!("{}: {script}", node.name()))?;
        Ok(())
    }
}

fn find(node: &Node<'_>, daemon: &str) -> Result<Found> {
    let fail =
        |why: String| Error::NoDaemon { daemon: daemon.into(), node: node.name().into(), why };
    node.init()?;
    let pid_file = match daemon {
        "libvirtd" => libvirt::PID_FILE.to_owned(),
        "etcd" => "/run/etcd.pid".to_owned(),
        _ => format!("/run/ganeti/{daemon}.pid"),
    };
    let text = node.read(&pid_file).map_err(|_| fail(format!("it has no {pid_file}")))?;
    let text = String::from_utf8_lossy(&text);
    let pid: u32 = text.trim().parse().map_err(|_| fail(format!("{pid_file} holds no pid")))?;
    let found = Found { pid };
    let line = node.read(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = process::split_args(&line).into_iter().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    if found.stat(node).is_none() || !name.contains(daemon) {
        return Err(fail(format!("{pid_file} names process {pid}, which is not it")));
    }
    Ok(found)
}
