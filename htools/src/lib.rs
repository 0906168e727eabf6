//! Placement: where instances fit, how good a placement is, which moves make it better.
//!
//! ```text
//!   text, allocator request, master ─► model::Cluster ─► state::Placement ─► score ─► balance, allocate, …
//!          (what is given)              (does not move)    (what moves)               (plans)
//! ```
//!
//! Pure: a cluster in, a plan out. No I/O, no clock, no randomness but what is passed in. The rules
//! and the score are Ganeti's, so that the figures people know stay comparable.

pub mod allocate;
pub mod balance;
pub mod capacity;
pub mod carry;
pub mod fail;
pub mod health;
pub mod model;
pub mod moves;
pub mod names;
pub mod power;
pub mod reboots;
pub mod redundancy;
pub mod repair;
pub mod request;
pub mod rules;
pub mod score;
pub mod sources;
pub mod state;
pub mod tables;
pub mod text;
