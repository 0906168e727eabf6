//! The one place that runs other programs.

use crate::interrupt::Deferred;
use std::ffi::OsStr;
use std::io::Write;
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
