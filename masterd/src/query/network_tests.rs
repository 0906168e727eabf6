use super::*;
use crate::config::{Change, Object};
use crate::query::testing::{cells, change, error, instance, world};
use roost_proto::query::{Field, Resource};

/// Ganeti's recorded answer about this network.
#[test]
fn a_row_as_recorded_from_ganeti() {
    let fields = [
        "name",
        "network",
        "gateway",
        "network6",
        "gateway6",
        "mac_prefix",
        "free_count",
        "reserved_count",
        "group_list",
        "group_cnt",
        "inst_list",
        "inst_cnt",
        "external_reservations",
        "uuid",
        "tags",
    ];
    let row = cells(&world(), Resource::Network, &fields, &[]).remove(0);
    let expected = json!([
        [0, "netA"],
        [0, "10.0.0.0/24"],
        [0, "10.0.0.1"],
        [3, null],
        [3, null],
        [3, null],
        [0, 254],
        [0, 2],
        [0, [["default", "bridged", "br0", ""]]],
        [0, 1],
        [0, []],
        [0, 0],
        [0, "10.0.0.0, 10.0.0.255"],
        [0, "dddddddd-0000-4000-8000-000000000001"],
        [0, []],
    ]);
    assert_eq!(serde_json::to_value(row).expect("plain data"), expected);
    let map = cells(&world(), Resource::Network, &["map"], &["netA"]).remove(0).remove(0);
    assert_eq!(map, Cell::new(format!("X{}X", ".".repeat(254))));
}

#[test]
fn members_and_pools() {
    let mut world = world();
    let mut network = (**world.config.network("netA").expect("a network")).clone();
    let mut pool = "0".repeat(256);
    pool.replace_range(11..12, "1");
    network.reservations = Some(pool);
    network.mac_prefix = Some("aa:bb:cc".into());
    let id = network.uuid;
    change(&mut world, &[Change::Update(Object::Network(network))]);
    instance(&mut world, "inst2.example.org", |i| {
        i.nics.iter_mut().for_each(|nic| nic.network = Some(id));
    });
    let fields = ["free_count", "reserved_count", "inst_list", "inst_cnt", "mac_prefix"];
    let row = cells(&world, Resource::Network, &fields, &["netA"]).remove(0);
    assert_eq!(row[..2], [Cell::new(253), Cell::new(3)]);
    assert_eq!(row[2..4], [Cell::list(["inst2.example.org"]), Cell::new(1)]);
    assert_eq!(row[4], Cell::new("aa:bb:cc"));
}

#[test]
fn without_bitmaps_all_is_free() {
    let mut world = world();
    let mut network = (**world.config.network("netA").expect("a network")).clone();
    network.reservations = None;
    network.ext_reservations = None;
    network.network = "10.0.0.0/30".into();
    change(&mut world, &[Change::Update(Object::Network(network))]);
    let fields = ["map", "free_count", "external_reservations"];
    let row = cells(&world, Resource::Network, &fields, &["netA"]).remove(0);
    assert_eq!(row, [Cell::new("...."), Cell::new(4), Cell::new("")]);
}

#[test]
fn unknown_networks_are_errors_and_every_field_has_a_cell() {
    let refused = error(&world(), Resource::Network, &["name"], &["nope"]);
    assert_eq!(refused.message, "Network 'nope' not known");
    let names: Vec<_> = F::all().iter().map(|f| f.def().name.into_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let row = cells(&world(), Resource::Network, &names, &[]).remove(0);
    assert!(row.iter().all(|cell| *cell != Cell::UNKNOWN), "{row:?}");
}
