//! For tests: answers that say what was asked, a key, questions.

use crate::answers::Answers;
use crate::wire::{Envelope, Head, HmacKey, Query, QueryType, Reply, Request, Status, Tag, quote};
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const NOW: i64 = 1_700_000_000;

pub(super) fn key() -> HmacKey {
    HmacKey::new(b"0123456789abcdef0123456789abcdef01234567\n").unwrap()
}

/// A question about a node, signed.
pub(super) fn ask(tag: Tag, at: i64, kind: QueryType, query: &str, rsalt: &str) -> Vec<u8> {
    let query = Query::Text(Cow::Borrowed(query));
    let msg = Request { kind, query, rsalt: Cow::Borrowed(rsalt) }.message();
    sign(tag, &at.to_string(), &msg)
}

pub(super) fn sign(tag: Tag, salt: &str, msg: &str) -> Vec<u8> {
    let mut out = vec![];
    Envelope::write(&key(), tag, salt, msg, &mut out);
    out
}

/// What an answer says, after its signature was checked: salt, answer, serial.
pub(super) fn answer(datagram: &[u8]) -> (String, String, u64) {
    assert!(datagram.is_ascii());
    let envelope = Envelope::parse(datagram).expect("an envelope");
    assert!(envelope.verify(&key()), "the signature of the answer");
    let reply = Reply::parse(&envelope.msg).expect("an answer");
    assert_eq!(reply.status, Status::Ok);
    (envelope.salt.into_owned(), reply.answer.get().to_owned(), reply.serial)
}

/// Repeats a text of a question; a text `long N` is answered by N bytes.
#[derive(Debug, Default)]
pub(super) struct Echo {
    pub(super) asked: AtomicU64,
    pub(super) generation: AtomicU64,
}

impl Answers for Echo {
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Head {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match &request.query {
            Query::Text(text) => match text.strip_prefix("long ").map(str::parse) {
                Some(Ok(length)) => quote(&"x".repeat(length), out),
                _ => quote(text, out),
            },
            _ => out.extend(b"null"),
        }
        Head { status: Status::Ok, serial: self.generation() }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
}
