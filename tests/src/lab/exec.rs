//! The one module of the lab that runs commands.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::error::{Context as _, Error, Result};

/// How a command ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code, or 128 + signal number as a shell reports it.
    pub code: i32,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with code 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// Standard output of a command that must have succeeded, else an error quoting it.
    pub fn success(self, command: &str) -> Result<String> {
        if self.ok() { Ok(self.stdout) } else { Err(self.failure(command)) }
    }

    fn failure(&self, command: &str) -> Error {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = said.trim_end().lines().collect();
        let output = lines[lines.len().saturating_sub(20)..].join("\n");
        Error::Command { command: command.into(), code: self.code, output }
    }
}

/// A command to be run on the host, standard input empty.
#[allow(clippy::disallowed_methods, reason = "this is the lab's exec module")]
pub fn command(argv: &[&str]) -> Command {
    let mut c = Command::new(argv.first().copied().unwrap_or("true"));
    c.args(argv.iter().skip(1)).stdin(Stdio::null());
    c
}

/// Runs a command with `input` on standard input and fails unless it ends with code 0; returns
/// its standard output.
pub fn check_with_input(argv: &[&str], input: &str) -> Result<String> {
    let what = || format!("cannot run {}", argv.join(" "));
    let mut c = command(argv);
    c.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = c.spawn().what(what)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A command that does not read its input says why by its exit code.
        let _ = pipe.write_all(input.as_bytes());
    }
    let out = child.wait_with_output().what(what)?;
    output(out).success(&argv.join(" "))
}

/// Runs a prepared command to its end; `argv` is for messages.
pub fn collect(mut command: Command, argv: &[&str]) -> Result<Output> {
    command.output().map(output).what(|| format!("cannot run {}", argv.join(" ")))
}

fn output(o: std::process::Output) -> Output {
    Output {
        code: code(o.status),
        stdout: String::from_utf8_lossy(&o.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&o.stderr).into_owned(),
    }
}

/// A shell's view of an exit status.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Fails unless the host has each program; pairs of (program, Debian package).
pub fn require(programs: &[(&str, &str)]) -> Result<()> {
    let missing = programs.iter().find(|(program, _)| find(program).is_none());
    missing.map_or(Ok(()), |(program, package)| {
        Err(Error::MissingProgram { program: (*program).into(), package: (*package).into() })
    })
}

/// Directories searched for programs, on the host and in the nodes.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(argv: &[&str]) -> Result<Output> {
        collect(command(argv), argv)
    }

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(run(&["sh", "-c", "exit 7"]).unwrap().code, 7);
        assert_eq!(run(&["sh", "-c", "kill -9 $$"]).unwrap().code, 137);
    }

    #[test]
    fn a_failure_quotes_what_the_command_said() {
        let e = run(&["sh", "-c", "echo reason >&2; exit 3"])
            .unwrap()
            .success("sh")
            .unwrap_err()
            .to_string();
        assert_eq!(e, "`sh` ended with code 3: reason");
    }

    #[test]
    fn input_reaches_the_command() {
        assert_eq!(check_with_input(&["tr", "a", "b"], "banana").unwrap(), "bbnbnb");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        assert!(require(&[("sh", "dash")]).is_ok());
        let e = require(&[("no-such-program", "some-package")]).unwrap_err();
        assert!(matches!(e, Error::MissingProgram { package, .. } if package == "some-package"));
    }
}
