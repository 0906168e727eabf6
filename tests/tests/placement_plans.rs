//! Plans of the balancer on clusters like real ones: never worse than the reference's algorithm for the same number
//! of moves, legal wherever they are cut, and what they are said to come to.

use roost_htools::balance::{Algorithm, Options, Plan, Scope, Selection, plan};
use roost_htools::model::{GroupIdx, NodeIdx};
use roost_htools::score::Score;
use roost_htools::state::{self, Placement};
use roost_htools::text;
use roost_tests::bench::tiny;
use roost_tests::generate_cluster::{Shape, generate};
use std::collections::BTreeSet;

const LIMITS: [usize; 10] = [0, 1, 2, 3, 5, 8, 13, 21, 55, usize::MAX];

fn shapes(seed: u64) -> Vec<Shape> {
    let small = Shape::new(8, 80, seed);
    vec![
        small.clone(),
        Shape { template: "ext", ..small.clone() },
        Shape { template: "drbd:6,plain:1,ext:2", imbalance: 0.8, ..small.clone() },
        Shape { offline: 1, ..small.clone() },
        Shape { exclusion_tags: true, racks: 3, ..small.clone() },
        Shape { empty_nodes: 0.25, cpu_speed: true, fill: 0.5, ..small.clone() },
        // Some nodes cannot take over what they should.
        Shape { n1: 0.0, fill: 0.75, ..small },
    ]
}

fn start(shape: &Shape) -> Placement {
    let made = generate(shape).expect("room");
    Placement::new(text::read(&made).expect("a cluster"), &state::Options::default())
}

/// Nodes that would lack memory if another one failed.
fn failing(placement: &Placement, nodes: &[NodeIdx]) -> BTreeSet<NodeIdx> {
    let online = |node: &&NodeIdx| !placement.cluster().nodes[node.at()].offline;
    let fails = |node: &&NodeIdx| placement.node(**node).n1_fails;
    nodes.iter().filter(online).filter(fails).copied().collect()
}

/// Makes a plan's moves one by one.
fn replay(start: &Placement, scope: &Scope, plan: &Plan, what: &str) {
    let mut placement = start.clone();
    assert_eq!(Score::of(&placement, &scope.nodes).total, plan.initial, "{what}");
    let mut failed = failing(&placement, &scope.nodes);
    for (at, step) in plan.steps.iter().enumerate() {
        let instance = step.what.instance;
        let seat =
            |placement: &Placement| (placement.primary(instance), placement.secondary(instance));
        assert_eq!(seat(&placement), (step.from.primary, step.from.secondary), "{what}, step {at}");
        let outcome = step.what.outcome(&placement, false);
        let outcome = outcome.unwrap_or_else(|why| panic!("{what}, step {at} is refused: {why}"));
        placement.apply(instance, &outcome);
        assert_eq!(seat(&placement), (step.to.primary, step.to.secondary), "{what}, step {at}");
        let score = Score::of(&placement, &scope.nodes).total;
        assert!(
            (score - step.score).abs() < 1e-9,
            "{what}, step {at}: {score}, not {}",
            step.score
        );
        let fails = failing(&placement, &scope.nodes);
        assert!(fails.is_subset(&failed), "{what}, step {at}: {fails:?} fail, before {failed:?}");
        failed = fails;
    }
    let printed = |score: f64| format!("{score:.8}");
    let end = Score::of(&placement, &scope.nodes).total;
    assert_eq!(printed(end), printed(plan.score()), "{what}");
    let whole = Score::of(
        &Placement::new(placement.to_cluster(), &state::Options::default()),
        &scope.nodes,
    );
    assert!((whole.total - end).abs() < 1e-9, "{what}: {} when it is read again", whole.total);
}

fn compare(shape: &Shape, limits: &[usize]) {
    let start = start(shape);
    let scope = Scope::of(start.cluster(), GroupIdx(0), &Selection::default());
    for &max_moves in limits {
        let run = |algorithm| {
            let options = Options { algorithm, max_moves, ..Options::default() };
            let what = format!("{algorithm:?} -l {max_moves} on {shape:?}");
            let plan = plan(&start, &scope, &options);
            assert!(plan.steps.len() <= max_moves, "{what}: {} moves", plan.steps.len());
            replay(&start, &scope, &plan, &what);
            plan.score()
        };
        let (greedy, ours) = (run(Algorithm::Greedy), run(Algorithm::Search));
        assert!(ours <= greedy + 1e-9, "-l {max_moves}: {ours}, greedy {greedy} on {shape:?}");
    }
}

#[test]
fn a_plan_is_never_worse_than_the_greedy_one_and_legal_wherever_it_is_cut() {
    compare(&Shape::new(5, 25, 1), &[1, 4, usize::MAX]);
    compare(&Shape { n1: 0.0, fill: 0.75, ..Shape::new(5, 25, 2) }, &[6]);
}

#[test]
#[ignore = "minutes"]
fn so_it_is_for_clusters_of_all_shapes_and_every_limit() {
    for seed in 1..=4 {
        for shape in shapes(seed) {
            compare(&shape, &LIMITS);
        }
    }
}

#[test]
#[ignore = "minutes"]
fn on_tiny_clusters_little_is_missing_to_the_best_there_is() {
    let mut gaps = vec![];
    for tiny in tiny::clusters().take(20) {
        let start = &tiny.start;
        let scope = Scope::of(start.cluster(), GroupIdx(0), &Selection::default());
        let score = plan(start, &scope, &Options::default()).score();
        gaps.push(score / tiny.reachable(score) - 1.0);
    }
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    assert!(mean <= 0.01, "{:.1} % on average: {gaps:?}", mean * 100.0);
}
