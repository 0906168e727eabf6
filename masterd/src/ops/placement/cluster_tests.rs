use super::*;
use crate::config::{Change, Object};
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::guest::guest_with;
use crate::ops::testing::{Site, machine, node_id};
use roost_htools::state::{Options, Placement};
use roost_proto::choices::AllocPolicy;
use roost_proto::error::Error;
use roost_proto::node::Action;
use serde_json::json;

/// Three machines, `web` mirrored from the first to the second.
fn site() -> Site {
    let mut site = Site::new(&["node1", "node2", "node10"]);
    site.cluster(|cluster| {
        cluster.volume_group_name = Some("xenvg".into());
        cluster.enabled_disk_templates = vec![DiskTemplate::File, DiskTemplate::Drbd];
    });
    site.instance("web", "node1", |instance| {
        instance.beparams =
            [("maxmem".to_owned(), json!(512)), ("vcpus".to_owned(), json!(2))].into();
        instance.tags = vec!["service:web".into()];
    });
    site.mirrored_volumes("web", "node2");
    for node in ["node1", "node2", "node10"] {
        site.room(node, 10_000);
    }
    site
}

fn plan_for(site: &Site) -> Snapshot {
    site.planning(|cx| planned(cx, usual_storage(cx.config())))
}

#[test]
fn everything_is_there() {
    let mut site = site();
    site.group("apart");
    site.cluster(|cluster| cluster.tags = vec!["htools:iextags:service".into()]);
    let snapshot = plan_for(&site);
    let cluster = &snapshot.cluster;
    let names = |all: &[model::Node]| all.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&cluster.nodes), ["node1", "node2", "node10"], "nice order");
    assert_eq!(cluster.groups[0].name, "apart");
    assert_eq!(cluster.groups[1].alloc_policy, AllocPolicy::Preferred);
    assert_eq!(cluster.groups[1].policy.ranges[0].min.nics, 0, "the cluster's policy");
    assert!(!cluster.groups[1].own_policy);
    let node = &cluster.nodes[0];
    assert_eq!((node.total_memory, node.free_memory, node.total_cpus), (65_536.0, 4096, 16.0));
    assert_eq!((node.total_disk, node.free_disk), (1_048_576.0, 10_000), "the volume group");
    assert!(node.master && !node.offline && !cluster.nodes[1].master);
    let web = &cluster.instances[0];
    assert_eq!((web.memory, web.vcpus, web.status), (512, 2, Status::Running));
    assert_eq!((web.primary, web.secondary), (NodeIdx(0), Some(NodeIdx(1))));
    assert_eq!((web.template, web.disk), (DiskTemplate::Drbd, 1152), "with its metadata");
    assert_eq!(web.disks, [Disk { size: 1024, spindles: None }]);
    assert_eq!(web.tags, ["service:web"]);
    let id = site.config.instance("web").expect("it").uuid;
    assert_eq!(snapshot.instance_id(snapshot.instance(id).expect("known")), id);
    assert_eq!(snapshot.node(node_id("node10")), Some(NodeIdx(2)));
    assert!(snapshot.problems.is_empty());
    let placement = Placement::new(cluster.clone(), &Options::default());
    assert_eq!(placement.peer_memory(NodeIdx(1), NodeIdx(0)), 512);
}

#[test]
fn who_takes_no_instances_is_offline() {
    let mut site = site();
    site.node("node2", |node| node.drained = true);
    site.facts.answers.retain(|(node, ..)| *node != node_id("node10"));
    let snapshot = plan_for(&site);
    let [one, two, ten] = &snapshot.cluster.nodes[..] else { panic!("three") };
    assert!(!one.offline && two.offline && ten.offline);
    assert_eq!(two.free_memory, 4096, "its figures are known");
    assert_eq!(ten.total_memory, 0.0);
    let problems: Vec<_> = snapshot.problems.iter().collect();
    assert_eq!(problems, [(&node_id("node10"), &"node node10 does not answer".to_owned())]);
    site.answer("node10", Question::Node, Err(Error::environment("no route to node10")));
    let snapshot = plan_for(&site);
    assert_eq!(snapshot.problems[&node_id("node10")], "no route to node10");
    site.node("node10", |node| node.vm_capable = false);
    assert!(plan_for(&site).problems.is_empty(), "nobody expects anything of it");
}

#[test]
fn a_node_that_was_not_asked_is_as_it_was_seen() {
    let mut site = site();
    site.facts.answers.retain(|(node, ..)| *node != node_id("node10"));
    site.facts.seen.insert(
        node_id("node10"),
        Arc::new(NodeView { up: true, report: machine(777), ..NodeView::default() }),
    );
    let snapshot = plan_for(&site);
    assert_eq!(snapshot.cluster.nodes[2].free_memory, 777);
    assert!(!snapshot.cluster.nodes[2].offline);
}

#[test]
fn what_jobs_under_way_will_have_made_counts() {
    let mut site = site();
    let web = site.config.instance("web").expect("it").clone();
    let mut new = (*web).clone();
    new.uuid = InstanceId(uuid::Uuid::from_u128(77));
    new.name = roost_proto::names::InstanceName::new("new").expect("a name");
    (new.primary_node, new.disks) = (node_id("node2"), vec![]);
    let guest = Box::new(guest_with(&site.config, &new, &[]).expect("a guest"));
    let start = Action::GuestStart { guest, paused: false };
    let mut plan = Plan::default();
    plan.pivot.changes = vec![Change::Add(Object::Instance(Box::new(new)))];
    plan.after = vec![Step::new("starting instance", Task::on(node_id("node2"), start))];
    site.active.push(Arc::new(plan));
    let snapshot = plan_for(&site);
    assert_eq!(snapshot.cluster.instances.len(), 2);
    assert_eq!(snapshot.cluster.instances[0].name, "new");
    assert_eq!(snapshot.cluster.instances[0].primary, NodeIdx(1));
    assert_eq!(snapshot.cluster.nodes[1].free_memory, 4096 - 512);
    // Its pivot has been: it is there once, not twice.
    let changes = site.active[0].pivot.changes.clone();
    site.apply(&changes);
    assert_eq!(plan_for(&site).cluster.instances.len(), 2);
}

#[test]
fn expected_instances_are_what_nodes_see() {
    let mut site = site();
    site.instance("down", "node1", |i| i.admin_state = AdminState::Down);
    site.instance("lost", "node2", |_| {});
    site.instance("mute", "node10", |_| {});
    for node in ["node1", "node2"] {
        site.facts.seen.insert(
            node_id(node),
            Arc::new(NodeView { up: true, report: machine(3000), ..NodeView::default() }),
        );
    }
    site.seen("node1", "web");
    let snapshot = expected(&site.config, &site.active, &site.facts.seen);
    let all: Vec<_> =
        snapshot.cluster.instances.iter().map(|i| (i.name.as_str(), i.status, i.memory)).collect();
    assert_eq!(
        all,
        [
            ("down", Status::AdminDown, 128),
            ("lost", Status::ErrorDown, 128),
            ("mute", Status::ErrorNodeDown, 128),
            ("web", Status::Running, 128),
        ],
        "what it has, not the 512 it may get"
    );
    assert_eq!(snapshot.problems[&node_id("node10")], "node node10 does not answer");
    site.seen("node2", "down");
    let snapshot = expected(&site.config, &site.active, &site.facts.seen);
    assert_eq!(snapshot.cluster.instances[0].status, Status::ErrorWrongNode);
}

#[test]
fn only_the_room_that_is_counted() {
    let mut site = site();
    let place = |site: &mut Site, vg: &str| {
        let id = site.config.instance("web").expect("it").disks[0];
        let mut disk = (**site.config.disks.get(&id).expect("it")).clone();
        for child in &mut disk.children {
            child.logical_id = roost_proto::objects::LogicalId::Pair(vg.into(), "volume".into());
        }
        site.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
    };
    place(&mut site, "other");
    assert_eq!(plan_for(&site).cluster.instances[0].disk, 0, "in another volume group");
    site.instance("both", "node1", |_| {});
    site.disk("both", DiskTemplate::File, "/srv/file/both/0");
    site.disk("both", DiskTemplate::SharedFile, "/srv/shared/both/1");
    let snapshot = plan_for(&site);
    let both = &snapshot.cluster.instances[0];
    assert_eq!((both.template, both.disk), (DiskTemplate::File, 2048), "it stays where it is");
    assert!(!both.movable());
}

#[test]
fn disks_of_their_own() {
    let mut site = site();
    site.cluster(|cluster| {
        cluster.ndparams = [("exclusive_storage".to_owned(), json!(true))].into();
    });
    site.facts.answers.clear();
    let mut report = machine(4096);
    report.volume_groups.insert("xenvg".into(), (4096, 2048));
    report.spindles.insert("xenvg".into(), (4, 3));
    site.answer("node1", Question::Node, Ok(Answer::Node(Box::new(report))));
    let node = &plan_for(&site).cluster.nodes[0];
    assert!(node.exclusive_storage);
    assert_eq!((node.spindles, node.free_spindles), (4, 3));
}
