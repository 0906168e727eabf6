//! Whatever is wrong with a document, it is refused by name, or a cluster that everything can be asked about.

use proptest::prelude::*;
use roost_htools::health;
use roost_htools::model::{Cluster, NodeIdx};
use roost_htools::request;
use roost_htools::score::Score;
use roost_htools::state::{Options, Placement};
use roost_htools::text;

const FILES: [&str; 4] = [
    include_str!("../fixtures/mixed.data"),
    include_str!("../fixtures/tags.data"),
    include_str!("../fixtures/offline.data"),
    include_str!("../fixtures/sources/rapi.data"),
];
const REQUEST: &str = include_str!("../fixtures/sources/request.json");

/// What may be wrong with a column.
fn junk() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("?".to_owned()),
        Just("-1".to_owned()),
        Just("0".to_owned()),
        Just("1e300".to_owned()),
        Just("NaN".to_owned()),
        Just("9223372036854775807".to_owned()),
        Just("drbd".to_owned()),
        Just("|".to_owned()),
        Just("\n\n".to_owned()),
        "[^\r\n]{0,8}",
        "[-0-9.,;YN]{0,12}",
    ]
}

/// Asks what every tool asks first.
fn ask(cluster: Cluster) {
    let nodes: Vec<NodeIdx> = (0..cluster.nodes.len()).map(NodeIdx::of).collect();
    let written = text::write(&cluster);
    let placement = Placement::new(cluster, &Options::default());
    let score = Score::of(&placement, &nodes);
    assert!(!score.total.is_nan(), "{written}");
    health::bad_instances(&placement, &health::bad_nodes(&placement, &nodes));
    placement.to_cluster();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_file_with_a_wrong_column(
        file in prop::sample::select(&FILES),
        line in any::<prop::sample::Index>(),
        column in any::<prop::sample::Index>(),
        junk in junk(),
    ) {
        let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
        let line = line.index(lines.len());
        let mut columns: Vec<&str> = lines[line].split('|').collect();
        let column = column.index(columns.len());
        columns[column] = &junk;
        lines[line] = columns.join("|");
        let text = lines.join("\n") + "\n";
        match text::read(&text) {
            Ok(cluster) => ask(cluster),
            // New empty lines make other sections of what follows.
            Err(error) if !junk.contains('\n') && !lines[line].is_empty() => {
                prop_assert!(error.line > 0, "{}", error);
            }
            Err(error) => prop_assert!(!error.message.is_empty()),
        }
    }

    #[test]
    fn a_file_cut_off_or_with_lines_twice(
        file in prop::sample::select(&FILES),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let lines: Vec<&str> = file.lines().collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len() + 1));
        let text: Vec<&str> = lines[..to].iter().chain(&lines[from..]).copied().collect();
        if let Ok(cluster) = text::read(&text.join("\n")) {
            ask(cluster);
        }
        let bytes = file.as_bytes();
        let cut = bytes.len() * from / lines.len();
        if let Ok(cluster) = text::read(&String::from_utf8_lossy(&bytes[..cut])) {
            ask(cluster);
        }
    }

    #[test]
    fn a_request_with_something_wrong(
        at in any::<prop::sample::Index>(),
        long in 0_usize..8,
        junk in junk(),
    ) {
        let at = at.index(REQUEST.len());
        let end = (at + long).min(REQUEST.len());
        if let (Some(before), Some(behind)) = (REQUEST.get(..at), REQUEST.get(end..)) {
            match request::read(&format!("{before}{junk}{behind}")) {
                Ok(request) => ask(request.known.cluster),
                Err(error) => prop_assert!(!error.message.is_empty()),
            }
        }
    }
}

#[test]
fn what_an_instance_takes_is_not_negative() {
    let file = FILES[0];
    let line = file.lines().position(|line| line.contains("|running|")).expect("an instance");
    for (column, field) in [(1, "memory"), (2, "disk"), (3, "VCPUs"), (10, "spindle use")] {
        let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
        let mut columns: Vec<&str> = lines[line].split('|').collect();
        columns[column] = "-1";
        lines[line] = columns.join("|");
        let error = text::read(&(lines.join("\n") + "\n")).expect_err(field).to_string();
        assert!(error.contains(field) && error.contains("-1 is negative"), "{error}");
    }
}
