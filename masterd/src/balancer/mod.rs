//! Instances move by themselves when a node group has been out of balance for long enough. Off by default.
//!
//! ```text
//!   configuration, what nodes say, jobs, plans ─► sight ─► how a group is ─┐
//!                                                                          ▼
//!   settings, ledger (what the hour has used) ─────────────────────────► decide ─► leave, plan
//!                                                                          ▲          │
//!                            jobs ◄─ ledger is stored ◄─ still true? ◄─ worth it? ◄─ plan (htools)
//! ```
//!
//! `sight`, `decide` and `ledger` are pure; `run` has the clock, the store and the jobs. Only a leader runs it.

mod decide;
mod ledger;
mod plan;
mod run;
mod sight;
mod tell;

pub use run::run;
pub use tell::Board;
