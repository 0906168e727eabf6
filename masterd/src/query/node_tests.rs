use super::*;
use crate::query::testing::{self, cells, cluster, error, up, world};
use roost_proto::choices::DiskTemplate;
use roost_proto::query::{Field, Resource};
use serde_json::json;

const LIVE: [&str; 10] = [
    "bootid", "cnodes", "cnos", "csockets", "ctotal", "dtotal", "dfree", "mtotal", "mnode", "mfree",
];

fn live(world: &World, name: &str) -> Vec<Cell> {
    cells(world, Resource::Node, &LIVE, &[name]).remove(0)
}

#[test]
fn what_nodes_say() {
    let mut world = world();
    cluster(&mut world, |c| c.enabled_disk_templates = vec![DiskTemplate::File]);
    up(&mut world, "node1.example.org", &[]);
    let expected = json!([
        [0, "boot"],
        [0, 1],
        [0, 8],
        [0, 2],
        [0, 8],
        [0, 100_000],
        [0, 60_000],
        [0, 4096],
        [0, 512],
        [0, 1024]
    ]);
    assert_eq!(serde_json::to_value(live(&world, "node1")).expect("plain data"), expected);
}

#[test]
fn nodes_that_say_nothing() {
    let mut world = world();
    up(&mut world, "node1.example.org", &[]);
    up(&mut world, "node4.example.org", &[]);
    assert_eq!(live(&world, "node2"), vec![Cell::NO_DATA; 10], "it does not answer");
    assert_eq!(live(&world, "node4"), vec![Cell::OFFLINE; 10], "nobody asks it");
    testing::node(&mut world, "node1.example.org", |node| node.vm_capable = false);
    assert_eq!(live(&world, "node1"), vec![Cell::UNAVAILABLE; 10], "it has nothing for instances");
    let mut lost = world.clone();
    for view in lost.seen.values_mut() {
        Arc::make_mut(view).up = false;
    }
    testing::node(&mut lost, "node1.example.org", |node| node.vm_capable = true);
    assert_eq!(live(&lost, "node1"), vec![Cell::NO_DATA; 10]);
}

#[test]
fn space_is_that_of_the_default_storage() {
    let mut world = world();
    up(&mut world, "node1.example.org", &[]);
    let space =
        |world: &World| cells(world, Resource::Node, &["dtotal", "dfree"], &["node1"]).remove(0);
    let none = vec![Cell::UNAVAILABLE; 2];
    cluster(&mut world, |c| c.enabled_disk_templates = vec![DiskTemplate::Rbd]);
    assert_eq!(space(&world), none, "nodes do not report it");
    let set = |world: &mut World, templates: &[DiskTemplate]| {
        let templates = templates.to_vec();
        cluster(world, |c| c.enabled_disk_templates = templates);
    };
    set(&mut world, &[DiskTemplate::Diskless, DiskTemplate::File]);
    assert_eq!(space(&world), [Cell::new(100_000), Cell::new(60_000)]);
    set(&mut world, &[DiskTemplate::SharedFile]);
    assert_eq!(space(&world), vec![Cell::NO_DATA; 2], "the directory is not there");
    set(&mut world, &[DiskTemplate::Drbd]);
    cluster(&mut world, |c| c.volume_group_name = None);
    assert_eq!(space(&world), none, "there is no volume group");
    cluster(&mut world, |c| c.volume_group_name = Some("xenvg".into()));
    assert_eq!(space(&world), vec![Cell::NO_DATA; 2], "not on this node");
    for view in world.seen.values_mut() {
        let report = &mut Arc::make_mut(view).report;
        report.volume_groups = [("xenvg".to_owned(), (5000, 2000))].into();
        report.spindles = [("xenvg".to_owned(), (4, 3))].into();
    }
    assert_eq!(space(&world), [Cell::new(5000), Cell::new(2000)]);
    let spindles =
        |world: &World| cells(world, Resource::Node, &["sptotal", "spfree"], &["node1"]).remove(0);
    assert_eq!(spindles(&world), none, "only exclusive storage counts them");
    cluster(&mut world, |c| {
        c.ndparams.insert("exclusive_storage".into(), true.into());
    });
    assert_eq!(spindles(&world), [Cell::new(4), Cell::new(3)]);
}

/// Ganeti's recorded answers about this cluster.
#[test]
fn rows_as_recorded_from_ganeti() {
    let world = world();
    let fields = [
        "name",
        "offline",
        "master_candidate",
        "drained",
        "pinst_cnt",
        "sinst_cnt",
        "pip",
        "sip",
        "role",
        "pinst_list",
        "sinst_list",
        "master_capable",
        "vm_capable",
        "group.uuid",
        "uuid",
        "tags",
    ];
    let rows = cells(&world, Resource::Node, &fields, &[]);
    let group = "11111111-1111-4111-8111-111111111111";
    let recorded = json!([
        [
            "node1.example.org",
            false,
            true,
            false,
            1,
            0,
            "198.51.100.1",
            "192.0.2.1",
            "M",
            ["inst1.example.org"],
            [],
            true,
            true,
            group,
            "aaaaaaaa-0000-4000-8000-000000000001",
            []
        ],
        [
            "node2.example.org",
            false,
            true,
            false,
            1,
            0,
            "198.51.100.2",
            "192.0.2.2",
            "C",
            ["inst2.example.org"],
            [],
            true,
            true,
            group,
            "aaaaaaaa-0000-4000-8000-000000000002",
            []
        ],
        [
            "node3.example.org",
            false,
            false,
            false,
            1,
            1,
            "198.51.100.3",
            "192.0.2.3",
            "R",
            ["inst3.example.org"],
            ["inst2.example.org"],
            true,
            true,
            group,
            "aaaaaaaa-0000-4000-8000-000000000003",
            []
        ],
        [
            "node4.example.org",
            true,
            false,
            false,
            0,
            0,
            "198.51.100.4",
            "192.0.2.4",
            "O",
            [],
            [],
            true,
            true,
            group,
            "aaaaaaaa-0000-4000-8000-000000000004",
            []
        ],
        [
            "node5.example.org",
            false,
            false,
            true,
            0,
            0,
            "198.51.100.5",
            "192.0.2.5",
            "D",
            [],
            [],
            true,
            true,
            group,
            "aaaaaaaa-0000-4000-8000-000000000005",
            []
        ],
    ]);
    let values: Value = rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.value.clone()).collect::<Value>())
        .collect();
    assert_eq!(values, recorded);
}

#[test]
fn parameters_come_from_cluster_group_and_node() {
    let mut world = world();
    testing::node(&mut world, "node2.example.org", |node| {
        node.ndparams.insert("ssh_port".into(), 2222.into());
        node.ndparams.insert("oob_program".into(), "/bin/oob".into());
    });
    let fields = ["ndp/ssh_port", "ndp/ovs_name", "custom_ndparams", "ndparams", "powered"];
    let rows = cells(&world, Resource::Node, &fields, &["node2", "node1"]);
    assert_eq!(rows[0][..2], [Cell::new(2222), Cell::new("switch1")]);
    assert_eq!(rows[0][2], Cell::new(json!({"ssh_port": 2222, "oob_program": "/bin/oob"})));
    assert_eq!(rows[0][3].value["ssh_port"], 2222);
    assert_eq!(rows[0][4], Cell::new(true));
    assert_eq!(rows[1][0], Cell::new(22));
    assert_eq!(rows[1][4], Cell::UNAVAILABLE, "nobody can tell");
}

#[test]
fn unknown_nodes_are_errors() {
    let error = error(&world(), Resource::Node, &["name"], &["node1", "node9"]);
    assert_eq!(error.message, "Node 'node9' not known");
}

#[test]
fn every_field_has_a_cell() {
    let mut world = world();
    up(&mut world, "node1.example.org", &[]);
    let names: Vec<_> = F::all().iter().map(|f| f.def().name.into_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for row in cells(&world, Resource::Node, &names, &[]) {
        for (name, cell) in names.iter().zip(&row) {
            assert_ne!(*cell, Cell::UNKNOWN, "{name}");
        }
    }
}
