//! What the reference says of recorded clusters: its score, its terms and its moves, digit for digit.

use roost_htools::balance::{Algorithm, Options, Scope, Selection, plan};
use roost_htools::model::{Cluster, GroupIdx, NodeIdx, Utilisation};
use roost_htools::names::common_suffix;
use roost_htools::score::{Score, Term};
use roost_htools::state::{self, Placement};
use roost_htools::text;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Recorded {
    options: Vec<String>,
    initial: String,
    terms: BTreeMap<String, String>,
    moves: Vec<RecordedMove>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct RecordedMove {
    instance: String,
    primary: String,
    secondary: Option<String>,
    score: String,
    steps: String,
}

fn check(data: &str, recorded: &str) {
    let recorded: Recorded = serde_json::from_str(recorded).expect("a recording");
    let mut cluster: Cluster = text::read(data).expect("a cluster");
    if recorded.options.iter().any(|option| option == "--ignore-dynu") {
        cluster.instances.iter_mut().for_each(|i| i.utilisation = Utilisation::ZERO);
    }
    let placement = Placement::new(cluster.clone(), &state::Options::default());
    let nodes: Vec<NodeIdx> = cluster.nodes_of(GroupIdx(0)).collect();
    let score = Score::of(&placement, &nodes);
    let terms = Term::ALL
        .iter()
        .map(|term| (term.as_str().to_owned(), format!("{:.8}", score.values[*term as usize])));
    assert_eq!(terms.collect::<BTreeMap<_, _>>(), recorded.terms);
    assert_eq!(format!("{:.8}", score.total), recorded.initial);

    let names = cluster.nodes.iter().map(|node| node.name.as_str());
    let suffix = common_suffix(names.chain(cluster.instances.iter().map(|i| i.name.as_str())));
    let short = |name: &str| name[..name.len() - suffix].to_owned();
    let node = |node: NodeIdx| short(&cluster.nodes[node.at()].name);
    let scope = Scope::of(&cluster, GroupIdx(0), &Selection::default());
    let options = Options {
        algorithm: Algorithm::Greedy,
        evacuate: recorded.options.iter().any(|option| option == "--evac-mode"),
        ..Options::default()
    };
    let plan = plan(&placement, &scope, &options);
    let moves = plan.steps.iter().map(|step| RecordedMove {
        instance: short(&cluster.instances[step.what.instance.at()].name),
        primary: node(step.to.primary),
        secondary: step.to.secondary.map(node),
        score: format!("{:.8}", step.score),
        steps: step.what.kind.steps(node),
    });
    assert_eq!(moves.collect::<Vec<_>>(), recorded.moves);
}

macro_rules! recorded {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            check(
                include_str!(concat!("../fixtures/", stringify!($name), ".data")),
                include_str!(concat!("../fixtures/", stringify!($name), ".hbal.json")),
            );
        }
    )*};
}
recorded!(drbd, mixed, shared, offline, evacuate, tags);
