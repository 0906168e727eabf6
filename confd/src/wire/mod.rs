//! The protocol: what a datagram is, and what is asked and answered in it.
//!
//! ```text
//!   datagram  "plj0" { "msg": text, "salt": text, "hmac": hex of HMAC(key, salt msg) }
//!   question  msg = { "protocol": 1, "type": n, "query": …, "rsalt": text }    salt = the time
//!   answer    msg = { "protocol": 1, "status": n, "answer": …, "serial": n }   salt = the question's rsalt
//! ```
//!
//! Pure: bytes in, values out. Source: Ganeti's reference on confd.

mod datagram;
mod key;
mod reply;
mod request;
mod text;

pub use datagram::{Envelope, Magic};
pub use key::{HmacKey, Tag};
pub use reply::{ErrorCode, Head, Reply, Status};
pub use request::{Dict, Field, Query, QueryType, Request, Role};
pub use roost_proto::paths::CONFD_PORT as PORT;
pub use text::{escape, quote};

/// The version both sides speak.
pub const PROTOCOL: u32 = 1;
/// Longest datagram a client takes or sends, bytes.
pub const MAX_DATAGRAM: usize = 61_440;
/// How far the clock of whoever asks may be from ours, seconds, either way.
pub const CLOCK_SKEW: i64 = 150;
/// The most that fits one datagram over IPv4, bytes: larger answers cannot be given.
pub const MAX_REPLY: usize = 65_507;

/// Whether the text can be a JSON object.
fn is_object(json: &str) -> bool {
    json.trim_start_matches([' ', '\n', '\t', '\r']).starts_with('{')
}
