//! New instances, by our own allocator and by scripts.

use super::Request;
use crate::jobs::plan::Plan;
use crate::ops::testing::{Site, group_of_nodes, machine, node_id};
use roost_proto::choices::{DiskTemplate, EvacMode, InstCreateMode};
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::node::{Answer, NodeReport, Question};
use roost_proto::opcodes::{DiskSpec, InstanceCreate, NodeEvacuate};
use serde_json::json;

/// Three nodes with volumes.
fn site() -> Site {
    let mut site = Site::new(&["node1", "node2", "node3"]);
    site.cluster(|cluster| {
        cluster.volume_group_name = Some("xenvg".into());
        cluster.enabled_disk_templates =
            vec![DiskTemplate::Diskless, DiskTemplate::Plain, DiskTemplate::Drbd];
    });
    for node in ["node1", "node2", "node3"] {
        site.room(node, 20_000);
    }
    site
}

fn create(template: DiskTemplate, memory: u64) -> InstanceCreate {
    let disks = match template {
        DiskTemplate::Diskless => vec![],
        _ => vec![DiskSpec::sized(1024)],
    };
    InstanceCreate {
        disk_template: Some(template),
        beparams: [("memory".to_owned(), memory.into())].into(),
        no_install: Some(true),
        start: false,
        ..InstanceCreate::new("new", InstCreateMode::Create, disks, vec![])
    }
}

/// Every other question of the opcode is answered as healthy nodes do.
fn plan(site: &mut Site, op: InstanceCreate) -> Result<Plan> {
    for (node, question) in site.questions(op.clone()) {
        if matches!(question, Question::HvValidate { .. }) {
            site.answer(&node, question, Ok(Answer::Done));
        }
    }
    site.plan(op)
}

fn by_script(answer: &str, template: DiskTemplate) -> Result<Plan> {
    let mut site = site();
    let op = InstanceCreate { iallocator: Some("spread".into()), ..create(template, 256) };
    let asked = site.further(op.clone());
    let [(master, question @ Question::Iallocator { .. })] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(master, "node1");
    site.answer("node1", question.clone(), Ok(Answer::Iallocator(answer.into())));
    plan(&mut site, op)
}

#[test]
fn nodes_are_found_and_told() {
    let mut site = site();
    site.instance("busy", "node1", |_| {});
    assert!(site.further(create(DiskTemplate::Drbd, 256)).is_empty(), "nobody else is asked");
    let made = plan(&mut site, create(DiskTemplate::Drbd, 256)).expect("a plan");
    let nodes: Vec<_> = made.result.as_array().expect("nodes").iter().collect();
    assert_eq!(nodes.len(), 2);
    let said = format!(
        " - INFO: Selected nodes for instance new via iallocator hail: {}, {}",
        nodes[0].as_str().expect("text"),
        nodes[1].as_str().expect("text")
    );
    assert!(made.say.contains(&said), "{:?}", made.say);
}

#[test]
fn why_there_is_no_place() {
    let mut site = site();
    site.facts.answers.clear();
    site.room("node1", 20_000);
    let elsewhere = [("other".to_owned(), (1 << 20, 20_000))].into();
    let other = NodeReport { volume_groups: elsewhere, ..machine(4096) };
    site.answer("node2", Question::Node, Ok(Answer::Node(Box::new(other))));
    site.answer("node3", Question::Node, Err(Error::environment("no route to node3")));
    let error = plan(&mut site, create(DiskTemplate::Plain, 6000)).expect_err("too large");
    assert_eq!(error.error_type, Some(ErrorType::InsufficientResources));
    let text = &error.message;
    for part in [
        "Can't compute nodes using iallocator 'hail': Request failed: ",
        "Group default (preferred): No valid allocation solutions, failure reasons: FailMem: 1",
        "node1: FailMem, not enough memory",
        "Volume group 'xenvg' not found on node node2",
        "no route to node3",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn every_node_must_stay_able_to_fail() {
    let mut site = site();
    site.facts.answers.clear();
    // Only one of them could take it over, and that has too little.
    site.answer("node1", Question::Node, Ok(Answer::Node(Box::new(machine(3000)))));
    site.answer("node2", Question::Node, Ok(Answer::Node(Box::new(machine(1000)))));
    let op = || create(DiskTemplate::Diskless, 2000);
    let text = plan(&mut site, op()).expect_err("N+1").message;
    assert!(text.contains("FailN1: 1"), "{text}");
    assert!(text.contains("--default-iallocator-params no-capacity-checks"), "{text}");
    site.cluster(|cluster| {
        cluster.default_iallocator_params = [("no-capacity-checks".to_owned(), json!(true))].into();
    });
    let made = plan(&mut site, op()).expect("a plan");
    assert_eq!(made.result, json!(["node1"]));
}

#[test]
fn policies_and_groups() {
    let mut site = site();
    group_of_nodes(&mut site, "rack2", &["node3"]);
    let large = || InstanceCreate {
        beparams: [("memory".to_owned(), json!(256)), ("vcpus".to_owned(), json!(9))].into(),
        ..create(DiskTemplate::Diskless, 0)
    };
    let text = plan(&mut site, large()).expect_err("9 virtual CPUs").message;
    assert!(text.contains("FailCPU"), "{text}");
    let ignoring = InstanceCreate { ignore_ipolicy: true, ..large() };
    plan(&mut site, ignoring).expect("a plan");
    let there =
        InstanceCreate { group_name: Some("rack2".into()), ..create(DiskTemplate::Diskless, 256) };
    let made = plan(&mut site, there).expect("a plan");
    assert_eq!(made.result, json!(["node3"]), "alone in its group, and nobody minds");
}

#[test]
fn a_script_chooses() {
    let answer = r#"{"success": true, "info": "", "result": ["node3", "node1"]}"#;
    let made = by_script(answer, DiskTemplate::Drbd).expect("a plan");
    assert_eq!(made.result, json!(["node3", "node1"]));
    assert!(made.say.iter().any(|line| line.ends_with("via iallocator spread: node3, node1")));
    let old = r#"{"success": true, "info": "", "nodes": ["node2"]}"#;
    let made = by_script(old, DiskTemplate::Diskless).expect("a plan");
    assert_eq!(made.result, json!(["node2"]));
}

#[test]
fn what_scripts_get_wrong() {
    let wrong = |answer: &str, template| by_script(answer, template).expect_err(answer).message;
    let one = DiskTemplate::Diskless;
    let table = [
        ("", "Can't parse iallocator results of 'spread'"),
        ("all fine", "it said: all fine"),
        ("[]", "not a dict"),
        (r#"{"success": true, "result": []}"#, "missing key 'info'"),
        (r#"{"success": 1, "info": "", "result": []}"#, "'success' is neither"),
        (r#"{"success": true, "info": "", "result": 7}"#, "expected a list of node names, got 7"),
        (r#"{"success": true, "info": "", "result": ["node9"]}"#, "'node9' is none"),
        (
            r#"{"success": true, "info": "", "result": ["node1", "node2"]}"#,
            "Invalid number of nodes (2) returned by iallocator 'spread', required 1",
        ),
        (
            r#"{"success": false, "info": "full", "result": []}"#,
            "Can't compute nodes using iallocator 'spread': full",
        ),
    ];
    for (answer, expected) in table {
        let text = wrong(answer, one);
        assert!(text.contains(expected), "{expected} in {text}");
    }
    let twice = r#"{"success": true, "info": "", "result": ["node1", "node1"]}"#;
    assert!(wrong(twice, DiskTemplate::Drbd).contains("node1 twice"));
}

#[test]
fn a_script_that_fails() {
    let mut site = site();
    let op =
        InstanceCreate { iallocator: Some("spread".into()), ..create(DiskTemplate::Diskless, 256) };
    let asked = site.further(op.clone()).remove(0).1;
    let failed = "iallocator module 'spread' failed: exited with code 3, output 'why'";
    site.answer("node1", asked, Err(Error::exec(failed)));
    assert_eq!(plan(&mut site, op).expect_err("it failed").message, failed);
}

#[test]
fn a_script_must_not_choose_what_may_not_be_chosen() {
    let mut site = site();
    site.node("node2", |node| node.drained = true);
    let op =
        InstanceCreate { iallocator: Some("spread".into()), ..create(DiskTemplate::Diskless, 256) };
    let asked = site.further(op.clone()).remove(0).1;
    let answer = r#"{"success": true, "info": "", "result": ["node2"]}"#;
    site.answer("node1", asked, Ok(Answer::Iallocator(answer.into())));
    let text = plan(&mut site, op).expect_err("drained").message;
    assert!(text.contains("returned node node2, which can't be chosen here"), "{text}");
}

fn evacuation(answer: &str) -> Result<Plan> {
    let mut site = site();
    site.instance("web", "node1", |_| {});
    let op = || NodeEvacuate {
        iallocator: Some("spread".into()),
        early_release: true,
        ..NodeEvacuate::new("node1", EvacMode::PrimaryOnly)
    };
    let asked = site.further(op()).remove(0).1;
    site.answer("node1", asked, Ok(Answer::Iallocator(answer.into())));
    site.plan(op())
}

#[test]
fn moves_of_a_script_are_checked() {
    let with = |moved: &str, failed: &str, jobs: &str| {
        evacuation(&format!(
            r#"{{"success": true, "info": "", "result": [{moved}, {failed}, {jobs}]}}"#
        ))
    };
    let moved = r#"[["web", "default", ["node2"]]]"#;
    let migrate =
        r#"{"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web", "target_node": "node2"}"#;
    // A job, and a job within a set of jobs.
    for jobs in [format!("[[{migrate}]]"), format!("[[[{migrate}]]]")] {
        let plan = with(moved, "[]", &jobs).expect("a plan");
        assert_eq!(plan.pivot.jobs.len(), 1);
        assert_eq!(plan.pivot.jobs[0][0]["target_node"], "node2");
    }
    let mirror = r#"{"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web",
                     "mode": "replace_new_secondary", "remote_node": "node3"}"#;
    let plan = with(moved, "[]", &format!("[[{mirror}]]")).expect("a plan");
    assert_eq!(plan.pivot.jobs[0][0]["early_release"], true);
    let text = with("[]", r#"[["web", "no room"]]"#, "[]").expect_err("it stays").message;
    assert!(text.contains("Unable to evacuate instances web (no room)"), "{text}");
    let evil = r#"[[{"OP_ID": "OP_CLUSTER_DESTROY"}]]"#;
    let text = with("[]", "[]", evil).expect_err("no such jobs").message;
    assert!(text.contains("a job with OP_CLUSTER_DESTROY"), "{text}");
    let unknown = migrate.replace("web", "www");
    let text = with("[]", "[]", &format!("[[{unknown}]]")).expect_err("unknown").message;
    assert!(text.contains("'www' not known"), "{text}");
    let text = with("[]", "[]", "[[]]").expect_err("empty").message;
    assert!(text.contains("without opcodes"), "{text}");
    let text = with("7", "[]", "[]").expect_err("no list").message;
    assert!(text.contains("returned invalid result"), "{text}");
}

#[test]
fn kinds_of_requests_have_ganetis_words() {
    let site = site();
    let group = site.config.nodes.get(&node_id("node1")).expect("it").group;
    let change = Request::ChangeGroup(vec![], vec![group]);
    assert_eq!(change.mode().as_str(), "change-group");
    assert_eq!(Request::Evacuate(vec![], EvacMode::All).mode().as_str(), "node-evacuate");
}
