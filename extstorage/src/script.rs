//! The scripts of a provider.

use std::fmt;
use std::time::Duration;

/// A script: an executable file of this name in the provider's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    Create,
    Attach,
    Detach,
    Remove,
    Grow,
    SetInfo,
    Verify,
    Snapshot,
    Open,
    Close,
}

impl Script {
    /// All of them, those that every provider has first.
    pub const ALL: [Script; 10] = [
        Script::Create,
        Script::Attach,
        Script::Detach,
        Script::Remove,
        Script::Grow,
        Script::SetInfo,
        Script::Verify,
        Script::Snapshot,
        Script::Open,
        Script::Close,
    ];

    /// Its file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Script::Create => "create",
            Script::Attach => "attach",
            Script::Detach => "detach",
            Script::Remove => "remove",
            Script::Grow => "grow",
            Script::SetInfo => "setinfo",
            Script::Verify => "verify",
            Script::Snapshot => "snapshot",
            Script::Open => "open",
            Script::Close => "close",
        }
    }

    /// The script of a name.
    pub fn named(name: &str) -> Option<Script> {
        Script::ALL.into_iter().find(|script| script.as_str() == name)
    }

    /// A provider without it is not valid.
    pub fn is_needed(self) -> bool {
        !matches!(self, Script::Snapshot | Script::Open | Script::Close)
    }

    /// How long it may take where the provider does not say: an hour for what may move data.
    pub fn usual_limit(self) -> Duration {
        Duration::from_secs(match self {
            Script::Create | Script::Remove | Script::Grow | Script::Snapshot => 3600,
            _ => 300,
        })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
