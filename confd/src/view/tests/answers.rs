//! Each question in all its forms. Source: Ganeti's reference on confd.

use super::*;
use crate::wire::{Dict, Field};

const NODE: &str = "aaaaaaaa-0000-4000-8000-00000000000";
const ARGUMENT: u8 = 2;

fn answer(shared: &Shared, kind: QueryType, query: Query<'_>) -> Value {
    ask(shared, kind, query).unwrap().0
}

fn refused(shared: &Shared, kind: QueryType, query: Query<'_>) -> Value {
    ask(shared, kind, query).unwrap_err()
}

fn dict() -> Query<'static> {
    Query::Dict(Dict::default())
}

#[test]
fn ping() {
    let shared = loaded(&recorded());
    for query in [Query::Empty, text("x"), dict()] {
        assert_eq!(ask(&shared, QueryType::Ping, query), Ok((json!(3_020_000), 0)));
    }
}

#[test]
fn roles() {
    let mut config = recorded();
    config["nodes"][format!("{NODE}5")]["offline"] = json!(true);
    config["nodes"][format!("{NODE}4")]["master_candidate"] = json!(true);
    let shared = loaded(&config);
    let role = |name: &str| ask(&shared, QueryType::NodeRoleByName, text(name));
    for (name, number) in [
        ("node1.example.org", 0),
        ("node1", 1),
        (&format!("{NODE}1"), 1),
        ("node2", 1),
        ("node3", 4),
        ("node4", 2),
        ("node5", 3),
    ] {
        assert_eq!(role(name), Ok((json!(number), 42)), "{name}");
    }
    let why = "Failure: prerequisites not met for this operation:\nerror type: ECodeNoEnt, error details:\n";
    assert_eq!(role("nope"), Err(json!(format!("{why}Node name nope not found"))));
    let wrong = refused(&shared, QueryType::NodeRoleByName, dict());
    assert!(wrong.as_str().unwrap().starts_with("Invalid query type DictQuery (ConfdReqQ {"));

    config["cluster"]["master_node"] = json!("99999999-0000-4000-8000-000000000009");
    let without = loaded(&config);
    let missing = format!("{why}Node name 99999999-0000-4000-8000-000000000009 not found");
    for (kind, query) in
        [(QueryType::NodeRoleByName, text("node2")), (QueryType::ClusterMaster, Query::Empty)]
    {
        assert_eq!(refused(&without, kind, query), json!(missing));
    }
}

#[test]
fn names_that_match_several() {
    let mut config = recorded();
    config["nodes"][format!("{NODE}2")]["name"] = json!("node1.other.example.org");
    let shared = loaded(&config);
    assert_eq!(
        refused(&shared, QueryType::NodeDrbd, text("node1")),
        json!("OpPrereqError \"Node name node1 has multiple matches\" ECodeNoEnt")
    );
    assert_eq!(answer(&shared, QueryType::NodeRoleByName, text("node1.other")), json!(1));
}

#[test]
fn masters() {
    let shared = loaded(&recorded());
    let fields = |fields: &[Field]| {
        let dict = Dict { fields: fields.to_vec(), ..Dict::default() };
        answer(&shared, QueryType::ClusterMaster, Query::Dict(dict))
    };
    assert_eq!(
        ask(&shared, QueryType::ClusterMaster, Query::Empty),
        Ok((json!("node1.example.org"), 42))
    );
    assert_eq!(
        fields(&[Field::MasterPip, Field::Name, Field::Ip, Field::Name]),
        json!(["198.51.100.1", "node1.example.org", "198.51.100.10", "node1.example.org"])
    );
    assert_eq!(fields(&[]), json!([]));
    assert_eq!(refused(&shared, QueryType::ClusterMaster, text("x")), json!(ARGUMENT));
}

#[test]
fn addresses_of_instances() {
    let mut config = recorded();
    // Later by UUID counts, on whichever of the spellings of the link.
    config["instances"]["bbbbbbbb-0000-4000-8000-000000000003"]["nics"] = json!([
        {"mac": "aa:00:01:00:00:04", "ip": "10.0.0.11", "nicparams": {"link": "br0"}, "uuid": "f"},
        {"mac": "aa:00:01:00:00:05", "ip": "2001:db8::1", "nicparams": {}, "uuid": "f"},
        {"mac": "aa:00:01:00:00:06", "ip": "10.0.0.2", "nicparams": {}, "uuid": "f"},
    ]);
    let shared = loaded(&config);
    let one = |ip: &'static str, link: Option<&'static str>| {
        let dict = Dict { ip: Some(ip.into()), link: link.map(Into::into), ..Dict::default() };
        ask(&shared, QueryType::NodePipByInstanceIp, Query::Dict(dict))
    };
    assert_eq!(one("10.0.0.11", None), Ok((json!("198.51.100.3"), 42)));
    assert_eq!(one("10.0.0.12", Some("br0")), Ok((json!("198.51.100.2"), 42)));
    assert_eq!(one("10.1.0.12", Some("br1")), Ok((json!("198.51.100.2"), 42)));
    assert_eq!(one("2001:db8::1", None), Ok((json!("198.51.100.3"), 42)));
    for (ip, link) in
        [("10.1.0.12", None), ("10.0.0.1", None), ("10.0.0.11", Some("br1")), ("x", Some("y"))]
    {
        assert_eq!(one(ip, link), Err(json!(0)), "{ip}");
    }
    let ips = vec!["10.1.0.12".into(), "10.0.0.12".into()];
    let list = Dict { link: Some("br1".into()), ips, ..Dict::default() };
    let kind = QueryType::NodePipByInstanceIp;
    assert_eq!(
        ask(&shared, kind, Query::Dict(list)),
        Ok((json!([[0, "198.51.100.2", 42], [1, 0, 0]]), 42))
    );
    assert_eq!(ask(&shared, kind, dict()), Ok((json!([]), 42)));
    for query in [Query::Empty, text("10.0.0.11")] {
        assert_eq!(refused(&shared, kind, query), json!(ARGUMENT));
    }

    let kind = QueryType::InstancesIpsList;
    let all = json!(["10.0.0.11", "10.0.0.12", "10.0.0.2", "2001:db8::1"]);
    assert_eq!(ask(&shared, kind, Query::Empty), Ok((all.clone(), 42)));
    assert_eq!(ask(&shared, kind, text("br0")), Ok((all, 42)));
    assert_eq!(answer(&shared, kind, text("br1")), json!(["10.1.0.12"]));
    assert_eq!(answer(&shared, kind, text("br9")), json!([]));
    assert_eq!(refused(&shared, kind, dict()), json!("Invalid query type"));

    // Another default link, nothing else.
    let mut update = begin(&shared, false);
    config["cluster"]["nicparams"]["default"]["link"] = json!("br1");
    put(&mut update, Space::Cluster, "", &config["cluster"]).unwrap();
    shared.commit(update).unwrap();
    assert_eq!(answer(&shared, kind, text("br0")), json!(["10.0.0.11"]));
    assert_eq!(
        answer(&shared, kind, Query::Empty),
        json!(["10.0.0.11", "10.0.0.12", "10.0.0.2", "10.1.0.12", "2001:db8::1"])
    );
}

#[test]
fn mirrors() {
    let mut config = recorded();
    let disk = "cccccccc-0000-4000-8000-000000000002";
    let kind = QueryType::NodeDrbd;
    let shared = loaded(&config);
    assert_eq!(
        ask(&shared, kind, text("node3")),
        Ok((
            json!([[
                "node3.example.org",
                1,
                "inst2.example.org",
                "disk/0",
                "secondary",
                "node2.example.org"
            ]]),
            5
        ))
    );
    assert_eq!(ask(&shared, kind, text("node1")), Ok((json!([]), 3)));
    assert_eq!(refused(&shared, kind, Query::Empty), json!("Invalid query type EmptyQuery"));

    // A mirror below a disk counts as the disk.
    let mirror = config["disks"][disk].clone();
    config["disks"][disk]["dev_type"] = json!("plain");
    config["disks"][disk]["logical_id"] = json!(["vg", "lv"]);
    config["disks"][disk]["children"] = json!([mirror]);
    let shared = loaded(&config);
    assert_eq!(
        answer(&shared, kind, text("node2")),
        json!([[
            "node2.example.org",
            0,
            "inst2.example.org",
            "disk/0",
            "primary",
            "node3.example.org"
        ]])
    );

    config["nodes"].as_object_mut().unwrap().remove(&format!("{NODE}3"));
    assert_eq!(
        refused(&loaded(&config), kind, text("node2")),
        json!(format!("OpPrereqError \"Node name {NODE}3 not found\" ECodeNoEnt"))
    );
}

#[test]
fn instances_of_nodes() {
    let shared = loaded(&recorded());
    let kind = QueryType::NodeInstances;
    let (there, serial) = ask(&shared, kind, text("node3.example.org")).unwrap();
    assert_eq!(serial, 5);
    assert_eq!(there[0][0]["name"], "inst3.example.org");
    assert_eq!(there[1][0]["name"], "inst2.example.org");
    assert_eq!(ask(&shared, kind, text("node5")), Ok((json!([[], []]), 7)));
    assert_eq!(
        refused(&shared, kind, text("no\"pe")),
        json!(
            r#"Node not found in the configuration: OpPrereqError "Node name no\"pe not found" ECodeNoEnt"#
        )
    );
}

#[test]
fn disks_of_instances() {
    let mut config = recorded();
    let kind = QueryType::InstanceDisks;
    let shared = loaded(&config);
    for name in ["inst2", "inst2.example.org", "bbbbbbbb-0000-4000-8000-000000000002"] {
        let (disks, serial) = ask(&shared, kind, text(name)).unwrap();
        assert_eq!(serial, 8);
        assert_eq!(disks[0]["children"][1]["size"], 128);
        assert_eq!(disks[0]["children"][1]["children"], json!([]));
    }
    assert_eq!(answer(&shared, kind, text("inst3")), json!([]));
    config["disks"].as_object_mut().unwrap().remove("cccccccc-0000-4000-8000-000000000001");
    assert_eq!(
        refused(&loaded(&config), kind, text("inst1")),
        json!(
            "Could not retrieve disks: OpPrereqError \"Disk uuid cccccccc-0000-4000-8000-000000000001 not found\" ECodeNoEnt"
        )
    );
}

#[test]
fn parts_of_the_configuration() {
    let mut config = recorded();
    config["cluster"]["osparams"] = json!({"a/b~c": {"ä": "ö"}});
    let shared = loaded(&config);
    let at = |path: &str| ask(&shared, QueryType::ConfigQuery, text(path));
    for (path, value) in [
        ("/version", json!(3_020_000)),
        ("/serial_no", json!(57)),
        ("/mtime", json!(1_700_000_100.5)),
        ("/cluster/tags/0", json!("env:test")),
        ("/cluster/uuid", json!("eeeeeeee-0000-4000-8000-000000000001")),
        ("/cluster/ipolicy/minmax/0/max/disk-count", json!(16)),
        ("/cluster/osparams/a~1b~0c/ä", json!("ö")),
        ("/filters", json!({})),
        ("/networks/dddddddd-0000-4000-8000-000000000001/gateway", json!("10.0.0.1")),
        ("/nodegroups/11111111-1111-4111-8111-111111111111/members", json!([])),
        ("/instances/bbbbbbbb-0000-4000-8000-000000000002/nics/1/nicparams/link", json!("br1")),
        (
            "/instances/bbbbbbbb-0000-4000-8000-000000000002/uuid",
            json!("bbbbbbbb-0000-4000-8000-000000000002"),
        ),
        ("/instances/bbbbbbbb-0000-4000-8000-000000000002/serial_no", json!(8)),
        (
            "/disks/cccccccc-0000-4000-8000-000000000002/children/1/logical_id/1",
            json!("d1.disk0_meta"),
        ),
        ("/disks/cccccccc-0000-4000-8000-000000000002/logical_id/5", json!("secret0")),
        ("/disks/cccccccc-0000-4000-8000-000000000001/ctime", json!(1_700_000_010)),
    ] {
        assert_eq!(at(path), Ok((value, 42)), "{path}");
    }
    let nodes = at("/nodes").unwrap().0;
    assert_eq!(nodes.as_object().unwrap().len(), 5);
    assert_eq!(nodes[format!("{NODE}1")]["name"], "node1.example.org");
    assert_eq!(at("/cluster").unwrap().0["enabled_hypervisors"], json!(["kvm"]));
    for path in [
        "",
        "/",
        "cluster",
        "/cluster/",
        "/cluster//tags",
        "/cluster/tags/1",
        "/cluster/tags/-1",
        "/cluster/tags/x",
        "/cluster/tags/0/0",
        "/cluster/nope",
        "/nope",
        "/nodes/node1.example.org",
        "/cluster/osparams/a/b~0c",
        "/cluster/~",
        "/instances/bbbbbbbb-0000-4000-8000-000000000003/forthcoming",
        "/cluster/tags/+0",
    ] {
        assert_eq!(at(path), Err(json!(ARGUMENT)), "{path}");
    }
    let empty = refused(&shared, QueryType::ConfigQuery, Query::Empty);
    assert_eq!(empty, json!("Invalid query type EmptyQuery"));
}

#[test]
fn collectors() {
    let mut config = recorded();
    config["cluster"]["enabled_hypervisors"] = json!(["kvm", "xen-hvm"]);
    config["cluster"]["data_collectors"] = json!({
        "lv": {"active": false, "interval": 1.0}, "jobs": {"active": true, "interval": 7},
    });
    let collectors = answer(&loaded(&config), QueryType::DataCollectors, Query::Empty);
    let usual = json!({"active": true, "interval": 5_000_000});
    assert_eq!(
        collectors,
        json!({
            "cpu-avg-load": usual, "diskstats": usual, "drbd": usual, "inst-status-xen": usual,
            "jobs": {"active": true, "interval": 7}, "lv": {"active": false, "interval": 1},
            "xen-cpu-avg-load": usual,
        })
    );
}

#[test]
fn guests_of_nodes() {
    let shared = loaded(&recorded());
    let kind = QueryType::NodeGuests;
    let inst2 = |here| {
        json!([
            "inst2.example.org",
            "bbbbbbbb-0000-4000-8000-000000000002",
            "up",
            "kvm",
            here,
            [["vgtest", "d1.disk0_data"], ["vgtest", "d1.disk0_meta"]],
            1_700_000_031
        ])
    };
    let inst3 = json!([
        "inst3.example.org",
        "bbbbbbbb-0000-4000-8000-000000000003",
        "down",
        "kvm",
        true,
        [],
        1_700_000_031
    ]);
    assert_eq!(
        ask(&shared, kind, text("node2")),
        Ok((json!({"total": 1, "instances": [inst2(true)]}), 4))
    );
    assert_eq!(
        answer(&shared, kind, text("node3#0")),
        json!({"total": 2, "instances": [inst3, inst2(false)]})
    );
    assert_eq!(
        answer(&shared, kind, text("node3#1")),
        json!({"total": 2, "instances": [inst2(false)]})
    );
    assert_eq!(answer(&shared, kind, text("node3#9")), json!({"total": 2, "instances": []}));
    assert_eq!(refused(&shared, kind, text("node3#x")), json!(ARGUMENT));
    assert!(refused(&shared, kind, text("nope")).as_str().unwrap().starts_with("Node not found"));
}

#[test]
fn nothing_but_ascii() {
    let mut config = recorded();
    config["instances"]["bbbbbbbb-0000-4000-8000-000000000001"]["name"] =
        json!("grün😀.example.org");
    config["nodes"][format!("{NODE}1")]["name"] = json!("häuptling");
    let shared = loaded(&config);
    // The helper looks at every byte.
    assert_eq!(answer(&shared, QueryType::ClusterMaster, Query::Empty), json!("häuptling"));
    let there = answer(&shared, QueryType::NodeInstances, text("häuptling"));
    assert_eq!(there[0][0]["name"], "grün😀.example.org");
    assert_eq!(answer(&shared, QueryType::InstanceDisks, text("grün😀"))[0]["name"], "root");
    assert_eq!(
        refused(&shared, QueryType::NodeDrbd, text("ü")),
        json!("OpPrereqError \"Node name \\252 not found\" ECodeNoEnt")
    );
}
