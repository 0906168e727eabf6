//! The errors that users and clients see.
//!
//! Ganeti's clients match on two things: the exception's class name (`OpPrereqError`, …) and, for
//! unmet prerequisites, the error type. Both are kept; the text is ours: what failed, on what,
//! why, and the way out.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Ganeti's types of unmet prerequisites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The request itself is malformed.
    WrongInput,
    /// It names something that does not exist.
    UnknownEntity,
    /// It would create something that exists.
    AlreadyExists,
    /// The object is in a state that does not allow it.
    WrongState,
    /// A resource that must be used once is in use.
    ResourceNotUnique,
    /// Not enough memory, disk, addresses, …
    InsufficientResources,
    /// The same, but it may help to try again.
    TempInsufficientResources,
    /// A name could not be resolved.
    ResolverError,
    /// A defect of ours.
    InternalError,
    /// A machine or its software is not as it must be.
    EnvironmentError,
}

impl ErrorType {
    /// Ganeti's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::WrongInput => "wrong_input",
            ErrorType::UnknownEntity => "unknown_entity",
            ErrorType::AlreadyExists => "already_exists",
            ErrorType::WrongState => "wrong_state",
            ErrorType::ResourceNotUnique => "resource_not_unique",
            ErrorType::InsufficientResources => "insufficient_resources",
            ErrorType::TempInsufficientResources => "temp_insufficient_resources",
            ErrorType::ResolverError => "resolver_error",
            ErrorType::InternalError => "internal_error",
            ErrorType::EnvironmentError => "environment_error",
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Ganeti's class of an error: decides the text in front of the message and what scripts match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// Refused before anything was changed.
    OpPrereqError,
    /// Failed while being carried out.
    OpExecError,
    /// A pre-hook vetoed it. The message has one `  node: N, script: S, output: O` line a failure.
    HooksAbort,
    /// The queue takes no new jobs.
    JobQueueDrainError,
    /// The queue is full.
    JobQueueFull,
    /// A job that is not there.
    JobLost,
    /// Anything else.
    GenericError,
}

impl ErrorKind {
    /// The class name as it stands in a job's result.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::OpPrereqError => "OpPrereqError",
            ErrorKind::OpExecError => "OpExecError",
            ErrorKind::HooksAbort => "HooksAbort",
            ErrorKind::JobQueueDrainError => "JobQueueDrainError",
            ErrorKind::JobQueueFull => "JobQueueFull",
            ErrorKind::JobLost => "JobLost",
            ErrorKind::GenericError => "GenericError",
        }
    }
}

/// An error a user sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Ganeti's class.
    pub kind: ErrorKind,
    /// For `OpPrereqError`: which kind of prerequisite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<ErrorType>,
    /// What failed, on what, why, and what to do.
    pub message: String,
}

/// The usual result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A refusal: nothing was changed.
    pub fn prereq(error_type: ErrorType, message: impl Into<String>) -> Error {
        Error {
            kind: ErrorKind::OpPrereqError,
            error_type: Some(error_type),
            message: message.into(),
        }
    }

    /// A failure while carrying something out.
    pub fn exec(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::OpExecError, error_type: None, message: message.into() }
    }

    /// Any other error.
    pub fn generic(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::GenericError, error_type: None, message: message.into() }
    }

    /// A malformed request.
    pub fn wrong_input(message: impl Into<String>) -> Error {
        Error::prereq(ErrorType::WrongInput, message)
    }

    /// Something named does not exist.
    pub fn unknown(message: impl Into<String>) -> Error {
        Error::prereq(ErrorType::UnknownEntity, message)
    }

    /// Something to be made exists.
    pub fn exists(message: impl Into<String>) -> Error {
        Error::prereq(ErrorType::AlreadyExists, message)
    }

    /// The state does not allow it.
    pub fn wrong_state(message: impl Into<String>) -> Error {
        Error::prereq(ErrorType::WrongState, message)
    }

    /// Not enough of something.
    pub fn resources(message: impl Into<String>) -> Error {
        Error::prereq(ErrorType::InsufficientResources, message)
    }

    /// A machine is not as it must be.
    pub fn environment(message: impl Into<String>) -> Error {
        Error::prereq(ErrorType::EnvironmentError, message)
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::prereq(ErrorType::InternalError, message)
    }

    /// The same error with the place it happened at in front.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Error {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// What a job stores as the result of a failed opcode: `[class, [message, type?]]`.
    pub fn to_result(&self) -> serde_json::Value {
        match self.error_type {
            Some(t) => serde_json::json!([self.kind.as_str(), [self.message, t.as_str()]]),
            None => serde_json::json!([self.kind.as_str(), [self.message]]),
        }
    }

    /// Reads what [`Error::to_result`] wrote.
    pub fn from_result(value: &serde_json::Value) -> Option<Error> {
        let class = value.get(0)?.as_str()?;
        let kind = serde_json::from_value(class.into()).unwrap_or(ErrorKind::GenericError);
        let args = value.get(1)?;
        let message = args.get(0).and_then(|m| m.as_str()).unwrap_or_default().to_owned();
        let error_type = args.get(1).and_then(|t| serde_json::from_value(t.clone()).ok());
        Some(Error { kind, error_type, message })
    }

    /// The text Ganeti's tools print on standard error for it.
    pub fn to_cli_text(&self) -> String {
        match (self.kind, self.error_type) {
            (ErrorKind::OpPrereqError, Some(t)) => format!(
                "Failure: prerequisites not met for this operation:\nerror type: {t}, error details:\n{}",
                self.message
            ),
            (ErrorKind::OpPrereqError, None) => {
                format!("Failure: prerequisites not met for this operation:\n{}", self.message)
            }
            (ErrorKind::OpExecError, _) => {
                format!("Failure: command execution error:\n{}", self.message)
            }
            (ErrorKind::HooksAbort, _) => {
                format!("Failure: hooks execution failed:\n{}", self.message)
            }
            (ErrorKind::JobQueueDrainError, _) => "Failure: the job queue is marked for drain and \
                 doesn't accept new requests"
                .to_owned(),
            (ErrorKind::JobQueueFull, _) => {
                "Failure: the job queue is full and doesn't accept new \
                 job submissions until old jobs are archived"
                    .to_owned()
            }
            (ErrorKind::JobLost, _) => format!("Error checking job status: {}", self.message),
            (ErrorKind::GenericError, _) => format!("Unhandled Ganeti error: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_reads_back() {
        let error = Error::unknown("Instance 'x' not known");
        assert_eq!(Error::from_result(&error.to_result()), Some(error));
        let error = Error::exec("disk full");
        assert_eq!(Error::from_result(&error.to_result()), Some(error));
    }
}
