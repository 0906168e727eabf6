//! Runs commands: the one place that does.
//!
//! Every command has a clean environment, no input, its own process group (so that a deadline ends
//! all of it) and standard output and error in one stream, in the order they were written: kept in
//! memory up to a limit, or in a log file of which the end is read.

use crate::failpoint::{self, Place};
use crate::leftover;
use roost_proto::error::{Error, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

/// The search path of every command and script, as Ganeti sets it.
pub const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin";

/// Output kept in memory, bytes; of longer output the end.
const KEPT: usize = 1 << 20;
/// How much of a log file is read to show its end.
const TAIL: u64 = 64 << 10;
/// Something that a command left running may hold its output open; it is not waited for longer.
const STRAGGLER: Duration = Duration::from_millis(500);

/// A command to run.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<String, String>,
    dir: PathBuf,
    deadline: Option<Duration>,
    log: Option<PathBuf>,
    keep: usize,
    note: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    /// Exit status; 128 + signal if it was killed by one, as shells say.
    pub code: i32,
    /// In words: `exited with code 1`, `was killed by signal 9`, `did not end within 5 s`.
    pub end: String,
    /// Its status; nothing if it was killed at its deadline.
    pub status: Option<ExitStatus>,
    /// Standard output and error; the last part, if there was much.
    pub output: Vec<u8>,
}

impl Output {
    /// It exited with 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// The output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The last `n` lines of the output.
    pub fn last_lines(&self, n: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(n)..].join("\n")
    }
}

impl Command {
    /// A program, found on [`PATH`] unless it is a path.
    pub fn new(program: impl Into<OsString>) -> Command {
        Command {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]),
            dir: PathBuf::from("/"),
            deadline: None,
            log: None,
            keep: KEPT,
            note: None,
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

    /// Adds a variable to the environment, which else has only `PATH`.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Command {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Adds variables.
    #[must_use]
    pub fn envs(mut self, env: BTreeMap<String, String>) -> Command {
        self.env.extend(env);
        self
    }

    /// Where it runs; else in `/`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Command {
        self.dir = dir.into();
        self
    }

    /// Kills it and all it started when it takes longer.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Command {
        self.deadline = Some(deadline);
        self
    }

    /// Keeps at least so many bytes of the end of its output; else 1 MiB.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Command {
        self.keep = bytes;
        self
    }

    /// Writes its output to this file (mode 0600, appended) instead of keeping it.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Command {
        self.log = Some(path.into());
        self
    }

    /// Notes it in this file while it runs: see [`crate::leftover`].
    #[must_use]
    pub fn noted(mut self, path: impl Into<PathBuf>) -> Command {
        self.note = Some(path.into());
        self
    }

    /// Runs it to its end. An error means that it could not be started; everything else, also a
    /// failure of the command, is in the output.
    pub async fn run(self) -> Result<Output> {
        self.start(Pipes::default())?.end().await
    }

    /// Starts it. The error: it could not be started.
    pub fn start(self, pipes: Pipes) -> Result<Running> {
        let name = self.program.to_string_lossy().into_owned();
        let failed = |what: &str, e: std::io::Error| {
            Error::environment(format!("Cannot {what} the command '{name}': {e}"))
        };
        let log = match &self.log {
            Some(path) => Some(open_log(path)?),
            None => None,
        };
        let (pipe, output) = match log {
            Some(file) => (None, file),
            None => {
                let (reader, writer) = std::io::pipe().map_err(|e| failed("make a pipe for", e))?;
                (Some(reader), File::from(OwnedFd::from(writer)))
            }
        };
        let error = output.try_clone().map_err(|e| failed("start", e))?;
        let stdin = pipes.stdin.map_or_else(Stdio::null, Stdio::from);
        let stdout = pipes.stdout.map_or_else(|| Stdio::from(output), Stdio::from);
        let child = self.spawn(stdin, stdout, error).map_err(|e| failed("start", e))?;
        if let (Some(path), Some(pid)) = (&self.note, child.id()) {
            leftover::note(path, pid).map_err(|e| failed("note", e))?;
        }
        let reading = pipe
            .map(|pipe| Reading::start(pipe, self.keep))
            .transpose()
            .map_err(|e| failed("read from", e))?;
        let (log, deadline, note) = (self.log, self.deadline, self.note);
        Ok(Running { name, child, reading, log, deadline, note, ended: false })
    }

    /// Runs it to its end with standard output apart from standard error. Returns the end, which has
    /// only the latter, and standard output.
    pub async fn run_apart(self) -> Result<(Output, Vec<u8>)> {
        let name = self.program.to_string_lossy().into_owned();
        let failed = |e| Error::environment(format!("Cannot read from the command '{name}': {e}"));
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let answers = Reading::start(reader, self.keep).map_err(failed)?;
        let running = self.start(Pipes { stdin: None, stdout: Some(writer.into()) })?;
        let end = running.end().await?;
        Ok((end, answers.finish().await))
    }

    /// Runs it and takes any failure as an error that tells the command's last words.
    pub async fn run_ok(self) -> Result<Output> {
        let name = self.program.to_string_lossy().into_owned();
        let output = self.run().await?;
        if output.ok() {
            return Ok(output);
        }
        Err(Error::exec(format!("{name} {}: {}", output.end, output.last_lines(20))))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the exec module")]
    fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: File) -> std::io::Result<Child> {
        tokio::process::Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.dir)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// What a command's standard input and output are connected with: else nothing, and what is kept
/// or logged.
#[derive(Debug, Default)]
pub struct Pipes {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
}

/// A command at work. Dropped before its end, it is killed with all it started.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    reading: Option<Reading>,
    log: Option<PathBuf>,
    deadline: Option<Duration>,
    note: Option<PathBuf>,
    ended: bool,
}

impl Running {
    /// Waits for its end; its deadline counts from now.
    pub async fn end(mut self) -> Result<Output> {
        let failed = |name: &str, what: &str, e: std::io::Error| {
            Error::environment(format!("Cannot {what} the command '{name}': {e}"))
        };
        let end = wait(&mut self.child, self.deadline).await;
        self.ended = end.is_ok();
        failpoint::hit(Place::CommandEnded);
        let end = end.map_err(|e| failed(&self.name, "wait for", e))?;
        let output = match (self.reading.take(), &self.log) {
            (Some(reading), _) => reading.finish().await,
            (None, Some(path)) => {
                tail(path).map_err(|e| failed(&self.name, "read the log of", e))?
            }
            (None, None) => Vec::new(),
        };
        Ok(match end {
            Some(status) => Output { code: code(status), end: words(status), status: end, output },
            None => {
                let limit = self.deadline.unwrap_or_default().as_secs_f64();
                let end = format!("did not end within {limit} s");
                Output { code: 124, end, status: None, output }
            }
        })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            kill_group(&self.child);
        }
        if let Some(path) = &self.note {
            leftover::forget(path);
        }
    }
}

/// Kills it and all it started.
fn kill_group(child: &Child) {
    if let Some(pid) = child.id() {
        let group = nix::unistd::Pid::from_raw(pid.cast_signed());
        // It may have ended by itself in this moment.
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
}

/// Waits for the command; `None` if it had to be killed at its deadline.
async fn wait(
    child: &mut Child,
    deadline: Option<Duration>,
) -> std::io::Result<Option<ExitStatus>> {
    let Some(deadline) = deadline else { return child.wait().await.map(Some) };
    match tokio::time::timeout(deadline, child.wait()).await {
        Ok(status) => status.map(Some),
        Err(_) => {
            kill_group(child);
            child.wait().await?;
            Ok(None)
        }
    }
}

/// Reads a command's output while it runs, so that it never blocks on a full pipe.
#[derive(Debug)]
struct Reading {
    kept: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Reading {
    fn start(pipe: PipeReader, keep: usize) -> std::io::Result<Reading> {
        let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe.into())?;
        let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let kept = kept.clone();
            async move {
                let mut buffer = vec![0; 16 << 10];
                while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
                    let mut kept = kept.lock().unwrap_or_else(|e| e.into_inner());
                    kept.extend_from_slice(&buffer[..n]);
                    if kept.len() > 2 * keep {
                        let surplus = kept.len() - keep;
                        kept.drain(..surplus);
                    }
                }
            }
        });
        Ok(Reading { kept, task })
    }

    async fn finish(mut self) -> Vec<u8> {
        if tokio::time::timeout(STRAGGLER, &mut self.task).await.is_err() {
            self.task.abort();
        }
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        crate::durable::make_dir(dir)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::environment(format!("Cannot open the log '{}': {e}", path.display())))
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(end)
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
    async fn the_environment_is_clean_and_the_output_in_order() {
        let output = shell("echo a; echo b >&2; env; pwd").env("X", "1").run().await.expect("run");
        let text = output.text();
        assert!(text.starts_with("a\nb\n"), "{text}");
        assert!(text.contains("X=1\n") && text.contains(&format!("PATH={PATH}\n")), "{text}");
        assert!(!text.contains("HOME="), "{text}");
        assert!(text.ends_with("/\n"), "{text}");
    }

    #[tokio::test]
    async fn a_failure_tells_the_last_words() {
        let error = shell("echo why; exit 3").run_ok().await.expect_err("must fail");
        assert_eq!(error.message, "sh exited with code 3: why");
        let output = shell("kill -9 $$").run().await.expect("run");
        assert_eq!((output.code, output.end.as_str()), (137, "was killed by signal 9"));
        assert!(Command::new("/nonexistent").run().await.is_err());
    }

    #[tokio::test]
    async fn a_deadline_ends_all_it_started() {
        let dir = tempfile::tempdir().expect("directory");
        let pid = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let output = shell(&script).deadline(Duration::from_secs(1)).run().await.expect("run");
        assert_eq!(output.end, "did not end within 1 s");
        let child: i32 = std::fs::read_to_string(pid).expect("pid").trim().parse().expect("number");
        for _ in 0..1000 {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z") {
                return;
            }
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
        panic!("the child {child} still runs");
    }

    #[tokio::test]
    async fn a_log_takes_the_output() {
        let dir = tempfile::tempdir().expect("directory");
        let log = dir.path().join("sub/x.log");
        let output = shell("seq 1 30; exit 1").log(&log).run().await.expect("run");
        assert_eq!(output.last_lines(2), "29\n30");
        assert!(std::fs::read_to_string(log).expect("log").starts_with("1\n2\n"));
    }

    #[tokio::test]
    async fn what_is_dropped_is_killed_and_pipes_are_used() {
        let (mut out, writer) = std::io::pipe().expect("pipe");
        let (reader, mut feed) = std::io::pipe().expect("pipe");
        let pipes = Pipes { stdin: Some(reader.into()), stdout: Some(writer.into()) };
        let running = shell("cat; echo oops >&2").start(pipes).expect("started");
        std::io::Write::write_all(&mut feed, b"data").expect("write");
        drop(feed);
        let mut text = String::new();
        out.read_to_string(&mut text).expect("read");
        let end = running.end().await.expect("end");
        assert_eq!((text.as_str(), end.text().as_str(), end.ok()), ("data", "oops\n", true));
        let (mut out, writer) = std::io::pipe().expect("pipe");
        let pipes = Pipes { stdin: None, stdout: Some(writer.into()) };
        drop(shell("sleep 1000 & wait").start(pipes).expect("started"));
        assert_eq!(out.read_to_string(&mut text).expect("closed: all are gone"), 0);
    }

    #[tokio::test]
    async fn answers_are_kept_apart() {
        let command = shell("echo warning >&2; echo answer");
        let (end, stdout) = command.run_apart().await.expect("run");
        assert_eq!((stdout.as_slice(), end.text().as_str()), (&b"answer\n"[..], "warning\n"));
        assert!(end.status.is_some_and(|status| status.success()));
        let late = shell("sleep 1000").deadline(Duration::from_millis(50));
        assert!(late.run().await.expect("run").status.is_none());
    }

    #[tokio::test]
    async fn something_left_running_is_not_waited_for() {
        let output = shell("sleep 5 & echo done").run().await.expect("run");
        assert_eq!(output.text(), "done\n");
    }
}
