//! What is answered.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How a question fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Ok = 0,
    Error = 1,
    /// Defined, and never sent.
    NotImplemented = 2,
}

impl Status {
    /// The one of a number.
    pub fn of(number: u8) -> Option<Status> {
        [Status::Ok, Status::Error, Status::NotImplemented].into_iter().find(|s| *s as u8 == number)
    }
}

/// Errors that are numbers; others are sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorCode {
    UnknownEntry = 0,
    Internal = 1,
    Argument = 2,
}

/// An answer without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: Status,
    /// The serial number of what was answered from; 0 for errors and ping.
    pub serial: u64,
}

/// An answer as it arrived.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: Status,
    /// JSON; depends on the question.
    pub answer: Box<RawValue>,
    pub serial: u64,
}

#[derive(Serialize, Deserialize)]
struct Fields {
    protocol: i64,
    status: u8,
    answer: Box<RawValue>,
    serial: u64,
}

impl Reply {
    /// Of the `msg` of a datagram. None: it is no answer of this protocol.
    pub fn parse(msg: &str) -> Option<Reply> {
        if !super::is_object(msg) {
            return None;
        }
        let fields: Fields = serde_json::from_str(msg).ok()?;
        let known = fields.protocol == i64::from(super::PROTOCOL);
        let status = Status::of(fields.status).filter(|_| known)?;
        Some(Reply { status, answer: fields.answer, serial: fields.serial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let reply =
            Reply::parse(r#"{"protocol":1,"status":0,"answer":["a", 1],"serial":42}"#).unwrap();
        assert_eq!(
            (reply.status, reply.answer.get(), reply.serial),
            (Status::Ok, "[\"a\", 1]", 42)
        );
    }

    #[test]
    fn answers_that_nobody_understands_are_none() {
        for msg in [
            "",
            "null",
            r#"[1,0,"x",42]"#,
            r#"{"protocol":2,"status":0,"answer":0,"serial":42}"#,
            r#"{"protocol":1,"status":3,"answer":0,"serial":42}"#,
            r#"{"protocol":1,"status":0,"serial":42}"#,
            r#"{"protocol":1,"status":0,"answer":0,"serial":-1}"#,
        ] {
            assert!(Reply::parse(msg).is_none(), "{msg}");
        }
    }
}
