//! The one place that runs other programs.

use crate::interrupt::Deferred;
use roost_extstorage::{End, Ended, Exec, Job};
use roost_proto::error::{Error, Result};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::io::{Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A command to be run, with this program's standard files.
#[allow(clippy::disallowed_methods, reason = "this is the exec module")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Runs a command line of words and waits for it.
pub fn run(words: &[String]) -> std::io::Result<ExitStatus> {
    let (program, args) = words.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let _terminal_is_theirs = Deferred::new();
    command(program).args(args).status()
}

/// Runs a program with this text on its standard input; its standard output is returned.
pub fn run_with_input(
    mut command: Command,
    input: &[u8],
) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that ends without reading its input has its own reasons, which it will print.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output()?;
    Ok((output.status, output.stdout, output.stderr))
}

/// Starts a daemon's program in a session of its own, its output appended to a log.
pub fn spawn_daemon(program: &Path, log: &Path) -> std::io::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
    // A process of ours leads no group yet, so setsid does not fork and the process id stays.
    let mut command = command("setsid");
    command.arg(program).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/");
    command.spawn()
}

/// Where a program of ours is: beside this one, else in the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe()
        .and_then(|exe| exe.canonicalize())
        .ok()
        .and_then(|exe| exe.parent().map(|dir| dir.join(program)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join(program)))
        .find(|file| file.is_file())
}

/// Runs scripts as noded does: with an environment that is given in full, and so that a deadline
/// ends all they started.
#[derive(Clone, Copy, Debug)]
pub struct Scripts;

/// The search path of scripts, as Ganeti sets it.
const PATH: &str = "/sbin:/bin:/usr/sbin:/usr/bin";

impl Exec for Scripts {
    async fn run(&self, job: Job) -> Result<Ended> {
        let failed = |what: &str, e: std::io::Error| {
            Error::environment(format!("Cannot {what} '{}': {e}", job.program.display()))
        };
        // Files, because something that a script leaves running may hold a pipe open for ever.
        let (mut stdout, mut stderr) = (scratch()?, scratch()?);
        let output = |file: &File| file.try_clone().map_err(|e| failed("start", e));
        let mut script = command(&job.program);
        script.args(&job.args).env_clear().env("PATH", PATH).envs(&job.env).current_dir(&job.dir);
        script.stdin(Stdio::null()).stdout(output(&stdout)?).stderr(output(&stderr)?);
        script.process_group(0);
        let mut script = tokio::process::Command::from(script);
        let mut child = script.kill_on_drop(true).spawn().map_err(|e| failed("start", e))?;
        let end = match tokio::time::timeout(job.deadline, child.wait()).await {
            Ok(status) => {
                let status = status.map_err(|e| failed("wait for", e))?;
                status.signal().map_or(End::Exit(status.code().unwrap_or_default()), End::Signal)
            }
            Err(_) => {
                if let Some(pid) = child.id() {
                    let group = nix::unistd::Pid::from_raw(pid.cast_signed());
                    // It may have ended by itself in this moment.
                    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
                }
                child.wait().await.map_err(|e| failed("wait for", e))?;
                End::Deadline(job.deadline)
            }
        };
        let read = |file: &mut File| {
            let mut text = Vec::new();
            let read = file.rewind().and_then(|()| file.read_to_end(&mut text));
            read.map(|_| text).map_err(|e| failed("read the output of", e))
        };
        Ok(Ended { end, stdout: read(&mut stdout)?, stderr: read(&mut stderr)? })
    }
}

/// A file without a name.
fn scratch() -> Result<File> {
    let path = std::env::temp_dir().join(format!("roost-{}", crate::clock::now_nanos()));
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|file| std::fs::remove_file(&path).map(|()| file))
        .map_err(|e| Error::environment(format!("Cannot make '{}': {e}", path.display())))
}
