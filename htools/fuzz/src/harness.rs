//! What is done with the bytes of a fuzzer, and what must hold whatever they are. Also replays the
//! corpus in the tests of htools.

#![allow(dead_code, reason = "each target uses its part")]

use roost_htools::allocate::Rules;
use roost_htools::balance::{Greedy, Options, Scope, Selection};
use roost_htools::model::{Cluster, GroupIdx, NodeIdx};
use roost_htools::reboots;
use roost_htools::request;
use roost_htools::score::Score;
use roost_htools::sources::monitoring::{self, Collector};
use roost_htools::sources::rapi::{self, Document};
use roost_htools::sources::{simulate, utilisation};
use roost_htools::state::{self, Placement};
use roost_htools::text;
use std::collections::HashMap;

/// Clusters up to this are also worked with.
const NODES: usize = 40;
const INSTANCES: usize = 200;

/// Whatever was read, all tools can work with it, and it can be written and read again.
fn work_with(cluster: &Cluster) {
    if cluster.nodes.len() > NODES || cluster.instances.len() > INSTANCES {
        return;
    }
    let start = Placement::new(cluster.clone(), &state::Options::default());
    let nodes: Vec<NodeIdx> = (0..cluster.nodes.len()).map(NodeIdx::of).collect();
    let _ = Score::of(&start, &nodes);
    for group in (0..cluster.groups.len().min(3)).map(GroupIdx::of) {
        let scope = Scope::of(cluster, group, &Selection::default());
        let options = Options { max_moves: 2, threads: 1, ..Options::default() };
        let mut greedy = Greedy::new(start.clone(), &scope, options);
        for step in greedy.by_ref() {
            assert!(!step.score.is_nan(), "a step to nowhere");
        }
    }
    let options = reboots::Options { full_evacuation: true, ..reboots::Options::default() };
    if let Ok(plan) = reboots::plan(&start, &options) {
        let _ = (plan.graph.to_string(), reboots::comparison(&plan.colourings));
    }
    let written = text::write(cluster);
    if let Ok(again) = text::read(&written) {
        assert_eq!(text::write(&again), written, "written otherwise the second time");
    }
}

/// Text files.
pub fn take_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text::read(text) {
        Ok(cluster) => work_with(&cluster),
        Err(why) => assert!(!why.to_string().is_empty(), "nothing is said"),
    }
    let _ = utilisation::read(text);
}

/// Requests to allocators.
pub fn take_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(request) = request::read(text) else { return };
    let cluster = request.known.cluster;
    if cluster.nodes.len() > NODES || cluster.instances.len() > INSTANCES {
        return;
    }
    let rules = Rules::default();
    let answer =
        request::answer(cluster.clone(), &state::Options::default(), &request.wanted, &rules);
    if let Ok(answer) = answer {
        assert!(answer.to_json().starts_with('{'), "no JSON");
    }
    work_with(&cluster);
}

/// Documents of the remote API, one after the other with a zero between.
pub fn take_documents(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\0');
    let documents = rapi::PATHS
        .map(|(_, name)| Document { name: name.into(), text: parts.next().unwrap_or("[]").into() });
    if let Ok(known) = rapi::read(&documents) {
        work_with(&known.with_kvm_memory(4096));
    }
}

/// Descriptions of clusters, one a line.
pub fn take_descriptions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<&str> = text.lines().collect();
    if let Ok(cluster) = simulate::read(&lines) {
        work_with(&cluster);
    }
}

/// The cluster that monitoring data are about.
const WATCHED: &str = "g|u|preferred||\n\n\
    n0|4096|0|3072|9|9|4|M|u\nn1|4096|0|3072|9|9|4|N|u\n\n\
    a|1024|0|1|running|Y|n0||ext|\nb|1024|0|2|running|Y|n1||ext|\n\n";

/// Monitoring data.
pub fn take_reports(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(reports) = monitoring::read("reports", text) else { return };
    let Ok(cluster) = text::read(WATCHED) else { return };
    for collector in [Collector::Cpu, Collector::XenCpu] {
        let mut cluster = cluster.clone();
        let mut loads = HashMap::new();
        for (at, node) in cluster.nodes.iter().enumerate() {
            let list = reports.get(&node.name).map(Vec::as_slice).unwrap_or_default();
            if let Some(load) = list.iter().find_map(|report| collector.read(report)) {
                loads.insert(NodeIdx::of(at), load);
            }
        }
        if monitoring::apply(&mut cluster, collector, &loads).is_ok() {
            work_with(&cluster);
        }
    }
}
