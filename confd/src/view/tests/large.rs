//! Large configurations: answers that fit no datagram, and pages that do.

use super::generate_config::{self, Shape};
use super::*;
use crate::feed::{Feed, Source, ViewSink};
use crate::view::LONGEST;

#[test]
fn an_answer_that_is_too_long_anyway_is_not_finished() {
    let config = generate_config::config_text(Shape { nodes: 3, instances: 1200 });
    let shared = loaded(&serde_json::from_str(&config).unwrap());
    for (kind, query) in [
        (QueryType::NodeInstances, text("node1")),
        (QueryType::ConfigQuery, text("/instances")),
        (QueryType::ConfigQuery, text("/disks")),
    ] {
        let (status, _, out) = ask_raw(&shared, kind, query);
        assert_eq!(status, Status::Ok);
        assert!((LONGEST..LONGEST + 4096).contains(&out.len()), "{kind:?}: {}", out.len());
    }
}

#[test]
fn pages_of_guests() {
    let config = generate_config::config_text(Shape { nodes: 2, instances: 1500 });
    let shared = loaded(&serde_json::from_str(&config).unwrap());
    let mut names = vec![];
    loop {
        let query = format!("node0#{}", names.len());
        let (_, _, out) = ask_raw(&shared, QueryType::NodeGuests, text(&query));
        assert!(out.len() < 42_000, "{}", out.len());
        let page: Value = serde_json::from_slice(&out).unwrap();
        // Half are there, and the mirrors of the others.
        assert_eq!(page["total"], 750 + 300);
        let page = page["instances"].as_array().unwrap();
        if page.is_empty() {
            break;
        }
        names.extend(page.iter().map(|guest| guest[0].as_str().unwrap().to_owned()));
    }
    assert_eq!(names.len(), 1050);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1050);
}

#[test]
fn every_instance_is_found() {
    let shape = Shape { nodes: 20, instances: 500 };
    let shared = loaded(&serde_json::from_str(&generate_config::config_text(shape)).unwrap());
    for i in 0..shape.instances {
        let (disks, _) =
            ask(&shared, QueryType::InstanceDisks, text(&generate_config::instance_name(i)))
                .unwrap();
        assert_eq!(disks.as_array().unwrap().len(), 1 + i % 2);
        let link = if i % 5 == 4 { "br1" } else { "br0" };
        let ip = generate_config::instance_ip(i);
        let dict = crate::wire::Dict {
            ip: Some(ip.into()),
            link: Some(link.into()),
            ..Default::default()
        };
        let node = generate_config::node_ip(i % shape.nodes);
        let answer = ask(&shared, QueryType::NodePipByInstanceIp, Query::Dict(dict));
        assert_eq!(answer.unwrap().0, json!(node));
    }
}

/// Prints how much memory a configuration takes: run it alone, of a release build.
#[test]
#[ignore = "it measures"]
fn memory_of_20_000_instances() {
    let status = |when: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let wanted = ["VmRSS", "VmHWM", "RssAnon"];
        let lines = status.lines().filter(|l| wanted.iter().any(|w| l.starts_with(w)));
        let figures: Vec<String> =
            lines.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        println!("{when}: {}", figures.join(", "));
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let shape = Shape { nodes: 200, instances: 20_000 };
    let mut out = std::io::BufWriter::new(file.as_file());
    generate_config::write_config(shape, &mut out).unwrap();
    drop(out);
    let size = file.as_file().metadata().unwrap().len();
    status(&format!("before, with a file of {size} bytes"));
    let shared = Arc::new(Shared::new());
    for time in 1..=3 {
        let sink = Box::new(ViewSink::new(Arc::clone(&shared)));
        // It is loaded when this returns.
        drop(Feed::start(Source::File(file.path().into()), sink).unwrap());
        status(&format!("loaded {time} times"));
    }
    let (name, _) = ask(&shared, QueryType::ConfigQuery, text("/cluster/cluster_name")).unwrap();
    assert_eq!(name, json!("clst.example.org"));
}
