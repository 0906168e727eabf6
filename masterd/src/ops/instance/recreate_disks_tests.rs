use super::*;
use crate::ops::testing::{Site, machine, node_id, running, status};
use roost_proto::choices::DiskTemplate;
use roost_proto::node::Answer;
use roost_proto::opcodes::RecreateDisk;
use std::sync::Arc;

const WEB: &str = "web.example.org";

fn volume(name: &str) -> LogicalId {
    LogicalId::Pair("xenvg".into(), name.into())
}

/// A stopped instance on node1 (and node2) with two disks; node3 and node4 are free.
fn site(template: DiskTemplate) -> Site {
    let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
    site.instance(WEB, "node1", |i| i.admin_state = AdminState::Down);
    for number in 0..2 {
        match template {
            DiskTemplate::Drbd => site.drbd(WEB, "node2"),
            other => site.disk(WEB, other, "unused"),
        }
        let mut disk = stored(&site).remove(number);
        match template {
            DiskTemplate::Drbd => {
                let part = |end: &str, size| Disk {
                    dev_type: DiskTemplate::Plain,
                    logical_id: volume(&format!("u.disk{number}{end}")),
                    size,
                    ..disk.clone()
                };
                disk.children = vec![part("_data", 1024), part("_meta", 128)];
            }
            DiskTemplate::Plain => {
                disk.logical_id = volume(&format!("u.disk{number}"));
                disk.nodes = vec![node_id("node1")];
            }
            _ => {
                disk.logical_id =
                    LogicalId::Pair("loop".into(), format!("/srv/file/a.b/u.file.disk{number}"))
            }
        }
        site.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
    }
    for (node, free) in [("node1", 8000), ("node2", 8000), ("node3", 9000), ("node4", 1900)] {
        let mut report = machine(1024);
        report.volume_groups.insert("xenvg".into(), (16384, free));
        site.answer(node, Question::Node, Ok(Answer::Node(Box::new(report))));
    }
    site.answer("node1", Question::Guests, Ok(Answer::Guests(vec![])));
    site
}

fn stored(site: &Site) -> Vec<Disk> {
    health::stored(&site.config, site.config.instance(WEB).expect("web"))
}

/// The node tells how the disks that the opcode is about are there, all the same.
fn with(mut site: Site, op: &InstanceRecreateDisks, node: &str, found: &BlockStatus) -> Site {
    for (name, question) in site.questions(op.clone()) {
        if let (true, Question::Blocks { disks }) = (name == node, &question) {
            let all = disks.iter().map(|_| found.clone()).collect();
            site.answer(node, question, Ok(Answer::Blocks(all)));
        }
    }
    site
}

fn missing() -> BlockStatus {
    let mut found = status(BlockState::Missing);
    found.children = vec![status(BlockState::Missing), status(BlockState::Missing)];
    found
}

fn op() -> InstanceRecreateDisks {
    InstanceRecreateDisks::new(WEB)
}

fn on(nodes: &[&str]) -> InstanceRecreateDisks {
    InstanceRecreateDisks { nodes: nodes.iter().map(|n| (*n).to_owned()).collect(), ..op() }
}

#[test]
fn lost_volumes_are_made_again_under_other_names() {
    let mut site = with(site(DiskTemplate::Plain), &op(), "node1", &missing());
    let before = stored(&site);
    let plan = site.plan(op()).expect("a plan");
    assert!(matches!(plan.before[0].task.action(), Some(Action::DisksCreate { .. })));
    assert!(matches!(
        plan.after.last().and_then(|step| step.task.action()),
        Some(Action::DisksShutdown { .. })
    ));
    assert!(plan.pivot.leaves.is_empty());
    site.apply(&plan.pivot.changes);
    let after = stored(&site);
    assert_eq!(after[0].uuid, before[0].uuid);
    let LogicalId::Pair(vg, name) = &after[0].logical_id else { panic!("{:?}", after[0]) };
    assert!(vg == "xenvg" && name.ends_with(".disk0") && name != "u.disk0", "{name}");
    let plan = plan_wiped(site);
    assert!(plan.before.iter().any(|s| matches!(s.task.action(), Some(Action::DisksWipe { .. }))));
}

fn plan_wiped(mut site: Site) -> Plan {
    site.cluster(|c| c.prealloc_wipe_disks = true);
    site.facts.answers.retain(|(_, question, _)| !matches!(question, Question::Blocks { .. }));
    with(site, &op(), "node1", &missing()).plan(op()).expect("a plan")
}

#[test]
fn files_keep_their_directory() {
    let mut site = with(site(DiskTemplate::File), &op(), "node1", &missing());
    let plan = site.plan(op()).expect("a plan");
    site.apply(&plan.pivot.changes);
    let path = stored(&site)[1].path().expect("a path").to_owned();
    assert!(path.starts_with("/srv/file/a.b/") && path.ends_with(".file.disk1"), "{path}");
    assert!(!path.ends_with("/u.file.disk1"), "{path}");
}

#[test]
fn some_of_them_with_other_settings() {
    let spec = DiskSpec { size: Some(4096), ..DiskSpec::default() };
    let op = InstanceRecreateDisks { disks: vec![RecreateDisk { index: 1, spec }], ..op() };
    let mut site = with(site(DiskTemplate::Drbd), &op, "node1", &missing());
    site = with(site, &op, "node2", &missing());
    let plan = site.plan(op).expect("a plan");
    let before = stored(&site);
    site.apply(&plan.pivot.changes);
    let after = stored(&site);
    assert_eq!(before[0], after[0]);
    assert_eq!((after[1].size, after[1].children[0].size), (4096, 4096));
    assert_eq!(after[1].children[1].size, 128);
    assert_ne!(before[1].logical_id, after[1].logical_id);
}

#[test]
fn on_other_nodes_and_what_stays_on_the_old_ones() {
    let mut site = site(DiskTemplate::Drbd);
    let op = on(&["node3", "node4"]);
    site.node("node1", |node| node.offline = true);
    let mut instance = (**site.config.instance(WEB).expect("web")).clone();
    instance.admin_state = AdminState::Up;
    site.apply(&[Change::Update(Object::Instance(Box::new(instance)))]);
    // On the other node the data are there, and their meta data are not.
    let mut half = missing();
    half.children[0].state = BlockState::Inactive;
    half.state = BlockState::Faulty;
    site = with(site, &op, "node2", &half);
    let error = site.refusal(op.clone()).message;
    assert!(error.contains("required") && error.contains("node4"), "{error}");
    let op = on(&["node3", "node2"]);
    let plan = site.plan(op).expect("a plan");
    let leaves: Vec<_> = plan
        .pivot
        .leaves
        .iter()
        .map(|left| (left.step.task.nodes()[0], left.why.as_str()))
        .collect();
    assert_eq!(leaves.len(), 2, "{leaves:?}");
    let of = |node: &str| {
        let left = plan.pivot.leaves.iter().find(|l| l.step.task.nodes()[0] == node_id(node));
        match left.expect("a leftover").step.task.action() {
            Some(Action::DisksRemove { disks, .. }) => disks.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of("node1")[0].dev_type, DiskTemplate::Drbd);
    // Never the mirror: its minor may be another's by then.
    let rest = of("node2");
    assert!(rest.iter().all(|d| d.dev_type == DiskTemplate::Plain), "{rest:?}");
    assert_eq!(rest[0].logical_id, volume("u.disk0_data"));
    let said = plan.say.join("\n");
    assert!(said.contains("xenvg/u.disk0_data, stays there until"), "{said}");
    assert!(said.contains("is marked as stopped"), "{said}");
    site.apply(&plan.pivot.changes);
    let instance: Arc<Instance> = site.config.instance(WEB).expect("web").clone();
    assert_eq!(instance.primary_node, node_id("node3"));
    assert_eq!(instance.admin_state, AdminState::Down);
    assert_eq!(stored(&site)[0].nodes, [node_id("node3"), node_id("node2")]);
}

#[test]
fn the_allocator_takes_nodes_with_room() {
    let op = InstanceRecreateDisks { iallocator: Some("hail".into()), ..op() };
    let mut site = with(site(DiskTemplate::Plain), &op, "node1", &missing());
    let plan = site.plan(op).expect("a plan");
    site.apply(&plan.pivot.changes);
    let primary = site.config.instance(WEB).expect("web").primary_node;
    assert_ne!(primary, node_id("node4"), "it has no room for both disks");
    let chosen = plan.say.iter().find(|line| line.contains("Selected nodes")).expect("it is said");
    assert!(chosen.contains("via iallocator hail: "), "{chosen}");
}

#[test]
fn what_is_whole_is_not_made_anew() {
    let mut whole = status(BlockState::Inactive);
    whole.children = vec![status(BlockState::Inactive), status(BlockState::Inactive)];
    let plain = with(site(DiskTemplate::Plain), &op(), "node1", &whole);
    let error = plain.refusal(op()).message;
    assert!(error.contains("disk/0") && error.contains("is there on node node1"), "{error}");
    let mirror = with(site(DiskTemplate::Drbd), &op(), "node1", &missing());
    let mirror = with(mirror, &op(), "node2", &whole);
    let error = mirror.refusal(op()).message;
    assert!(error.contains("on node node2") && error.contains("replace-disks"), "{error}");
    // Nobody knows what is on a node that says nothing.
    let mut silent = site(DiskTemplate::Plain);
    for (node, question) in silent.questions(op()) {
        if let Question::Blocks { .. } = question {
            silent.answer(&node, question, Err(Error::exec("no answer")));
        }
    }
    let error = silent.refusal(op()).message;
    assert!(error.contains("does not tell") && error.contains("mark it offline first"), "{error}");
}

#[test]
fn requests_that_make_no_sense() {
    let why = |site: &Site, op: InstanceRecreateDisks| site.refusal(op).message;
    let plain = || with(site(DiskTemplate::Plain), &op(), "node1", &missing());
    let part = vec![RecreateDisk { index: 0, spec: DiskSpec::default() }];
    let partial = InstanceRecreateDisks { disks: part.clone(), ..on(&["node3"]) };
    assert!(why(&plain(), partial).contains("Can't recreate disks partially and change the nodes"));
    assert!(why(&plain(), on(&["node3", "node4"])).contains("currently has 1 nodes, but 2"));
    let both = InstanceRecreateDisks { iallocator: Some("hail".into()), ..on(&["node3"]) };
    assert!(why(&plain(), both).contains("not both"));
    let twice = InstanceRecreateDisks { disks: [part.clone(), part].concat(), ..op() };
    assert!(why(&plain(), twice).contains("given twice"));
    let spec = DiskSpec { vg: Some("other".into()), ..DiskSpec::default() };
    let vg = InstanceRecreateDisks { disks: vec![RecreateDisk { index: 0, spec }], ..op() };
    assert!(why(&plain(), vg).contains("Only size, mode and spindles"));
    let drbd = site(DiskTemplate::Drbd);
    assert!(why(&drbd, on(&["node3", "node3"])).contains("cannot be the primary node"));
    let mut runs = plain();
    runs.facts.answers.retain(|(_, question, _)| !matches!(question, Question::Guests));
    runs.answer("node1", Question::Guests, Ok(Answer::Guests(vec![running(WEB)])));
    assert!(why(&runs, op()).contains("is running or shall be"));
    let mut dead = plain();
    dead.node("node1", |node| node.offline = true);
    assert!(why(&dead, op()).contains("name nodes on which"));
    let mut diskless = Site::new(&["node1"]);
    diskless.instance(WEB, "node1", |_| {});
    assert!(why(&diskless, op()).contains("has no disks"));
}
