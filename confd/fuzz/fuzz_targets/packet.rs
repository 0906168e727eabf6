//! Datagrams: anything at all.

#![no_main]

#[path = "../src/harness.rs"]
mod harness;

use harness::Packets;
use std::cell::RefCell;

thread_local!(static PACKETS: RefCell<Packets> = RefCell::new(Packets::new()));

libfuzzer_sys::fuzz_target!(|data: &[u8]| PACKETS.with_borrow_mut(|packets| packets.take(data)));
