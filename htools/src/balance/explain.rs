//! Why a move, and why not to another node.

use super::menu::Menu;
use super::{Options, Scope, Step};
use crate::fail::FailMode;
use crate::model::NodeIdx;
use crate::score::{Score, Term};
use crate::state::{Outcome, Placement, Seat};

/// What would have come of another node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Instead {
    /// It is not allowed there: the check that fails first, of the ways to get there.
    Refused(FailMode),
    /// The score after the best way to get there.
    Possible(f64),
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Terms of the score that change: what they count for before and after, the greatest gain first.
    pub terms: Vec<(Term, f64, f64)>,
    /// All other online nodes, in order.
    pub others: Vec<(NodeIdx, Instead)>,
}

/// A term that changes by less is not worth a word.
const NOTHING: f64 = 5e-9;

/// Explains a step that is about to be made.
pub fn explain(before: &Placement, scope: &Scope, options: &Options, step: &Step) -> Explanation {
    let working = before.begin(step.what.instance);
    let mut out = Outcome::default();
    let force = options.ignore_soft_errors;
    let old = Score::of(before, &scope.nodes);
    let new = match step.what.kind.attempt(&working, force, &mut out) {
        Ok(()) => Score::after(before, &scope.nodes, &out),
        Err(_) => old.clone(),
    };
    let counted = |score: &Score, term: Term| term.weight() * score.values[term as usize];
    let changes =
        Term::ALL.into_iter().map(|term| (term, counted(&old, term), counted(&new, term)));
    let mut terms: Vec<_> = changes.filter(|(_, was, is)| (is - was).abs() > NOTHING).collect();
    terms.sort_by(|(_, was, is), (_, other_was, other_is)| {
        (is - was).total_cmp(&(other_is - other_was))
    });
    let Seat { primary, secondary } = step.from;
    let menu = Menu::of(before, options, step.what.instance);
    let taken = |node: NodeIdx| {
        node == primary || Some(node) == secondary || step.what.kind.target() == Some(node)
    };
    let online = |node: &NodeIdx| !before.cluster().nodes[node.at()].offline;
    let mut others = vec![];
    for node in scope.nodes.iter().copied().filter(online).filter(|node| !taken(*node)) {
        let (mut best, mut refusal) = (f64::INFINITY, FailMode::Internal);
        for kind in menu.to(node) {
            match kind.attempt(&working, force, &mut out) {
                Ok(()) => best = best.min(Score::after(before, &scope.nodes, &out).total),
                Err(fail) => refusal = refusal.min(fail),
            }
        }
        let possible = best.is_finite();
        others.push((
            node,
            if possible { Instead::Possible(best) } else { Instead::Refused(refusal) },
        ));
    }
    Explanation { terms, others }
}
