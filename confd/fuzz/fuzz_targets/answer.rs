//! Signed questions: whatever is asked.

#![no_main]

#[path = "../src/harness.rs"]
mod harness;

use harness::Questions;
use std::cell::RefCell;

thread_local!(static QUESTIONS: RefCell<Questions> = RefCell::new(Questions::new()));

libfuzzer_sys::fuzz_target!(
    |data: &[u8]| QUESTIONS.with_borrow_mut(|questions| questions.take(data))
);
