//! A plan: moves, one after the other, and what comes of them.

use super::Options;
use crate::moves::Move;
use crate::state::{Outcome, Placement, Seat};

/// A move of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub what: Move,
    pub from: Seat,
    pub to: Seat,
    /// The score after it.
    pub score: f64,
    /// What has to be copied, MiB.
    pub copied: i64,
}

impl Step {
    /// A move that is about to be made.
    pub fn new(before: &Placement, what: Move, outcome: &Outcome, score: f64) -> Step {
        let (primary, secondary) = (outcome.primary, outcome.secondary);
        Step {
            what,
            from: Seat::of(before, what.instance),
            to: Seat { primary, secondary },
            score,
            copied: Step::copied(before, what),
        }
    }

    /// What a move has to copy, MiB: one new mirror, whichever side it is on.
    pub fn copied(before: &Placement, what: Move) -> i64 {
        if what.kind.copies() { before.instance(what.instance).disk } else { 0 }
    }
}

/// See the module. Every beginning of it leads from one legal placement to another.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The score before it.
    pub initial: f64,
    /// What even the best placement scores.
    pub floor: f64,
    pub steps: Vec<Step>,
    /// As it is after all steps.
    pub placement: Placement,
}

impl Plan {
    /// Its first steps.
    pub fn cut(&self, start: &Placement, options: &Options, moves: usize) -> Plan {
        let steps = self.steps[..moves.min(self.steps.len())].to_vec();
        let mut plan = Plan { steps, ..self.clone() };
        plan.replay(start, options);
        plan
    }

    /// Makes the end of its steps its placement.
    pub(super) fn replay(&mut self, start: &Placement, options: &Options) {
        let (mut placement, mut out) = (start.clone(), Outcome::default());
        for Step { what, .. } in &self.steps {
            let working = placement.begin(what.instance);
            let legal = what.kind.attempt(&working, options.ignore_soft_errors, &mut out);
            debug_assert_eq!(legal, Ok(()), "it was legal when it was planned");
            placement.apply(what.instance, &out);
        }
        self.placement = placement;
    }

    /// The score after it.
    pub fn score(&self) -> f64 {
        self.steps.last().map_or(self.initial, |step| step.score)
    }

    /// What has to be copied, MiB.
    pub fn copied(&self) -> i64 {
        self.steps.iter().map(|step| step.copied).sum()
    }
}
