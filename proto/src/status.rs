//! How an [`Error`] travels in a gRPC status: as JSON in its details, with its text as message.

use crate::error::{Error, ErrorKind, ErrorType};
use tonic::{Code, Status};

/// The status to answer with.
pub fn to_status(error: &Error) -> Status {
    let code = match (error.kind, error.error_type) {
        (_, Some(ErrorType::WrongInput)) => Code::InvalidArgument,
        (_, Some(ErrorType::UnknownEntity)) | (ErrorKind::JobLost, _) => Code::NotFound,
        (_, Some(ErrorType::AlreadyExists)) => Code::AlreadyExists,
        (ErrorKind::OpPrereqError, _) | (ErrorKind::JobQueueDrainError, _) => {
            Code::FailedPrecondition
        }
        (ErrorKind::JobQueueFull, _) => Code::ResourceExhausted,
        _ => Code::Unknown,
    };
    let details = serde_json::to_vec(error).expect("an error is plain data");
    Status::with_details(code, error.message.clone(), details.into())
}

/// The error in a status, if our own kind of server wrote it.
pub fn from_status(status: &Status) -> Option<Error> {
    serde_json::from_slice(status.details()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way() {
        let error = Error::unknown("Instance 'x' not known");
        let status = to_status(&error);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(from_status(&status), Some(error));
        assert_eq!(from_status(&Status::unavailable("gone")), None);
    }
}
