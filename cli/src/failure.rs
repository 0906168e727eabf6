//! How a command ends when it does not simply succeed.

use roost_proto::error::Error;

/// What a command returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// An error of the cluster: printed as Ganeti's tools print it; exit code 1.
    Error(Error),
    /// Something to say on standard error as it is, then this exit code.
    Say(String, u8),
    /// Everything was said; only the exit code is left.
    Exit(u8),
}

impl Failure {
    /// Says something on standard error and exits with 1.
    pub fn say(text: impl Into<String>) -> Failure {
        Failure::Say(text.into(), 1)
    }

    /// What to print on standard error, if anything.
    pub fn text(&self) -> Option<String> {
        match self {
            Failure::Error(error) => Some(error.to_cli_text()),
            Failure::Say(text, _) => Some(text.clone()),
            Failure::Exit(_) => None,
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Error(_) => 1,
            Failure::Say(_, code) | Failure::Exit(code) => *code,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}
