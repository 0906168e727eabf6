//! Plans that make a placement better.
//!
//! ```text
//!   Placement, Scope (what may move), Options ─► plan ─► Plan: steps, each legal, with the score after it
//! ```

mod greedy;
mod options;
mod plan;
mod scope;

pub use greedy::Greedy;
pub use options::{Algorithm, Options};
pub use plan::{Plan, Seat, Step};
pub use scope::{Scope, Selection};

use crate::state::Placement;

/// Plans moves.
pub fn plan(start: &Placement, scope: &Scope, options: &Options) -> Plan {
    let mut greedy = Greedy::new(start.clone(), scope, options.clone());
    let (initial, floor) = (greedy.score(), greedy.floor());
    let steps: Vec<Step> = greedy.by_ref().collect();
    Plan { initial, floor, steps, placement: greedy.into_placement() }
}
