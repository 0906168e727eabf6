//! What the fuzzer found worth keeping, and changes of the recorded questions, once more.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../fuzz/src/harness.rs"]
mod harness;

use harness::{Packets, Questions};
use proptest::prelude::*;
use serde_json::Value;
use std::cell::RefCell;
use std::fs;
use std::path::Path;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(dir).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    let all: Vec<Vec<u8>> = files.collect();
    assert!(all.len() >= 20, "the corpus of {target} is lost");
    all
}

fn recorded() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/confd-vectors.json");
    let vectors: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let requests = vectors["vectors"].as_array().unwrap().iter();
    requests.map(|vector| vector["request"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn datagrams_of_the_corpus_do_no_harm() {
    let mut packets = Packets::new();
    corpus("packet").iter().for_each(|datagram| packets.take(datagram));
}

#[test]
fn questions_of_the_corpus_do_no_harm() {
    let mut questions = Questions::new();
    corpus("answer").iter().for_each(|message| questions.take(message));
}

thread_local!(static PACKETS: RefCell<Packets> = RefCell::new(Packets::new()));
thread_local!(static QUESTIONS: RefCell<Questions> = RefCell::new(Questions::new()));

/// Puts bytes in the place of some.
fn changed(text: &str, at: prop::sample::Index, length: usize, put: &[u8]) -> Vec<u8> {
    let bytes = text.as_bytes();
    let at = at.index(bytes.len());
    [&bytes[..at], put, &bytes[bytes.len().min(at + length)..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn changed_questions_do_no_harm(
        question in prop::sample::select(recorded()), at in any::<prop::sample::Index>(),
        length in 0usize..12, put in prop::collection::vec(any::<u8>(), 0..6),
        text in "[\\[\\]{}\",:0-9a-z~/\\\\-]{0,6}",
    ) {
        PACKETS.with_borrow_mut(|packets| {
            packets.take(&changed(&question, at, length, &put));
            packets.take(&changed(&question, at, length, text.as_bytes()));
        });
        let envelope: Value = serde_json::from_str(&question[4..]).unwrap();
        let msg = envelope["msg"].as_str().unwrap();
        QUESTIONS.with_borrow_mut(|questions| {
            questions.take(&changed(msg, at, length, &put));
            questions.take(&changed(msg, at, length, text.as_bytes()));
        });
    }
}
