//! Plans that make a placement better.
//!
//! ```text
//!   Placement, Scope (what may move), Options ─► plan ─► Plan: steps, each legal, with the score after it
//! ```

mod explain;
mod front;
mod greedy;
mod lazy;
mod menu;
mod options;
mod parallel;
mod plan;
mod scope;
mod search;
mod trial;

pub use crate::state::Seat;
pub use explain::{Explanation, Instead, explain};
pub use front::front;
pub use greedy::Greedy;
pub use options::{Algorithm, Options};
pub use plan::{Plan, Step};
pub use scope::{Scope, Selection};

use crate::state::Placement;

/// Plans moves. For the same input it is the same plan.
pub fn plan(start: &Placement, scope: &Scope, options: &Options) -> Plan {
    plan_while(start, scope, options, &|| false)
}

/// Plans moves, and looks for better plans as long as `go_on` says so: for those who have time.
pub fn plan_while(
    start: &Placement,
    scope: &Scope,
    options: &Options,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Plan {
    match options.algorithm {
        Algorithm::Greedy => walked(Greedy::new(start.clone(), scope, options.clone())),
        Algorithm::Search => search::search(start, scope, options, go_on),
    }
}

/// What a balancer that makes one move after the other comes to.
fn walked(mut greedy: Greedy) -> Plan {
    let (initial, floor) = (greedy.score(), greedy.floor());
    let steps: Vec<Step> = greedy.by_ref().collect();
    Plan { initial, floor, steps, placement: greedy.into_placement() }
}
