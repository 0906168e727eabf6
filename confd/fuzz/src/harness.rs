//! What is done with the bytes of a fuzzer, and what must hold whatever they are. Also replays the
//! corpus in the tests of confd.

#![allow(dead_code, reason = "each target uses its part")]

use roost_confd::answers::Answers;
use roost_confd::feed::{Feed, Source, ViewSink};
use roost_confd::server::{CACHE_ROOM, Reason, Responder, Rules};
use roost_confd::view::Shared;
use roost_confd::wire::{
    Envelope, Head, HmacKey, MAX_REPLY, Query, Reply, Request, Status, Tag, quote,
};
use std::path::Path;
use std::sync::Arc;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef01234567\n";
const NOW: i64 = 1_700_000_000;

fn key() -> HmacKey {
    HmacKey::new(KEY).expect("it is not empty")
}

/// Says what it was asked.
struct Echo;

impl Answers for Echo {
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Head {
        match &request.query {
            Query::Text(text) => quote(text, out),
            query => quote(&format!("{query:?}"), out),
        }
        Head { status: Status::Ok, serial: 1 }
    }

    fn generation(&self) -> u64 {
        1
    }
}

/// Takes datagrams.
pub struct Packets {
    responder: Responder,
    key: HmacKey,
    out: Vec<u8>,
    scratch: String,
}

impl Packets {
    pub fn new() -> Packets {
        let rules = Rules { skew: 150, sha256: true };
        let responder = Responder::new(rules, Arc::new(Echo), CACHE_ROOM);
        Packets { responder, key: key(), out: vec![], scratch: String::new() }
    }

    /// As a datagram; and once more with a signature that is right, if it has the form of one.
    pub fn take(&mut self, data: &[u8]) {
        self.respond(data);
        let both = (Envelope::parse(data), Envelope::parse_in(data, &mut self.scratch));
        assert_eq!(both.0, both.1, "both ways to read");
        let Some(envelope) = both.0 else { return };
        let mut signed = vec![];
        Envelope::write(&self.key, envelope.tag, &envelope.salt, &envelope.msg, &mut signed);
        let again = Envelope::parse(&signed).expect("what was written");
        assert_eq!((&again.msg, &again.salt), (&envelope.msg, &envelope.salt));
        assert!(again.verify(&self.key));
        if let Some(request) = Request::parse(&envelope.msg) {
            let message = request.message();
            assert_eq!(Request::parse(&message), Some(request), "a question written again");
        }
        self.respond(&signed);
    }

    fn respond(&mut self, datagram: &[u8]) {
        self.out.clear();
        let result = self.responder.respond(datagram, &self.key, NOW, &mut self.out);
        match result {
            Ok(()) => check(&self.key, datagram, &self.out),
            Err(Reason::Internal | Reason::Unsent) => panic!("{result:?}"),
            Err(_) => assert!(self.out.is_empty()),
        }
    }
}

/// Takes messages, which it signs and has answered from the recorded configuration.
pub struct Questions {
    responder: Responder,
    key: HmacKey,
}

impl Questions {
    pub fn new() -> Questions {
        // This file is part of two packages, one in a folder of the other.
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let fixture = "fixtures/confd-config.data.json";
        let files = [here.join(fixture), here.join("..").join(fixture)];
        let file = files.into_iter().find(|file| file.exists()).expect("the fixture");
        let view = Arc::new(Shared::new());
        let sink = Box::new(ViewSink::new(view.clone()));
        // It has read the file when it is there; changes do not matter.
        drop(Feed::start(Source::File(file), sink).expect("a thread"));
        assert!(view.is_loaded());
        let rules = Rules { skew: 150, sha256: false };
        let responder = Responder::new(rules, view, CACHE_ROOM);
        Questions { responder, key: key() }
    }

    pub fn take(&mut self, data: &[u8]) {
        let Ok(msg) = std::str::from_utf8(data) else { return };
        let mut datagram = vec![];
        Envelope::write(&self.key, Tag::Sha1, &NOW.to_string(), msg, &mut datagram);
        let mut answers = [vec![], vec![]];
        let results =
            answers.each_mut().map(|out| self.responder.respond(&datagram, &self.key, NOW, out));
        assert_eq!(results[0], results[1]);
        assert_eq!(answers[0], answers[1], "kept or not");
        match results[0] {
            Ok(()) => check(&self.key, &datagram, &answers[0]),
            Err(Reason::Question) => assert!(Request::parse(msg).is_none()),
            Err(Reason::TooLarge) => {}
            Err(reason) => panic!("{reason:?}"),
        }
    }
}

/// An answer has the form of one, is signed, and belongs to its question, which was signed, too.
fn check(key: &HmacKey, question: &[u8], answer: &[u8]) {
    assert!(answer.is_ascii() && answer.len() <= MAX_REPLY);
    let asked = Envelope::parse(question).expect("a question that is answered");
    assert!(asked.verify(key), "somebody without the key was answered");
    let request = Request::parse(&asked.msg).expect("a question that is answered");
    let said = Envelope::parse(answer).expect("the envelope of an answer");
    assert!(said.verify(key) && said.tag == asked.tag);
    assert_eq!(said.salt, request.rsalt);
    let reply = Reply::parse(&said.msg).expect("an answer");
    assert!(reply.status == Status::Ok || reply.serial == 0, "errors have no serial");
}
