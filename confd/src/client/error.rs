//! Why a question has no answer.

use super::round::Ignored;
use crate::wire::{CLOCK_SKEW, ErrorCode, QueryType};
use roost_proto::error::Error;
use std::net::IpAddr;
use std::time::Duration;

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answered. A daemon of another make is silent about questions it does not know, too.
    #[error("{}", silence(.asked, *.port, *.waited, *.ignored))]
    Silent { asked: Vec<IpAddr>, port: u16, waited: Duration, ignored: Ignored },
    /// A daemon says no, with a number.
    #[error("{}", refusal(*.from, *.kind, *.code))]
    Refused { from: IpAddr, kind: QueryType, code: i64 },
    /// A daemon says no, in words.
    #[error("confd at {from} says: {sentence}")]
    Said { from: IpAddr, sentence: String },
    /// A daemon answers something else.
    #[error("confd at {from} answers {kind:?} with what is no answer to it: {why}")]
    Garbled { from: IpAddr, kind: QueryType, why: String },
    /// It could not be asked at all.
    #[error("{0}")]
    Local(#[from] Error),
}

impl AskError {
    /// Nobody answered: another question may still be.
    pub fn is_silence(&self) -> bool {
        matches!(self, AskError::Silent { .. })
    }

    /// What was asked about does not exist, as far as the daemon knows.
    pub fn is_unknown(&self) -> bool {
        match self {
            AskError::Refused { code, .. } => *code == ErrorCode::UnknownEntry as i64,
            AskError::Said { sentence, .. } => {
                sentence.contains("ECodeNoEnt") || sentence.contains("not found")
            }
            _ => false,
        }
    }
}

impl From<AskError> for Error {
    fn from(error: AskError) -> Error {
        let text = error.to_string();
        match &error {
            AskError::Local(local) => local.clone(),
            _ if error.is_unknown() => Error::unknown(text),
            AskError::Refused { code, .. } if *code == ErrorCode::Argument as i64 => {
                Error::wrong_input(text)
            }
            _ => Error::environment(text),
        }
    }
}

fn silence(asked: &[IpAddr], port: u16, waited: Duration, ignored: Ignored) -> String {
    let who: Vec<String> = asked.iter().map(IpAddr::to_string).collect();
    let mut text = format!(
        "No confd has answered within {:.1} s; asked (UDP port {port}): {}. Either none runs there, a firewall \
         drops the datagrams, the clocks differ by more than {CLOCK_SKEW} s, or the HMAC key is not that of the \
         cluster: who asks with another key or at another time gets no answer",
        waited.as_secs_f64(),
        who.join(", "),
    );
    if ignored.total() > 0 {
        text.push_str(&format!(" (ignored: {ignored})"));
    }
    text
}

fn refusal(from: IpAddr, kind: QueryType, code: i64) -> String {
    let why = if code == ErrorCode::UnknownEntry as i64 {
        "it knows no such thing".to_owned()
    } else if code == ErrorCode::Argument as i64 {
        "the argument is not one it takes, or names what is not there".to_owned()
    } else if code == ErrorCode::Internal as i64 {
        "it failed inside".to_owned()
    } else {
        format!("error {code}")
    };
    format!("confd at {from} refuses {kind:?}: {why}")
}
