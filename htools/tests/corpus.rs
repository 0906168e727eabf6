//! What the fuzzer found worth keeping, once more.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../fuzz/src/harness.rs"]
mod harness;

use std::fs;
use std::path::Path;

fn replay(target: &str, take: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus of {target} is lost");
    files.iter().for_each(|file| take(&fs::read(file).unwrap()));
}

#[test]
fn nothing_of_the_corpus_does_harm() {
    replay("text", harness::take_text);
    replay("request", harness::take_request);
    replay("rapi", harness::take_documents);
    replay("simulate", harness::take_descriptions);
    replay("monitoring", harness::take_reports);
}
