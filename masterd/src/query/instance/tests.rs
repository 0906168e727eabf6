use super::*;
use crate::query::testing::{self, cells, change, cluster, error, instance, up, world};
use GuestState::{Crashed, Incoming, Paused, Running, Shutdown};
use roost_proto::choices::{AdminStateSource, Hypervisor};
use roost_proto::error::ErrorType;
use roost_proto::names::InstanceName;
use roost_proto::node::GuestState;
use roost_proto::objects::Disk;
use roost_proto::query::{Field, Resource};
use serde_json::json;

const INST1: &str = "inst1.example.org";

/// The status of inst1, whose primary node is node1.
fn status_of(world: &World) -> String {
    let cell = cells(world, Resource::Instance, &["status"], &["inst1"]).remove(0).remove(0);
    cell.value.as_str().expect("a word").to_owned()
}

/// The status for each desired state: up, down, offline.
fn statuses(world: &World) -> [String; 3] {
    [AdminState::Up, AdminState::Down, AdminState::Offline].map(|state| {
        let mut world = world.clone();
        instance(&mut world, INST1, |i| i.admin_state = state);
        status_of(&world)
    })
}

/// The cluster where node1 and node2 answer, and have inst1 in these states.
fn with(on_primary: Option<GuestState>, on_other: Option<GuestState>) -> World {
    let mut world = world();
    let guests = |state: Option<GuestState>| state.map(|s| (INST1, s)).into_iter().collect();
    let (primary, other): (Vec<_>, Vec<_>) = (guests(on_primary), guests(on_other));
    up(&mut world, "node1.example.org", &primary);
    up(&mut world, "node2.example.org", &other);
    world
}

#[test]
fn nodes_that_cannot_be_asked() {
    let mut world = with(Some(Running), None);
    testing::node(&mut world, "node1.example.org", |node| node.offline = true);
    assert_eq!(statuses(&world), ["ERROR_nodeoffline"; 3]);
    let unheard = testing::world();
    assert_eq!(statuses(&unheard), ["ERROR_nodedown"; 3]);
    // What was said before the node went away does not count.
    let mut lost = with(Some(Running), None);
    for view in lost.seen.values_mut() {
        std::sync::Arc::make_mut(view).up = false;
    }
    assert_eq!(statuses(&lost), ["ERROR_nodedown"; 3]);
}

#[test]
fn at_work() {
    let expected = ["running", "ERROR_up", "ERROR_up"];
    assert_eq!(statuses(&with(Some(Running), None)), expected);
    assert_eq!(statuses(&with(Some(Paused), None)), expected);
    // A migration under way is no error.
    assert_eq!(statuses(&with(Some(Running), Some(Incoming))), expected);
    assert_eq!(statuses(&with(Some(Running), Some(Running))), expected);
}

#[test]
fn on_the_wrong_node() {
    assert_eq!(statuses(&with(None, Some(Running))), ["ERROR_wrongnode"; 3]);
    assert_eq!(statuses(&with(Some(Shutdown), Some(Running))), ["ERROR_wrongnode"; 3]);
    let ended = statuses(&with(None, Some(Shutdown)));
    assert_eq!(ended, ["ERROR_down", "ADMIN_down", "ADMIN_offline"]);
    // Nobody asks a node that is offline.
    let mut world = with(None, Some(Running));
    testing::node(&mut world, "node2.example.org", |node| node.offline = true);
    assert_eq!(status_of(&world), "ERROR_down");
}

#[test]
fn shut_down_from_inside() {
    let mut world = with(Some(Shutdown), None);
    assert_eq!(statuses(&world), ["ERROR_down", "ADMIN_down", "ADMIN_down"]);
    cluster(&mut world, |c| c.enabled_user_shutdown = true);
    // kvm must also be told to tell the difference.
    assert_eq!(statuses(&world), ["ERROR_down", "ADMIN_down", "ADMIN_down"]);
    instance(&mut world, INST1, |i| {
        i.hvparams.insert("user_shutdown".into(), true.into());
    });
    assert_eq!(statuses(&world), ["USER_down", "ADMIN_down", "ADMIN_down"]);
    instance(&mut world, INST1, |i| {
        i.hvparams.clear();
        i.hypervisor = Hypervisor::XenPvm;
    });
    assert_eq!(statuses(&world), ["USER_down", "ADMIN_down", "ADMIN_down"]);
    cluster(&mut world, |c| c.enabled_user_shutdown = false);
    assert_eq!(statuses(&world), ["ERROR_down", "ADMIN_down", "ADMIN_down"]);
}

#[test]
fn gone_or_dead() {
    for state in [None, Some(Crashed), Some(Incoming)] {
        let mut world = with(state, None);
        assert_eq!(statuses(&world), ["ERROR_down", "ADMIN_down", "ADMIN_offline"]);
        instance(&mut world, INST1, |i| i.admin_state_source = AdminStateSource::User);
        assert_eq!(statuses(&world)[1], "ADMIN_down");
        cluster(&mut world, |c| c.enabled_user_shutdown = true);
        assert_eq!(statuses(&world), ["ERROR_down", "USER_down", "ADMIN_offline"]);
    }
}

#[test]
fn live_cells() {
    let fields = ["oper_state", "oper_ram", "oper_vcpus", "console"];
    let row = |world: &World| cells(world, Resource::Instance, &fields, &["inst1"]).remove(0);
    let running = row(&with(Some(Running), None));
    assert_eq!(running[..3], [Cell::new(true), Cell::new(512), Cell::new(2)]);
    assert_eq!(running[3].value["kind"], "ssh");
    assert_eq!(running[3].value["host"], "node1.example.org");
    let stopped = row(&with(None, None));
    assert_eq!(stopped[0], Cell::new(false));
    assert_eq!(stopped[1..], [Cell::UNAVAILABLE, Cell::UNAVAILABLE, Cell::UNAVAILABLE]);
    assert_eq!(row(&world()), vec![Cell::NO_DATA; 4]);
    let mut offline = with(Some(Running), None);
    testing::node(&mut offline, "node1.example.org", |node| node.offline = true);
    assert_eq!(row(&offline), vec![Cell::OFFLINE; 4]);
}

#[test]
fn consoles() {
    let mut world = with(Some(Running), None);
    let console = |world: &World| {
        cells(world, Resource::Instance, &["console"], &["inst1"])[0][0].value.clone()
    };
    let set = |world: &mut World, key: &str, value: Value| {
        instance(world, INST1, |i| {
            i.hvparams.insert(key.to_owned(), value);
        });
    };
    set(&mut world, "serial_console", false.into());
    assert_eq!(console(&world)["kind"], "msg");
    set(&mut world, "spice_bind", "192.0.2.1".into());
    instance(&mut world, INST1, |i| i.network_port = Some(11003));
    let expected = json!({"instance": INST1, "kind": "spice", "host": "192.0.2.1", "port": 11003});
    assert_eq!(console(&world), expected);
    set(&mut world, "vnc_bind_address", "0.0.0.0".into());
    let expected = json!({"instance": INST1, "kind": "vnc", "host": "node1.example.org",
        "port": 11003, "display": 5103});
    assert_eq!(console(&world), expected);
    instance(&mut world, INST1, |i| i.hypervisor = Hypervisor::Fake);
    let expected = json!({"instance": INST1, "kind": "msg",
        "message": "Console not available for fake hypervisor"});
    assert_eq!(console(&world), expected);
}

/// Ganeti's recorded answers about this cluster.
#[test]
fn rows_as_recorded_from_ganeti() {
    let world = world();
    let fields = [
        "name",
        "admin_state",
        "os",
        "pnode",
        "snodes",
        "disk_template",
        "nic.ips",
        "nic.macs",
        "nic.modes",
        "nic.uuids",
        "nic.names",
        "nic.links",
        "nic.networks",
        "nic.networks.names",
        "nic.bridges",
        "network_port",
        "disk.sizes",
        "disk.spindles",
        "disk_usage",
        "disk.uuids",
        "disk.names",
        "beparams",
        "oper_state",
        "status",
        "custom_hvparams",
        "custom_beparams",
        "custom_nicparams",
        "uuid",
        "tags",
    ];
    let rows = cells(&world, Resource::Instance, &fields, &[]);
    let values = |row: &[Cell]| -> Value { row.iter().map(|cell| cell.value.clone()).collect() };
    let be = json!({"minmem": 128, "maxmem": 128, "vcpus": 1, "auto_balance": true,
        "always_failover": false, "spindle_use": 1});
    assert_eq!(rows.len(), 3);
    assert_eq!(
        values(&rows[0]),
        json!([
            "inst1.example.org",
            "up",
            "debootstrap+default",
            "node1.example.org",
            [],
            "plain",
            ["10.0.0.11"],
            ["aa:00:01:00:00:01"],
            ["bridged"],
            ["ffffffff-0000-4000-8000-000000000001"],
            [null],
            ["br0"],
            [null],
            [null],
            ["br0"],
            null,
            [1024],
            [null],
            1024,
            ["cccccccc-0000-4000-8000-000000000001"],
            ["root"],
            be,
            null,
            "ERROR_nodedown",
            {},
            {},
            [{}],
            "bbbbbbbb-0000-4000-8000-000000000001",
            []
        ])
    );
    assert_eq!(
        values(&rows[1]),
        json!([
            "inst2.example.org", "up", "debootstrap+default", "node2.example.org",
            ["node3.example.org"], "drbd", ["10.0.0.12", "10.1.0.12"],
            ["aa:00:01:00:00:02", "aa:00:01:00:00:03"], ["bridged", "bridged"],
            ["ffffffff-0000-4000-8000-000000000002", "ffffffff-0000-4000-8000-000000000003"],
            [null, null], ["br0", "br1"], [null, null], [null, null], ["br0", "br1"], null, [2048],
            [null], 2176, ["cccccccc-0000-4000-8000-000000000002"], [null], be, null,
            "ERROR_nodedown", {}, {}, [{}, {"link": "br1"}],
            "bbbbbbbb-0000-4000-8000-000000000002", []
        ])
    );
    assert_eq!(rows[2][5], Cell::new("diskless"));
    assert_eq!(rows[2][18], Cell::new(0));
}

#[test]
fn parameters_are_merged_and_layered() {
    let mut world = world();
    cluster(&mut world, |c| {
        c.os_hvp = serde_json::from_value(json!({
            "debootstrap+default": {"kvm": {"acpi": false}}
        }))
        .expect("parameters");
        c.osparams = serde_json::from_value(json!({"debootstrap": {"a": 1, "b": 1}})).expect("two");
    });
    instance(&mut world, INST1, |i| {
        i.hvparams.insert("boot_order".into(), "network".into());
        i.beparams.insert("vcpus".into(), 4.into());
        i.osparams.insert("b".into(), 2.into());
        i.osparams_private.insert("password".into(), "hidden".into());
    });
    let fields = [
        "hvparams",
        "hv/acpi",
        "hv/boot_order",
        "hv/kernel_path",
        "hv/bootloader_path",
        "be/vcpus",
        "vcpus",
        "be/memory",
        "osparams",
        "custom_osparams",
    ];
    let row = cells(&world, Resource::Instance, &fields, &["inst1"]).remove(0);
    let hv = row[0].value.as_object().expect("a dict");
    assert_eq!((&hv["acpi"], &hv["boot_order"]), (&json!(false), &json!("network")));
    assert!(!hv.contains_key("migration_port"), "only clusters have it");
    assert_eq!(row[1..4], [Cell::new(false), Cell::new("network"), Cell::new("")]);
    assert_eq!(row[4], Cell::UNAVAILABLE, "kvm has no such parameter");
    assert_eq!(row[5..8], [Cell::new(4), Cell::new(4), Cell::new(128)]);
    assert_eq!(row[8], Cell::new(json!({"a": 1, "b": 2})));
    assert_eq!(row[9], Cell::new(json!({"b": 2})));
}

#[test]
fn devices_by_number() {
    let mut world = world();
    let network = world.config.network("netA").expect("a network").uuid;
    instance(&mut world, "inst2.example.org", |i| {
        i.nics[0].network = Some(network);
        i.nics[1].nicparams.insert("mode".into(), "routed".into());
    });
    let fields = [
        "disk.size/0",
        "sda_size",
        "disk.size/1",
        "disk.name/0",
        "nic.ip/1",
        "nic.ip/2",
        "nic.network.name/0",
        "nic_network",
        "nic.bridge/0",
        "nic.bridge/1",
        "nic.mode/1",
        "nic.link/1",
        "nic.vlan/0",
        "nic.name/0",
        "nic.count",
        "disk.count",
    ];
    let row = cells(&world, Resource::Instance, &fields, &["inst2"]).remove(0);
    let none = Cell::UNAVAILABLE;
    assert_eq!(
        row,
        [
            Cell::new(2048),
            Cell::new(2048),
            none.clone(),
            none.clone(),
            Cell::new("10.1.0.12"),
            none.clone(),
            Cell::new("netA"),
            Cell::new(network.to_string()),
            Cell::new("br0"),
            none.clone(),
            Cell::new("routed"),
            Cell::new("br1"),
            Cell::new(""),
            none,
            Cell::new(2),
            Cell::new(1),
        ]
    );
}

#[test]
fn disks_of_several_templates() {
    let mut world = world();
    let disk: Disk = serde_json::from_value(json!({
        "uuid": uuid::Uuid::from_u128(77), "dev_type": "file", "size": 100,
        "logical_id": ["loop", "/srv/x"],
    }))
    .expect("a disk");
    let id = disk.uuid;
    change(&mut world, &[crate::config::Change::Add(crate::config::Object::Disk(Box::new(disk)))]);
    instance(&mut world, INST1, |i| i.disks.push(id));
    let fields = ["disk_template", "disk_usage", "disk.size/1"];
    let row = cells(&world, Resource::Instance, &fields, &["inst1"]).remove(0);
    assert_eq!(row, [Cell::new("mixed"), Cell::new(1124), Cell::new(100)]);
}

#[test]
fn all_come_in_nice_order_and_named_ones_as_named() {
    let mut world = world();
    instance(&mut world, INST1, |i| {
        i.name = InstanceName::new("inst10.example.org").expect("a good name");
    });
    let names = |rows: Vec<Vec<Cell>>| -> Vec<String> {
        rows.into_iter().map(|r| r[0].value.as_str().expect("text").to_owned()).collect()
    };
    let all = names(cells(&world, Resource::Instance, &["name"], &[]));
    assert_eq!(all, ["inst2.example.org", "inst3.example.org", "inst10.example.org"]);
    let id = world.config.instance("inst2").expect("it is there").uuid.to_string();
    let named = names(cells(&world, Resource::Instance, &["name"], &["inst10", "INST3", &id]));
    assert_eq!(named, ["inst10.example.org", "inst3.example.org", "inst2.example.org"]);
    // A pattern is no name: what it finds comes in nice order, and it may find nothing.
    let found = names(cells(&world, Resource::Instance, &["name"], &["inst10", "inst2*"]));
    assert_eq!(found, ["inst2.example.org", "inst10.example.org"]);
    assert!(cells(&world, Resource::Instance, &["name"], &["x*"]).is_empty());
}

#[test]
fn unknown_names_are_errors_and_unknown_fields_are_not() {
    let world = world();
    let error = error(&world, Resource::Instance, &["name"], &["inst1", "nope"]);
    assert_eq!(error.message, "Instance 'nope' not known");
    assert_eq!(error.error_type, Some(ErrorType::UnknownEntity));
    let row = cells(&world, Resource::Instance, &["colour"], &["inst1"]).remove(0);
    assert_eq!(row, [Cell::UNKNOWN]);
}

#[test]
fn every_field_has_a_cell() {
    for world in [world(), with(Some(Running), None)] {
        let names: Vec<_> = F::all().iter().map(|f| f.def().name.into_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for row in cells(&world, Resource::Instance, &names, &[]) {
            for (name, cell) in names.iter().zip(&row) {
                assert_ne!(*cell, Cell::UNKNOWN, "{name}");
            }
        }
    }
}
