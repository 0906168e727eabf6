//! A cluster whose machines are a model in memory: it runs the real engine, the real opcodes and
//! the real store, and lets everything else fail, repeat itself or stop at any moment.
//!
//! ```text
//!   Site ── database ◄── CrashingStore ◄── State ◄── Engine ──► SimHands ──► World
//!                             ▲ stops at commit n       stops, fails or repeats call n
//! ```

pub mod answers;
pub mod compare;
pub mod crypto;
pub mod disks;
pub mod export;
pub mod hands;
pub mod mirror;
pub mod scenario;
pub mod site;
pub mod store;
pub mod world;
