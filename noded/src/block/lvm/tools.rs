//! Runs LVM's commands: all of them are one program, `lvm`.
//!
//! Every command has a deadline, speaks English and reports as JSON. A machine without udev (a
//! container, a very small system) makes no device nodes by itself: there LVM is told to make
//! them, by `DM_DISABLE_UDEV`. Where udev runs, LVM leaves it to that, as ever.

use crate::exec::{Command, Output, PATH};
use roost_proto::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long reading may take: LVM looks at every device, and waits for others that change a group.
const READ: Duration = Duration::from_secs(30);
/// How long a change may take.
const CHANGE: Duration = Duration::from_secs(180);
/// A command that waits for a dead device cannot even be killed; it is not waited for longer.
const UNKILLABLE: Duration = Duration::from_secs(5);
/// Output kept, bytes: a node with ten thousand volumes can be read.
const KEPT: usize = 8 << 20;
/// Where udev listens, if it runs.
const UDEV: &str = "/run/udev/control";

/// LVM's program on this machine, or a stand-in for tests.
#[derive(Clone, Debug)]
pub struct Tools {
    program: PathBuf,
    read: Duration,
}

/// What a report said.
#[derive(Debug)]
pub struct Report {
    /// JSON.
    pub text: Vec<u8>,
    /// Warnings and complaints.
    pub words: Vec<String>,
    /// Nothing went wrong: what is not in it does not exist.
    pub whole: bool,
}

impl Tools {
    /// Those of this machine.
    pub fn of_this_machine() -> Tools {
        let dirs = PATH.split(':').map(Path::new);
        let program = dirs.map(|dir| dir.join("lvm")).find(|program| program.exists());
        // It may be installed later, and is found then.
        Tools { program: program.unwrap_or_else(|| "/sbin/lvm".into()), read: READ }
    }

    #[cfg(test)]
    pub fn stand_in(program: PathBuf, read: Duration) -> Tools {
        Tools { program, read }
    }

    /// Whether there is LVM here at all. Cheap.
    pub fn are_there(&self) -> bool {
        self.program.exists()
    }

    fn command(&self, verb: &str) -> Result<Command> {
        if !self.are_there() {
            return Err(Error::environment(
                "There is no LVM on this node: install the package lvm2, or use another disk \
                 template",
            ));
        }
        let mut command = Command::new(&self.program)
            .arg(verb)
            .env("LC_ALL", "C")
            .env("LVM_SUPPRESS_FD_WARNINGS", "1");
        if !Path::new(UDEV).exists() {
            command = command.env("DM_DISABLE_UDEV", "1");
        }
        Ok(command)
    }

    /// Runs `lvs`, `pvs` or `vgs` over everything, sizes in bytes. Errors: it did not end.
    pub async fn report(&self, verb: &str, fields: &str) -> Result<Report> {
        let run = self
            .command(verb)?
            .args(["--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields])
            .keep(KEPT)
            .deadline(self.read)
            .run_apart();
        let (end, text) = within(self.read, verb, run).await?;
        if end.status.is_none() {
            return Err(hangs(verb, &end.end));
        }
        Ok(Report { text, words: words(&end), whole: end.ok() })
    }

    /// Runs a command that changes something. What it says is in the error.
    pub async fn change<A: Into<std::ffi::OsString>>(
        &self,
        verb: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<String>> {
        let run = self.command(verb)?.args(args).deadline(CHANGE).run();
        let end = within(CHANGE, verb, run).await?;
        if end.ok() {
            return Ok(words(&end));
        }
        if end.status.is_none() {
            return Err(hangs(verb, &end.end));
        }
        let said = words(&end);
        // Warnings come with every command while something else is wrong.
        let complaints: Vec<_> =
            said.iter().filter(|line| !line.starts_with("WARNING")).map(String::as_str).collect();
        let said = if complaints.is_empty() { end.last_lines(3) } else { complaints.join("; ") };
        Err(Error::exec(format!("{verb} {}: {said}", end.end)))
    }
}

async fn within<T>(limit: Duration, verb: &str, run: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit + UNKILLABLE, run).await {
        Ok(result) => result,
        Err(_) => Err(hangs(verb, &format!("did not end within {} s", limit.as_secs_f64()))),
    }
}

fn hangs(verb: &str, end: &str) -> Error {
    Error::environment(format!(
        "LVM hangs on this node: {verb} {end}. Another LVM command may hold its lock, or a physical \
         volume does not answer: see 'dmesg' and 'ps -C lvm'"
    ))
}

/// The lines a command said, without indentation.
fn words(end: &Output) -> Vec<String> {
    end.text().lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, text: &str) -> Tools {
        let program = dir.join("lvm");
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mode");
        Tools::stand_in(program, Duration::from_secs(20))
    }

    #[tokio::test]
    async fn warnings_do_not_get_into_reports() {
        let dir = tempfile::tempdir().expect("directory");
        let tools = script(dir.path(), "echo '{'; echo '  WARNING: x' >&2; echo '}'; exit 5");
        let report = tools.report("lvs", "lv_name").await.expect("a report");
        assert_eq!(String::from_utf8_lossy(&report.text), "{\n}\n");
        assert_eq!(report.words, ["WARNING: x"]);
        assert!(!report.whole);
    }

    #[tokio::test]
    async fn errors_are_without_warnings() {
        let dir = tempfile::tempdir().expect("directory");
        let tools = script(dir.path(), "echo '  WARNING: old'; echo '  no room' >&2; exit 5");
        let error = tools.change("lvcreate", ["x"]).await.expect_err("it failed");
        assert_eq!(error.message, "lvcreate exited with code 5: no room");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_given_up() {
        let dir = tempfile::tempdir().expect("directory");
        let mut tools = script(dir.path(), "exec sleep 100");
        tools.read = Duration::from_millis(100);
        let error = tools.report("lvs", "lv_name").await.expect_err("it hangs");
        assert!(error.message.contains("LVM hangs on this node: lvs did not end"), "{error}");
    }

    #[tokio::test]
    async fn no_lvm_is_said() {
        let tools = Tools::stand_in("/nonexistent/lvm".into(), READ);
        assert!(!tools.are_there());
        let error = tools.report("lvs", "lv_name").await.expect_err("none");
        assert!(error.message.contains("install the package lvm2"), "{error}");
    }
}
