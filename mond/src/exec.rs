//! Runs commands: the one place that does.
//!
//! Every command has a clean environment, no input, a process group of its own (so that its deadline ends
//! all of it) and standard output apart from standard error. What it prints is kept in memory up to a limit:
//! a command that prints more than anybody wants to read has failed.

use roost_proto::error::{Error, ErrorType, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;

/// The search path of every command, as Ganeti sets it.
pub const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin";

/// The most that a command may print, bytes.
pub const LARGEST: usize = 4 << 20;
/// Of its complaints the end is kept, bytes.
const COMPLAINTS: usize = 16 << 10;
/// Unless somebody says otherwise, a command may take so long.
const DEADLINE: Duration = Duration::from_secs(5);
/// Something that a command left running may hold its output open; it is ended after this.
const STRAGGLER: Duration = Duration::from_millis(500);

/// A command to run.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    deadline: Duration,
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    /// Exit status; 128 + signal if it was killed by one, as shells say.
    pub code: i32,
    /// In words: `exited with code 1`, `was killed by signal 9`.
    pub end: String,
    /// What it printed on standard output.
    pub stdout: Vec<u8>,
    /// The end of what it printed on standard error.
    pub stderr: String,
}

impl Output {
    /// It exited with 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// The last line that is not empty of what it complained.
    pub fn last_words(&self) -> &str {
        self.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
    }
}

impl Command {
    /// A program, found on [`PATH`] unless it is a path. It may take five seconds.
    pub fn new(program: impl Into<OsString>) -> Command {
        Command {
            program: program.into(),
            args: vec![],
            env: BTreeMap::from([
                ("PATH".to_owned(), PATH.into()),
                ("LC_ALL".to_owned(), "C".into()),
            ]),
            deadline: DEADLINE,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Command {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Command {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment, which else has only `PATH` and `LC_ALL=C`.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Command {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Kills it and all it started when it takes longer.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Command {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end. Errors: it is not there ([`is_missing`]), cannot be started, did not end in
    /// time, or printed too much. That it failed is in the output.
    pub async fn run(self) -> Result<Output> {
        let name = self.program.to_string_lossy().into_owned();
        let mut group = Group(self.spawn().map_err(|e| unstarted(&name, &e))?);
        let pid = group.0.id();
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(Error::internal(format!("The command '{name}' has no output")));
        };
        let (mut printed, mut complained) = (vec![], vec![]);
        let end = {
            let output = async {
                let fits = keep_all(stdout, &mut printed).await;
                if !fits {
                    kill(pid);
                }
                fits
            };
            let reading = async { tokio::join!(output, keep_end(stderr, &mut complained)).0 };
            let mut reading = std::pin::pin!(reading);
            tokio::time::timeout(self.deadline, async {
                tokio::select! {
                    status = group.0.wait() => {
                        let read = tokio::time::timeout(STRAGGLER, &mut reading).await;
                        // What it left running holds its output and with it the group's number.
                        (status, read.unwrap_or_else(|_| { kill(pid); true }))
                    }
                    fits = &mut reading => (group.0.wait().await, fits),
                }
            })
            .await
        };
        let (status, fits) = end.map_err(|_| {
            let limit = self.deadline.as_secs_f64();
            Error::environment(format!("The command '{name}' did not end within {limit} s"))
        })?;
        if !fits {
            let limit = LARGEST >> 20;
            return Err(Error::environment(format!(
                "The command '{name}' prints more than {limit} MiB"
            )));
        }
        let status = status.map_err(|e| {
            Error::environment(format!("Cannot wait for the command '{name}': {e}"))
        })?;
        let stderr = String::from_utf8_lossy(&complained).into_owned();
        Ok(Output { code: code(status), end: words(status), stdout: printed, stderr })
    }

    /// Runs it; any failure is an error that tells its last words. Returns its standard output.
    pub async fn run_ok(self) -> Result<Vec<u8>> {
        let name = self.program.to_string_lossy().into_owned();
        let output = self.run().await?;
        if output.ok() {
            return Ok(output.stdout);
        }
        let (end, why) = (&output.end, output.last_words());
        Err(Error::environment(match why {
            "" => format!("The command '{name}' {end} and did not say why"),
            why => format!("The command '{name}' {end}: {why}"),
        }))
    }

    /// Starts a copy of this program that talks over its standard input and output; it keeps this
    /// program's environment and standard error, and ends with what is returned.
    #[allow(clippy::disallowed_methods, reason = "this is the exec module")]
    pub fn spawn_ourselves(
        args: &[OsString],
        stdin: std::os::fd::OwnedFd,
        stdout: std::os::fd::OwnedFd,
    ) -> Result<Ourselves> {
        let program = std::env::current_exe()
            .map_err(|e| Error::environment(format!("Cannot tell where this program is: {e}")))?;
        tokio::process::Command::new(&program)
            .args(args)
            .stdin(stdin)
            .stdout(stdout)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map(Ourselves)
            .map_err(|e| unstarted(&program.to_string_lossy(), &e))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the exec module")]
    fn spawn(&self) -> std::io::Result<Child> {
        tokio::process::Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// A copy of this program at work. Dropped, it is killed.
#[derive(Debug)]
pub struct Ourselves(Child);

impl Ourselves {
    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.0.id()
    }

    /// Waits for its end: in words.
    pub async fn end(&mut self) -> String {
        match self.0.wait().await {
            Ok(status) => words(status),
            Err(error) => format!("cannot be waited for: {error}"),
        }
    }
}

/// Whether it failed because the program is not on this machine.
pub fn is_missing(error: &Error) -> bool {
    error.error_type == Some(ErrorType::UnknownEntity)
}

/// Where a program is on [`PATH`]; `None`: this machine does not have it.
pub fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// A command and all it started: killed when this is dropped before its end.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        kill(self.0.id());
    }
}

/// Kills a process group; `None`: it has ended.
fn kill(group: Option<u32>) {
    if let Some(group) = group {
        let group = nix::unistd::Pid::from_raw(group.cast_signed());
        // It may have ended by itself in this moment.
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Keeps everything; false: it is too much, and not read to its end.
async fn keep_all(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) -> bool {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if into.len() + n > LARGEST {
            return false;
        }
        into.extend_from_slice(&buffer[..n]);
    }
    true
}

/// Keeps the end.
async fn keep_end(mut from: impl AsyncRead + Unpin, into: &mut Vec<u8>) {
    let mut buffer = vec![0; 4 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        into.extend_from_slice(&buffer[..n]);
        if into.len() > 2 * COMPLAINTS {
            into.drain(..into.len() - COMPLAINTS);
        }
    }
}

fn unstarted(name: &str, error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Error::unknown(format!("This machine has no command '{name}'"));
    }
    Error::environment(format!("Cannot start the command '{name}': {error}"))
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn the_environment_is_clean_and_errors_are_apart() {
        let output = shell("echo a; echo b >&2; env; pwd; cat").env("X", "1").run().await.unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(text.starts_with("a\n") && text.ends_with("/\n"), "{text}");
        assert!(text.contains("X=1\n") && text.contains(&format!("PATH={PATH}\n")), "{text}");
        assert!(text.contains("LC_ALL=C\n") && !text.contains("HOME="), "{text}");
        assert_eq!((output.stderr.as_str(), output.ok()), ("b\n", true));
    }

    #[tokio::test]
    async fn a_failure_tells_the_last_words() {
        let error = shell("echo first >&2; echo why >&2; echo >&2; exit 3").run_ok().await;
        assert_eq!(error.unwrap_err().message, "The command 'sh' exited with code 3: why");
        let output = shell("kill -9 $$").run().await.unwrap();
        assert_eq!((output.code, output.end.as_str()), (137, "was killed by signal 9"));
        let error = Command::new("nothing-of-this-name").run().await.unwrap_err();
        assert!(is_missing(&error), "{error:?}");
        assert!(!is_missing(&shell("exit 1").run_ok().await.unwrap_err()));
        assert!(find("sh").is_some() && find("nothing-of-this-name").is_none());
    }

    /// Whether a process is gone within a while.
    async fn gone(pid: &str) -> bool {
        for _ in 0..10_000 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z") {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }

    #[tokio::test]
    async fn a_deadline_ends_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let error = shell(&script).deadline(Duration::from_millis(500)).run().await.unwrap_err();
        assert_eq!(error.message, "The command 'sh' did not end within 0.5 s");
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(gone(pid.trim()).await);
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_ended_and_not_waited_for() {
        let output = shell("sleep 1000 & echo $!").run().await.unwrap();
        let pid = String::from_utf8(output.stdout).unwrap();
        assert!(gone(pid.trim()).await);
    }

    #[tokio::test]
    async fn who_prints_too_much_has_failed() {
        let error = shell("yes").run().await.unwrap_err();
        assert_eq!(error.message, "The command 'sh' prints more than 4 MiB");
        let output = shell("yes complaint | head -c 1000000 >&2; echo good").run().await.unwrap();
        assert_eq!(output.stdout, b"good\n");
        assert!(output.stderr.len() <= 2 * COMPLAINTS, "{}", output.stderr.len());
    }
}
