//! What the reference's `hsqueeze` does with recorded clusters: the same nodes, the same moves in the same order.
//!
//! A recording is `$ hsqueeze OPTIONS`, what is printed, and the exit code in brackets. How jobs are
//! grouped is not looked at here.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use roost_htools::model::{Cluster, NodeIdx};
use roost_htools::power::{Action, Options, STANDBY_AUTO, plan};
use roost_htools::{state, text};
use std::path::Path;

fn hsqueeze(cluster: &Cluster, options: &str) -> Vec<String> {
    let mut wanted = Options::default();
    let (mut commands, mut headers, mut verbose) = (false, true, 1);
    for word in options.split_whitespace() {
        match word.split_once('=') {
            None if word == "-C" => commands = true,
            None if word == "--no-headers" => headers = false,
            None if word == "-v" => verbose += 1,
            Some(("--minimal-resources", factor)) => wanted.minimal = factor.parse().unwrap(),
            Some(("--target-resources", factor)) => wanted.target = factor.parse().unwrap(),
            _ => panic!("{word}"),
        }
    }
    let plan = plan(cluster, &state::Options::default(), wanted);
    let name = |node: &NodeIdx| cluster.nodes[node.at()].name.clone();
    let names = |nodes: &[NodeIdx]| nodes.iter().map(name).collect::<Vec<_>>();
    let mut out = vec![];
    if verbose > 1 {
        out.push(format!("Offline candidates: {}", names(&plan.offline_candidates).join(",")));
        out.push(format!("Online candidates: {}", names(&plan.online_candidates).join(",")));
    }
    if headers {
        out.push(match plan.action {
            Action::Online => "'Nodes to online'".into(),
            Action::Offline => "'Nodes to offline'".into(),
            Action::Nothing => "'No action'".into(),
        });
    }
    let nodes = names(&plan.nodes);
    out.extend(nodes.clone());
    if verbose > 1 && !plan.enough {
        out.push("Onlining all nodes will not yield enough capacity".into());
    }
    if !commands {
        return out;
    }
    out.push("Commands to run:".into());
    let moves = plan.steps.iter().flat_map(|step| {
        let instance = &cluster.instances[step.what.instance.at()];
        let verb = if instance.status.running() { "migrate" } else { "failover" };
        let steps = step.what.kind.steps(|node| name(&node));
        let command = |step: &str| match step.split_once(':') {
            None => format!("{verb} -f"),
            Some(("fa", to)) => format!("{verb} -f -n {to}"),
            Some((_, to)) => format!("replace-disks -n {to}"),
        };
        let full = |step| format!("    gnt-instance {} {}", command(step), instance.name);
        steps.split(' ').map(full).collect::<Vec<_>>()
    });
    match plan.action {
        Action::Online => {
            out.extend(nodes.iter().map(|node| format!("    gnt-node power -f on {node}")));
            out.extend(moves);
        }
        Action::Offline => {
            out.extend(moves);
            let tags = nodes.iter().map(|n| format!("    gnt-node add-tags {n} {STANDBY_AUTO}"));
            out.extend(tags);
            out.extend(nodes.iter().map(|node| format!("    gnt-node power -f off {node}")));
        }
        Action::Nothing => {}
    }
    out
}

#[test]
fn plans_are_the_references() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/power"));
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "golden") {
            continue;
        }
        let data = std::fs::read_to_string(path.with_extension("data")).unwrap();
        let cluster = text::read(&data).unwrap();
        for recording in std::fs::read_to_string(&path).unwrap().split("$ hsqueeze").skip(1) {
            let mut lines = recording.lines();
            let options = lines.next().unwrap();
            let told = |line: &&str| {
                let line = line.trim();
                !line.is_empty() && line != "[0]" && !line.starts_with("echo")
            };
            let wanted: Vec<&str> = lines.filter(told).collect();
            assert_eq!(hsqueeze(&cluster, options), wanted, "{}{options}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 0, "no recordings");
}

#[test]
fn nodes_that_are_off_need_no_room() {
    // What masterd knows of a node that is off: nothing.
    let cluster = text::read(
        "g|u|preferred||\n\n\
         n0|4096|0|4096|0|0|4|M|u\n\
         n1|0|0|0|0|0|0|Y|u|1|htools:standby:auto\n\n\n\n",
    )
    .unwrap();
    let plan = plan(&cluster, &state::Options::default(), Options::default());
    assert_eq!((plan.action, plan.nodes), (Action::Nothing, vec![]));
}

#[test]
fn each_group_is_balanced_for_itself() {
    let cluster = text::read(
        "g|u|preferred||\nh|w|preferred||\n\n\
         n0|4096|0|4096|0|0|4|M|u\n\
         n1|4096|0|2048|0|0|4|N|w\n\
         n2|4096|0|3072|0|0|4|N|w\n\n\
         a|1024|0|1|running|Y|n1||ext|\n\
         b|1024|0|1|running|Y|n1||ext|\n\
         c|1024|0|1|running|Y|n2||ext|\n\n\n",
    )
    .unwrap();
    let plan = plan(&cluster, &state::Options::default(), Options::default());
    assert_eq!((plan.action, plan.nodes), (Action::Offline, vec![NodeIdx(2)]));
    assert!(plan.steps.iter().all(|step| step.to.primary == NodeIdx(1)), "{:?}", plan.steps);
    assert!(plan.after.nodes[2].offline);
    assert!(plan.after.instances.iter().all(|instance| instance.primary == NodeIdx(1)));
}
