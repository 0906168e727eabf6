use super::*;
use crate::fail::FailMode;
use crate::model::{Cluster, Disk, DiskTemplate, Instance, Status, Utilisation};
use crate::{state, text};

const CLUSTER: &str = "\
group1|u1|preferred||
group2|u2|last_resort||

node1|8192|0|8192|102400|102400|8|M|u1|1||N|0|1|1.0
node2|8192|0|6144|102400|51200|8|N|u1|1||N|0|1|1.0
node3|8192|0|8192|102400|102400|8|N|u1|1||N|0|1|1.0
node4|8192|0|8192|102400|102400|8|N|u2|1||N|0|1|1.0
node5|8192|0|8192|102400|102400|8|Y|u2|1||N|0|1|1.0

old|2048|51200|1|running|Y|node2||plain||1

";

fn cluster() -> Cluster {
    text::read(CLUSTER).expect("a cluster")
}

fn wanted(template: DiskTemplate, memory: i64) -> Instance {
    Instance {
        name: "new".into(),
        memory,
        disk: 1024,
        disks: vec![Disk { size: 1024, spindles: None }],
        vcpus: 1,
        status: Status::Running,
        auto_balance: true,
        primary: NodeIdx::NONE,
        secondary: None,
        template,
        tags: vec![],
        spindle_use: 1,
        forthcoming: false,
        utilisation: Utilisation::ONE,
        networks: vec![],
    }
}

fn ask(
    cluster: Cluster,
    instance: Instance,
    group: Option<GroupIdx>,
    rules: &Rules,
) -> Result<Allocation, NoAllocation> {
    let mut placement = Placement::new(cluster, &state::Options::default());
    let nodes = instance.template.required_nodes();
    let index = placement.add(instance);
    allocate(&placement, index, &Request { nodes, group }, rules)
}

fn unchecked() -> Rules {
    Rules { capacity_checks: false, ..Rules::default() }
}

#[test]
fn the_emptier_node_is_taken_and_of_equal_ones_the_later() {
    let found =
        ask(cluster(), wanted(DiskTemplate::Plain, 1024), None, &unchecked()).expect("room");
    assert_eq!((found.group, found.primary, found.secondary), (GroupIdx(0), NodeIdx(2), None));
    assert_eq!(found.successes, 3);
    assert_eq!(found.messages[0], "Selected group: group1");
    assert!(
        found.messages[1].starts_with("Group group1 (preferred): score: "),
        "{:?}",
        found.messages
    );
    assert!(found.messages[1].ends_with("successes 3, failures 0 () for node(s) node3"));
}

#[test]
fn a_pair_is_found() {
    let found = ask(cluster(), wanted(DiskTemplate::Drbd, 1024), None, &unchecked()).expect("room");
    assert_eq!(found.nodes(), [NodeIdx(2), NodeIdx(0)]);
    assert_eq!(found.successes, 6);
}

#[test]
fn a_group_of_last_resort_is_taken_when_the_preferred_is_full() {
    let rules = Rules { restrict_to: Some(vec![NodeIdx(3), NodeIdx(4)]), ..unchecked() };
    let found = ask(cluster(), wanted(DiskTemplate::Plain, 1024), None, &rules).expect("room");
    assert_eq!(found.primary, NodeIdx(3));
    assert_eq!(found.messages[1], "Group group1: error No online nodes");
}

#[test]
fn what_is_named_is_obeyed_and_what_is_missing_is_said() {
    let plain = wanted(DiskTemplate::Plain, 1024);
    let found = ask(cluster(), plain.clone(), Some(GroupIdx(1)), &unchecked()).expect("room");
    assert_eq!(found.primary, NodeIdx(3));

    let drbd = wanted(DiskTemplate::Drbd, 1024);
    let none = ask(cluster(), drbd, Some(GroupIdx(1)), &unchecked()).expect_err("one node online");
    assert_eq!(none.to_string(), "Not enough online nodes");

    let lonely = Instance { networks: vec!["net".into()], ..plain };
    let none = ask(cluster(), lonely.clone(), Some(GroupIdx(0)), &unchecked()).expect_err("no net");
    let expected =
        "The group group1 is not connected to a network required by instance new".to_owned();
    assert_eq!(none.to_string(), expected);
    let none = ask(cluster(), lonely, None, &unchecked()).expect_err("no network anywhere");
    assert_eq!(
        none.messages[1],
        "group group2 is not connected to a network required by instance new"
    );
}

#[test]
fn why_there_is_no_room_is_counted() {
    let none = ask(cluster(), wanted(DiskTemplate::Plain, 8192), None, &unchecked())
        .expect_err("nodes have less");
    assert_eq!(none.failures.of(FailMode::Mem), 4);
    assert_eq!(
        none.to_string(),
        "Group group1 (preferred): No valid allocation solutions, failure reasons: FailMem: 3, \
         Group group2 (last_resort): No valid allocation solutions, failure reasons: FailMem: 1"
    );
    let none = ask(cluster(), wanted(DiskTemplate::Plain, 65_536), None, &unchecked())
        .expect_err("the policy says no");
    assert_eq!(none.failures.to_string(), "FailMem: 4");
}

#[test]
fn policies_name_what_does_not_fit_the_first_range() {
    let policy = &cluster().groups[0].policy;
    let mut instance = wanted(DiskTemplate::Plain, 64);
    assert_eq!(policy.admits(&instance, false), Err(FailMode::Mem));
    instance.memory = 128;
    assert_eq!(policy.admits(&instance, false), Ok(()));
    assert_eq!(policy.admits(&instance, true), Err(FailMode::Spindles));
    instance.disks.clear();
    assert_eq!(policy.admits(&instance, false), Err(FailMode::DiskCount));
}
