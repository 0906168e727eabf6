//! What the balancer does with a node group: pure.
//!
//! ```text
//!              above the threshold              for the hold time, budget left, a plan worth it
//!       CALM ───────────────────────► ABOVE ─────────────────────────────────────────────────► MOVING
//!         ▲   not above, not known,   │ ▲ │ ▲  no plan worth it: again later                      │
//!         └────── or excluded ────────┘ │ └─┘                                                     │
//!                                       └─────────── all jobs ended: looked at again ─────────────┘
//! ```
//!
//! How long a group has been above goes on while it is moved, and while jobs of others move its instances: then
//! nobody looks at its score. It begins anew when the score was not above, or could not be known.

use roost_proto::balancer::{GroupTold, OFF_TAG, PlanTold};
use roost_proto::choices::BalancerMode;
use roost_proto::objects::Balancer;

/// After a plan that took long there is none for so many times as long: the balancer may not use up a processor.
const PAUSE: f64 = 20.0;

/// How a group is.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// By its tag.
    Excluded,
    /// Its score cannot be known, and why.
    Unknown(String),
    /// Its score is about to change, or no job can be submitted: what it waits for.
    Busy(String),
    Known {
        score: f64,
        unavoidable: f64,
    },
}

/// What to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Leave,
    /// Look for a plan of so many moves that copy so many MiB, at most.
    Plan {
        moves: u32,
        copy: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Calm,
    /// No plan is made before `again`. Seconds since 1970.
    Above {
        since: f64,
        again: f64,
    },
    Moving {
        since: f64,
    },
}

/// A group.
#[derive(Clone, Debug)]
pub struct Group {
    phase: Phase,
    told: GroupTold,
}

impl Group {
    /// One nobody has looked at.
    pub fn new(name: String) -> Group {
        Group { phase: Phase::Calm, told: GroupTold { name, ..GroupTold::default() } }
    }

    /// Its name, which may have changed.
    pub fn rename(&mut self, name: &str) {
        if self.told.name != name {
            self.told.name = name.to_owned();
        }
    }

    /// What is told of it.
    pub fn told(&self) -> GroupTold {
        let above_since = match self.phase {
            Phase::Calm => None,
            Phase::Above { since, .. } | Phase::Moving { since } => Some(since),
        };
        GroupTold { above_since, ..self.told.clone() }
    }

    /// It is looked at. `open`: moves of ours under way; `left`: of the hour's budget; `more_at`: when more of it is.
    pub fn look(
        &mut self,
        sight: &Sight,
        settings: &Balancer,
        (open, left, more_at): (usize, (u32, u64), Option<f64>),
        now: f64,
    ) -> Next {
        if open > 0 {
            let since = self.since(now).unwrap_or(now);
            self.phase = Phase::Moving { since };
            self.told.doing = format!("waits for {open} of its moves");
            return Next::Leave;
        }
        if let Phase::Moving { since } = self.phase {
            self.phase = Phase::Above { since, again: now };
        }
        let (score, unavoidable) = match sight {
            Sight::Excluded => {
                return self.calm(format!("is left alone: it has the tag {OFF_TAG}"));
            }
            Sight::Unknown(why) => return self.calm(format!("is left alone: {why}")),
            Sight::Busy(what) => {
                self.told.doing = format!("waits for {what}");
                return Next::Leave;
            }
            Sight::Known { score, unavoidable } => (*score, *unavoidable),
        };
        let excess = score - unavoidable;
        if excess.is_nan() || excess <= settings.threshold {
            self.calm("is balanced well enough".into());
            (self.told.score, self.told.unavoidable) = (Some(score), Some(unavoidable));
            return Next::Leave;
        }
        (self.told.score, self.told.unavoidable) = (Some(score), Some(unavoidable));
        let since = self.since(now).unwrap_or(now);
        let again = match self.phase {
            Phase::Above { again, .. } => again,
            Phase::Calm | Phase::Moving { .. } => now,
        };
        // A clock that was set back must not make it wait for long.
        let again = again.min(now + PAUSE * 3600.0);
        self.phase = Phase::Above { since, again };
        let rest = since + settings.hold as f64 - now;
        if rest > 0.0 {
            self.told.plan = None;
            self.told.doing =
                format!("is out of balance; acts in {} s, if it still is then", rest.ceil());
            return Next::Leave;
        }
        if left.0 == 0 {
            let more = more_at.map_or(0.0, |at| (at - now).max(0.0).ceil());
            self.told.doing = match settings.moves_per_hour {
                0 => "has no budget: 0 moves per hour".into(),
                _ => format!("has to wait: the hour's moves are used up for another {more} s"),
            };
            return Next::Leave;
        }
        if now < again {
            return Next::Leave;
        }
        Next::Plan { moves: left.0, copy: left.1 }
    }

    /// A plan was looked for, in so many seconds. True: its beginning is to be carried out.
    pub fn planned(&mut self, plan: PlanTold, took: f64, settings: &Balancer, now: f64) -> bool {
        let since = self.since(now).unwrap_or(now);
        self.phase = Phase::Above { since, again: now + PAUSE * took };
        let gain = plan.before - plan.after;
        let count = plan.moves.len();
        self.told.doing = match (count, gain > settings.margin, settings.mode) {
            (0, _, _) => "stays: no move that is allowed makes it better".into(),
            (_, false, _) => format!(
                "stays: the best plan within the budget wins {gain:.4}, not more than the margin {}",
                settings.margin
            ),
            (_, true, BalancerMode::On) => format!("begins a plan of {count} moves"),
            (_, true, _) => format!("would begin a plan of {count} moves"),
        };
        let worth = count > 0 && gain > settings.margin;
        self.told.plan = worth.then_some(plan);
        worth && settings.mode == BalancerMode::On
    }

    /// What was planned was not begun.
    pub fn not_begun(&mut self, why: &str) {
        self.told.doing = format!("could not begin its plan: {why}");
    }

    fn calm(&mut self, doing: String) -> Next {
        self.phase = Phase::Calm;
        (self.told.score, self.told.unavoidable, self.told.plan) = (None, None, None);
        self.told.doing = doing;
        Next::Leave
    }

    /// Since when it has been above; a clock that was set back does not make it longer.
    fn since(&self, now: f64) -> Option<f64> {
        match self.phase {
            Phase::Calm => None,
            Phase::Above { since, .. } | Phase::Moving { since } => Some(since.min(now)),
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
