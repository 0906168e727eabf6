//! Commands that outlive noded. When noded is killed, a script that it ran goes on; noded's next life
//! must not run another beside it. So a command that works on something durable is noted in a file
//! while it runs, and whoever comes next ends it first, with all it started.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use roost_proto::error::{Error, Result};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The kernel lets go of what was killed in this time, unless storage hangs.
const DIES: Duration = Duration::from_secs(10);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);

/// Notes a process that leads a group. A note of a former boot names nobody.
pub fn note(path: &Path, pid: u32) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let began = began(pid).unwrap_or_default();
    fs::write(path, format!("{} {pid} {began}", boot()))
}

/// The process has ended.
pub fn forget(path: &Path) {
    // That it is gone already is what was wanted; else it names a process that is no more.
    let _ = fs::remove_file(path);
}

/// Ends what is noted and still runs. Says whether there was something. Errors: it does not die.
pub async fn end(path: &Path) -> Result<bool> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(false) };
    let mut words = text.split_whitespace();
    let mut next = || words.next().unwrap_or_default().to_owned();
    let (noted, pid, start) = (next(), next().parse::<u32>().unwrap_or_default(), next());
    let lives = || noted == boot() && pid > 1 && began(pid).is_some_and(|began| began == start);
    let found = lives();
    let until = Instant::now() + DIES;
    while lives() {
        // It may have ended by itself in this moment.
        let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        if Instant::now() > until {
            return Err(Error::exec(format!(
                "Process {pid}, which the node daemon left running when it ended, cannot be killed: \
                 does its storage hang?"
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
    forget(path);
    Ok(found)
}

/// When a process that lives began, in the kernel's ticks.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name is in brackets and may have anything in it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::{Command, Pipes};

    #[tokio::test]
    async fn what_was_left_running_is_ended() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("notes/x");
        assert!(!end(&path).await.expect("nothing noted"));
        let shell = |script: &str| Command::new("sh").arg("-c").arg(script).noted(&path);
        shell("true").run().await.expect("run");
        assert!(!path.exists(), "it has ended");
        let (reader, writer) = std::io::pipe().expect("pipe");
        let pipes = Pipes { stdin: None, stdout: Some(writer.into()) };
        let running = shell("sleep 1000 & wait").start(pipes).expect("started");
        let note = fs::read_to_string(&path).expect("noted");
        let task = tokio::spawn(running.end());
        assert!(end(&path).await.expect("killed"));
        assert!(!task.await.expect("joined").expect("ended").ok());
        let text = std::io::read_to_string(reader).expect("all are gone");
        assert_eq!((text.as_str(), path.exists()), ("", false));
        // Its number is another process's by now.
        let pid = std::process::id();
        let words: Vec<&str> = note.split(' ').collect();
        fs::write(&path, format!("{} {pid} {}", words[0], words[2])).expect("write");
        assert!(!end(&path).await.expect("left alone"));
    }
}
