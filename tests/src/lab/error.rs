//! What can go wrong in the lab: what failed, on what, and the way out.

use std::path::PathBuf;

/// Result of a lab operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An operation on the lab that did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces, mounts and bridges need root.
    #[error("the lab makes namespaces, mounts and bridges and so needs root: run it as root")]
    NotRoot,
    /// A program of the host is missing.
    #[error(
        "program `{program}` is missing: install package {package}, or run scripts/install-deps.sh"
    )]
    MissingProgram {
        /// What was looked for on the PATH.
        program: String,
        /// Debian's package of it.
        package: String,
    },
    /// A program of this project is not beside the lab's own.
    #[error("{} is not built: run `cargo build --workspace` (same profile as gnt-lab)", path.display())]
    NotBuilt {
        /// Where it should be.
        path: PathBuf,
    },
    /// No lab of that name.
    #[error("there is no lab `{name}` under {}: start one with `gnt-lab up`", root.display())]
    NoLab {
        /// Its name.
        name: String,
        /// The directory that holds all labs.
        root: PathBuf,
    },
    /// The lab exists with other properties.
    #[error("lab `{name}` already runs with {have}, not {want}: `gnt-lab down` it first")]
    Different {
        /// Its name.
        name: String,
        /// What it has.
        have: String,
        /// What was asked for.
        want: String,
    },
    /// A name that is no node of this lab.
    #[error("no node `{node}` in this lab: it has {known}")]
    UnknownNode {
        /// The name given.
        node: String,
        /// The names that exist.
        known: String,
    },
    /// The node has no power.
    #[error("{node} has no power: `gnt-lab start {node}` first")]
    NodeDown {
        /// Its name.
        node: String,
    },
    /// The node had power when the command began, and then no more.
    #[error("{node} lost its power meanwhile")]
    PowerLost {
        /// Its name.
        node: String,
    },
    /// The node stands still.
    #[error("{node} is frozen and does nothing: `gnt-lab thaw {node}` first")]
    Frozen {
        /// Its name.
        node: String,
    },
    /// The daemon does not run on that node.
    #[error("{daemon} does not run on {node}: {why}")]
    NoDaemon {
        /// Which daemon.
        daemon: String,
        /// On which node.
        node: String,
        /// What was looked at.
        why: String,
    },
    /// A command ended badly.
    #[error("`{command}` ended with code {code}: {output}")]
    Command {
        /// The command line.
        command: String,
        /// Exit code, or 128 + signal.
        code: i32,
        /// The end of what it said.
        output: String,
    },
    /// A condition did not come true in time.
    #[error("{what} did not happen within {seconds} s{hint}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where to look, starting with a separator; may be empty.
        hint: String,
    },
    /// A node's first process failed to furnish its namespaces.
    #[error("{node} could not furnish its namespaces: {why}")]
    Init {
        /// Which node.
        node: String,
        /// What its first process reported.
        why: String,
    },
    /// A file or system call.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A state file that cannot be understood.
    #[error("{} is not a lab's state ({why}): remove the folder by hand", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// The parser's complaint.
        why: String,
    },
    /// A name or number outside what the lab can do.
    #[error("{0}")]
    Invalid(String),
}

/// Adds what was tried to a system error.
pub(crate) trait Context<T> {
    /// `what` reads like "cannot write /etc/hosts".
    fn what(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn what(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn what(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::Io { what: what(), source: errno.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_way_out() {
        let e = Error::MissingProgram { program: "nft".into(), package: "nftables".into() };
        assert_eq!(
            e.to_string(),
            "program `nft` is missing: install package nftables, or run scripts/install-deps.sh"
        );
        let e = std::fs::read("/nonexistent").what(|| "cannot read /nonexistent".into());
        assert!(e.expect_err("no such file").to_string().starts_with("cannot read /nonexistent: "));
    }
}
