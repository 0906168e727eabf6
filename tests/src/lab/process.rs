//! Knowing a process again: a pid alone may have been given to somebody else since.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::{Context as _, Error, Result};

/// A process as the host sees it. Two processes with the same pid differ in when they started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid in the host's namespace.
    pub pid: i32,
    /// Clock ticks from the machine's boot to its start.
    started: u64,
}

impl Process {
    /// The living process with this pid.
    pub fn of(pid: i32) -> Option<Process> {
        let stat = Stat::read(&PathBuf::from(format!("/proc/{pid}/stat")))?;
        stat.lives().then_some(Process { pid, started: stat.started })
    }

    /// The calling process, by its pid in the namespace `/proc` belongs to (not `getpid`'s).
    pub fn me_in_proc() -> Result<Process> {
        let link = fs::read_link("/proc/self").what(|| "cannot read /proc/self".into())?;
        let pid = link.to_str().and_then(|s| s.parse().ok());
        pid.and_then(Process::of)
            .ok_or_else(|| Error::Invalid(format!("/proc/self leads to {}", link.display())))
    }

    /// Whether it still runs (a zombie does not).
    pub fn alive(&self) -> bool {
        Process::of(self.pid) == Some(*self)
    }

    /// Its command line; empty when it is gone.
    pub fn args(&self) -> Vec<String> {
        args(Path::new(&format!("/proc/{}", self.pid)))
    }

    /// A path as the process sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// Kills it and returns when it is gone. For the first process of a pid namespace this
    /// includes everything in that namespace: the kernel reaps it all first.
    pub fn kill_and_wait(&self, limit: Duration) -> Result<()> {
        if self.alive() {
            // It may end by itself in between.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
        wait_until(limit, || format!("end of process {}", self.pid), || !self.alive())
    }
}

/// Command line of the process with this folder in a proc file system.
pub fn args(proc_pid: &Path) -> Vec<String> {
    split_args(&fs::read(proc_pid.join("cmdline")).unwrap_or_default())
}

/// A command line as `/proc` tells it.
pub fn split_args(raw: &[u8]) -> Vec<String> {
    raw.split(|b| *b == 0)
        .filter(|a| !a.is_empty())
        .map(|a| String::from_utf8_lossy(a).into_owned())
        .collect()
}

/// The parts of `/proc/PID/stat` used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// One letter: R, S, D, T (stopped), Z (zombie), …
    pub state: char,
    /// Clock ticks from the machine's boot to the process's start.
    pub started: u64,
}

impl Stat {
    /// Reads a stat file; `None` when there is no such process.
    pub fn read(path: &Path) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(path).ok()?)
    }

    /// Understands a stat file's text.
    pub fn parse(text: &str) -> Option<Stat> {
        // The name is in parentheses and may hold blanks and parentheses itself.
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Stat { state, started: fields.nth(18)?.parse().ok()? })
    }

    /// Neither a zombie nor dead.
    pub fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// All living processes whose command line satisfies `wanted`.
pub fn find(wanted: impl Fn(&[String]) -> bool) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(Process::of)
        .filter(|p| wanted(&p.args()))
        .collect()
}

/// Polls a condition until it holds.
pub fn wait_until(
    limit: Duration,
    what: impl FnOnce() -> String,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            let (what, seconds) = (what(), limit.as_secs());
            return Err(Error::Timeout { what, seconds, hint: String::new() });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::exec;

    #[test]
    fn stat_survives_a_name_with_parentheses() {
        let line = format!("42 (a) b (c) T {} 777 0", vec!["1"; 18].join(" "));
        assert_eq!(Stat::parse(&line), Some(Stat { state: 'T', started: 777 }));
        assert_eq!(Stat::parse("42 (x) Z 1"), None);
    }

    #[test]
    fn a_process_is_known_again_and_killed() {
        let mut child = exec::command(&["sleep", "1000"]).spawn().unwrap();
        let p = Process::of(child.id() as i32).unwrap();
        assert!(p.alive());
        assert!(!Process { started: p.started + 1, ..p }.alive(), "another start, another process");
        p.kill_and_wait(Duration::from_secs(10)).unwrap();
        assert!(!p.alive(), "a zombie is not alive");
        child.wait().unwrap();
    }

    #[test]
    fn processes_are_found_by_their_arguments() {
        let mut child = exec::command(&["sleep", "1000.25"]).spawn().unwrap();
        let wanted = |a: &[String]| a == ["sleep", "1000.25"];
        wait_until(Duration::from_secs(10), || "exec".into(), || !find(wanted).is_empty()).unwrap();
        assert_eq!(find(wanted)[0].pid, child.id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
