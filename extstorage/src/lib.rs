//! The ExtStorage contract, as both sides see it: a *provider* is a directory of scripts that make,
//! attach and remove *volumes* on some storage; what is told to them and what they answer is here.
//!
//! ```text
//!   search path ─► Provider ── Call + Volume = environment ─► Exec ─► the script
//!                     │                                                 │
//!                     └────────────── Attached, ScriptFailure ◄─────────┘
//!
//!   check: the same calls, made one after the other to see whether a provider keeps the contract
//! ```
//!
//! Running programs is left to whoever uses this ([`Exec`]): noded and the command line have one
//! module each that does. Nothing here knows of clusters, instances or hypervisors.

mod attached;
pub mod check;
mod medium;
mod provider;
mod run;
mod script;
mod volume;

pub use attached::Attached;
pub use medium::{Medium, device};
pub use provider::{Provider, report};
pub use run::{End, Ended, Exec, Job, ScriptFailure, Verdict};
pub use script::Script;
pub use volume::{Call, Volume, metadata};
