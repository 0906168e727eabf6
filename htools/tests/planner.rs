//! What people rely on in a plan: no step leads where an instance may not be, no node that could bear the loss
//! of another cannot any more, stopping anywhere is safe, and it is never worse than the reference's.

mod generated;

use generated::clusters;
use proptest::prelude::*;
use roost_htools::balance::{Algorithm, Options, Plan, Scope, Selection, front, plan};
use roost_htools::model::{Cluster, GroupIdx, NodeIdx};
use roost_htools::score::Score;
use roost_htools::state::{self, Outcome, Placement};

fn scope(cluster: &Cluster) -> Scope {
    Scope::of(cluster, GroupIdx(0), &Selection::default())
}

/// A search that is quick.
fn search() -> Options {
    Options { effort: 3000, threads: 1, ..Options::default() }
}

/// Plays a plan step by step.
fn replay(start: &Placement, scope: &Scope, plan: &Plan) {
    let cluster = start.cluster();
    let offline = |node: NodeIdx| cluster.nodes[node.at()].offline;
    let (mut placement, mut out) = (start.clone(), Outcome::default());
    let mut copied = 0;
    for step in &plan.steps {
        let failing: Vec<bool> =
            scope.nodes.iter().map(|node| placement.node(*node).n1_fails).collect();
        assert_eq!(state::Seat::of(&placement, step.what.instance), step.from);
        let legal = step.what.kind.attempt(&placement.begin(step.what.instance), false, &mut out);
        assert_eq!(legal, Ok(()), "{step:?}");
        let fled =
            [Some(step.from.primary), step.from.secondary].into_iter().flatten().any(offline);
        placement.apply(step.what.instance, &out);
        assert_eq!(state::Seat::of(&placement, step.what.instance), step.to);
        for (node, failed) in scope.nodes.iter().zip(failing) {
            // Whoever leaves a dead node may go where only its memory fits.
            assert!(failed || fled || !placement.node(*node).n1_fails, "{step:?} breaks {node:?}");
        }
        let score = Score::of(&placement, &scope.nodes).total;
        assert!((score - step.score).abs() < 1e-9, "{score} is not {}", step.score);
        copied += step.copied;
    }
    assert_eq!(copied, plan.copied());
    let end = Score::of(&plan.placement, &scope.nodes).total;
    assert!((end - plan.score()).abs() < 1e-9, "{end} is not {}", plan.score());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_plan_is_legal_all_the_way_and_never_worse_than_greedy(
        cluster in clusters(),
        limit in prop_oneof![Just(usize::MAX), 1..8_usize],
    ) {
        let scope = scope(&cluster);
        let start = Placement::new(cluster, &state::Options::default());
        let options = Options { max_moves: limit, ..search() };
        let found = plan(&start, &scope, &options);
        replay(&start, &scope, &found);
        prop_assert!(found.steps.len() <= limit);
        let greedy = Options { algorithm: Algorithm::Greedy, ..options };
        let theirs = plan(&start, &scope, &greedy);
        replay(&start, &scope, &theirs);
        prop_assert!(
            found.score() <= theirs.score() + 1e-9,
            "{} is worse than {}", found.score(), theirs.score()
        );
    }

    #[test]
    fn no_more_is_copied_than_may_be(cluster in clusters(), gib in 0..4_i64) {
        let scope = scope(&cluster);
        let start = Placement::new(cluster, &state::Options::default());
        for algorithm in [Algorithm::Greedy, Algorithm::Search] {
            let options = Options { max_copy: Some(gib * 1024), algorithm, ..search() };
            let found = plan(&start, &scope, &options);
            replay(&start, &scope, &found);
            prop_assert!(found.copied() <= gib * 1024);
        }
    }

    #[test]
    fn the_plan_does_not_depend_on_the_processors(cluster in clusters()) {
        let scope = scope(&cluster);
        let start = Placement::new(cluster, &state::Options::default());
        let one = plan(&start, &scope, &search());
        let three = plan(&start, &scope, &Options { threads: 3, ..search() });
        prop_assert_eq!(one.steps, three.steps);
    }

    #[test]
    fn of_the_plans_to_choose_from_none_beats_another(cluster in clusters()) {
        let scope = scope(&cluster);
        let start = Placement::new(cluster, &state::Options::default());
        let plans = front(&start, &scope, &search(), &|| false);
        prop_assert!(plans.first().is_some_and(|plan| plan.steps.is_empty()));
        for (at, one) in plans.iter().enumerate() {
            replay(&start, &scope, one);
            for (other_at, other) in plans.iter().enumerate() {
                let beaten = other.steps.len() <= one.steps.len()
                    && other.copied() <= one.copied()
                    && other.score() <= one.score();
                prop_assert!(at == other_at || !beaten, "{at} is beaten by {other_at}");
            }
        }
    }
}
