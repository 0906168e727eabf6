//! What the reference's `hroller` says of recorded clusters, word for word.
//!
//! A recording is `$ hroller OPTIONS`, what is printed, and the exit code in brackets.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use roost_htools::model::Cluster;
use roost_htools::reboots::{Options, RebootGroup, Refusal, Relocation, comparison, plan};
use roost_htools::state::{self, Placement};
use roost_htools::text;
use std::fmt::Write;
use std::path::Path;

/// What is printed for these options.
fn hroller(cluster: &Cluster, options: &str) -> String {
    let mut words = options.split_whitespace();
    let (mut wanted, mut cluster) = (Options::default(), cluster.clone());
    let (mut moves, mut one_step, mut verbose) = (false, false, 1);
    while let Some(word) = words.next() {
        match word {
            "--ignore-non-redundant" => wanted.ignore_non_redundant = true,
            "--skip-non-redundant" => wanted.skip_non_redundant = true,
            "--offline-maintenance" => wanted.offline_maintenance = true,
            "--full-evacuation" => wanted.full_evacuation = true,
            "--print-moves" => moves = true,
            "--one-step-only" => one_step = true,
            "-v" => verbose += 1,
            "-f" => {}
            "-G" => wanted.group = cluster.find_group(words.next().unwrap()),
            "-O" => {
                let node = cluster.find_node(words.next().unwrap()).unwrap();
                cluster.nodes[node.at()].offline = true;
            }
            _ => {
                let tags = word.strip_prefix("--node-tags=").expect("an option of hroller");
                wanted.tags = Some(tags.split(',').map(str::to_owned).collect());
            }
        }
    }
    let placement = Placement::new(cluster.clone(), &state::Options::default());
    let mut out = String::new();
    let reboots = match plan(&placement, &wanted) {
        Ok(reboots) => reboots,
        Err(refusal) => return format!("Error: {refusal}\n[1]\n"),
    };
    if verbose > 2 {
        writeln!(out, "Node Graph: {}", reboots.graph).unwrap();
    }
    let groups = match reboots.groups {
        Ok(groups) => groups,
        Err(refusal) => return out + &format!("Error: {refusal}\n[1]\n"),
    };
    if verbose > 1 {
        writeln!(out, "{}", comparison(&reboots.colourings)).unwrap();
    }
    out += if one_step { "'First Reboot Group'\n" } else { "'Node Reboot Groups'\n" };
    for group in groups.iter().take(if one_step { 1 } else { usize::MAX }) {
        out += &shown(&cluster, group, if one_step { "\n" } else { "," });
        for Relocation { instance, primary, secondary } in group.moves.iter().filter(|_| moves) {
            write!(out, "  {}", cluster.instances[instance.at()].name).unwrap();
            for node in [Some(primary), secondary.as_ref()].into_iter().flatten() {
                write!(out, " {}", cluster.nodes[node.at()].name).unwrap();
            }
            out.push('\n');
        }
    }
    out + "[0]\n"
}

fn shown(cluster: &Cluster, group: &RebootGroup, between: &str) -> String {
    let names: Vec<&str> =
        group.nodes.iter().map(|node| cluster.nodes[node.at()].name.as_str()).collect();
    names.join(between) + "\n"
}

#[test]
fn plans_are_the_references() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reboots"));
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "golden") {
            continue;
        }
        let cluster = read(&std::fs::read_to_string(path.with_extension("data")).unwrap());
        for recording in std::fs::read_to_string(&path).unwrap().split("$ hroller").skip(1) {
            let (options, wanted) = recording.split_once('\n').unwrap();
            assert_eq!(hroller(&cluster, options), wanted, "{}{options}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "no recordings");
}

fn read(text: &str) -> Cluster {
    text::read(text).unwrap()
}

/// Two nodes that hold so much that neither can be emptied, and two that are empty.
const UNEVEN: &str = "\
a|a1|preferred||
b|b1|preferred||

n0|4096|0|4096|0|0|4|M|a1|1|red
n1|4096|0|4096|0|0|4|N|a1|1|red
n2|4096|0|96|0|0|4|N|b1|1|
n3|4096|0|96|0|0|4|N|b1|1|

i2|4000|0|1|running|Y|n2||ext|
i3|4000|0|1|running|Y|n3||ext|


";

#[test]
fn nodes_that_nobody_asked_for_need_no_room() {
    let cluster = read(UNEVEN);
    assert_eq!(
        hroller(&cluster, ""),
        "Error: Not enough capacity to move non-redundant instances\n[1]\n"
    );
    for asked in ["-G a", "--node-tags=red", "--skip-non-redundant", "-O n2 -O n3"] {
        assert_eq!(hroller(&cluster, asked), "'Node Reboot Groups'\nn1,n0\n[0]\n", "{asked}");
    }
}

#[test]
fn a_refusal_names_the_nodes_and_the_way_out() {
    let cluster = read(UNEVEN);
    let placement = Placement::new(cluster.clone(), &state::Options::default());
    let refusal = plan(&placement, &Options::default()).unwrap().groups.unwrap_err();
    let text = refusal.explain(&cluster);
    assert!(text.contains("on n2, n3 has no room"), "{text}");
    assert!(text.contains("--ignore-non-redundant"), "{text}");
    let none = Options { tags: Some(vec![]), ..Options::default() };
    assert_eq!(plan(&placement, &none), Err(Refusal::NoNodes));
}
