//! One datagram in, at most one out. Knows no sockets.
//!
//! ```text
//!   magic ─► envelope ─► clock ─► HMAC ─► question ─► answer ─► sign, escape
//!     └─────────┴──────────┴───────┴─────────┴───────────┴──► why not
//! ```
//!
//! Cheap checks come first; nothing inside the signed text is looked at before its HMAC was right.

use super::cache::Cache;
use super::counters::Reason;
use crate::answers::Answers;
use crate::wire::{
    Envelope, Head, HmacKey, MAX_REPLY, Magic, PROTOCOL, Query, Request, Tag, escape, quote,
};
use std::io::Write;
use std::sync::Arc;

/// A buffer that a large answer made larger than this is given back.
const COMFORT: usize = 256 << 10;

/// What is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How far the time in a question may be from ours, seconds, either way, inclusive.
    pub skew: u64,
    /// Whether questions signed with HMAC-SHA256 are answered.
    pub sha256: bool,
}

/// Answers one datagram after another. Each thread has its own.
pub struct Responder {
    rules: Rules,
    answers: Arc<dyn Answers>,
    cache: Cache,
    /// What was unescaped.
    scratch: String,
    answer: Vec<u8>,
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Responder {
    /// `room`: how many bytes of large answers it keeps.
    pub fn new(rules: Rules, answers: Arc<dyn Answers>, room: usize) -> Responder {
        let cache = Cache::new(room);
        Responder { rules, answers, cache, scratch: String::new(), answer: vec![] }
    }

    /// Appends the answer to `out`. Errors: there is none, and `out` is as it was.
    pub fn respond(
        &mut self,
        datagram: &[u8],
        key: &HmacKey,
        now: i64,
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        match Magic::tag(datagram).ok_or(Reason::Magic)? {
            Tag::Sha256 if !self.rules.sha256 => return Err(Reason::Magic),
            Tag::Sha1 | Tag::Sha256 => {}
        }
        let envelope = Envelope::parse_in(datagram, &mut self.scratch).ok_or(Reason::Envelope)?;
        let then = envelope.time().ok_or(Reason::Clock)?;
        if then.abs_diff(now) > self.rules.skew {
            return Err(Reason::Clock);
        }
        if !envelope.verify(key) {
            return Err(Reason::Signature);
        }
        let request = Request::parse(&envelope.msg).ok_or(Reason::Question)?;
        let reply = Reply { key, tag: envelope.tag, rsalt: &request.rsalt };
        let generation = self.answers.generation();
        if let Some(kept) = self.cache.find(generation, &request) {
            return reply.write(kept.head, &kept.raw, Some(&kept.escaped), out);
        }
        if self.answer.capacity() > COMFORT {
            self.answer = vec![];
        }
        self.answer.clear();
        let head = self.answers.answer(&request, &mut self.answer);
        reply.write(head, &self.answer, None, out)?;
        // Nobody asks for the same hundred addresses twice, and the question would be kept, too.
        if !matches!(&request.query, Query::Dict(dict) if dict.ips.len() > 64) {
            self.cache.keep(&request, head, &self.answer);
        }
        Ok(())
    }
}

/// How an answer is addressed.
struct Reply<'a> {
    key: &'a HmacKey,
    tag: Tag,
    rsalt: &'a str,
}

impl Reply<'_> {
    /// Appends the datagram. `escaped` is the answer escaped, if that is known.
    fn write(
        &self,
        head: Head,
        answer: &[u8],
        escaped: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        // Before anything is done with it.
        if answer.len() > MAX_REPLY {
            return Err(Reason::TooLarge);
        }
        let (mut before, mut after) = ([0; 64], [0; 64]);
        let status = head.status as u8;
        let before = print(
            &mut before,
            format_args!("{{\"protocol\":{PROTOCOL},\"status\":{status},\"answer\":"),
        );
        let after = print(&mut after, format_args!(",\"serial\":{}}}", head.serial));
        let begin = out.len();
        out.extend_from_slice(Magic::of(self.tag));
        out.extend_from_slice(b"{\"hmac\":\"");
        let parts = [self.rsalt.as_bytes(), before.as_bytes(), answer, after.as_bytes()];
        self.key.sign_parts(self.tag, &parts, out);
        out.extend_from_slice(b"\",\"msg\":\"");
        escape(before, out);
        match (escaped, std::str::from_utf8(answer)) {
            (Some(escaped), _) => out.extend_from_slice(escaped),
            (None, Ok(answer)) => escape(answer, out),
            (None, Err(_)) => {
                out.truncate(begin);
                return Err(Reason::Internal);
            }
        }
        escape(after, out);
        out.extend_from_slice(b"\",\"salt\":");
        quote(self.rsalt, out);
        out.push(b'}');
        if out.len() - begin > MAX_REPLY {
            out.truncate(begin);
            return Err(Reason::TooLarge);
        }
        Ok(())
    }
}

/// Formats a short text without taking memory.
fn print<'a>(room: &'a mut [u8; 64], text: std::fmt::Arguments<'_>) -> &'a str {
    let mut rest = &mut room[..];
    // Two numbers and what stands around them always fit.
    let fits = rest.write_fmt(text);
    debug_assert!(fits.is_ok());
    let left = rest.len();
    std::str::from_utf8(&room[..64 - left]).unwrap_or_default()
}

#[cfg(test)]
#[path = "responder_tests.rs"]
mod tests;
