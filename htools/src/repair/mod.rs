//! Repairs of instances whose nodes are gone, remembered in tags.
//!
//! ```text
//!                     job fails, is lost or cancelled
//!          ┌───────────────────────────────────────────────► Failed ── somebody removes the tag ──┐
//!          │                                                                                      │
//!       Pending ◄── a job is submitted ─── Healthy ◄──────────────────────────────────────────────┘
//!          │                                ▲   │
//!          └───────── jobs succeed ─────────┘   └── broken, but the policy allows less ──► NeedsRepair
//!                                                                  (next time: Healthy with a note)
//! ```
//!
//! The state is nowhere but in the instance's tags:
//!
//! ```text
//!   ganeti:watcher:autorepair:pending:<type>:<id>:<time>:<job>+<job>
//!   ganeti:watcher:autorepair:result:<type>:<id>:<time>:<result>:<job>+<job>
//! ```
//!
//! What may be done is said by tags of the instance, else of its group, else of the cluster ([`Policy`]).
//! Source: Ganeti's reference on auto-repair. Pure: time, identifiers and how jobs ended come in.

mod detect;
mod policy;
mod state;
mod tags;

pub use detect::{Broken, detect};
pub use policy::{Policy, policies};
pub use state::{Ended, Refusal, State, Watched};
pub use tags::{Outcome, Record, Repair};

/// What all tags of auto-repair begin with.
const PREFIX: &str = "ganeti:watcher:autorepair";

/// The rest of a tag behind the prefix and these words; the colon at its end may be missing if nothing follows.
fn behind<'a>(tag: &'a str, words: &str) -> Option<&'a str> {
    let rest = tag.strip_prefix(PREFIX)?.strip_prefix(words)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix(':') }
}
