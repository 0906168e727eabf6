use super::{Backup, Report, strict, understand};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../fixtures/config.data.json")).unwrap()
}

const NODE1: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const NODE2: &str = "aaaaaaaa-0000-4000-8000-000000000002";
const INSTANCE1: &str = "bbbbbbbb-0000-4000-8000-000000000001";
const DISK1: &str = "cccccccc-0000-4000-8000-000000000001";
const DISK2: &str = "cccccccc-0000-4000-8000-000000000002";
const NETWORK: &str = "dddddddd-0000-4000-8000-000000000001";
const GROUP: &str = "11111111-1111-4111-8111-111111111111";

fn refused(file: &Value) -> Report {
    let (config, report) = understand(file);
    assert!(config.is_none() && !report.problems.is_empty(), "{}", report.to_text());
    report
}

#[test]
fn the_references_file_is_understood() {
    let (config, report) = understand(&fixture());
    let config = config.unwrap_or_else(|| panic!("{}", report.to_text()));
    assert_eq!(report.release, "3.2");
    assert_eq!(report.counts.instances, 3);
    assert_eq!(config.cluster.serial_no, 42);
    assert_eq!(report.up, ["inst1.example.org", "inst2.example.org"]);
    assert_eq!(report.odd, [] as [&str; 0]);
    let text = report.to_text();
    assert!(text.contains("instance inst2.example.org (kvm, up, on node2"), "{text}");
    assert!(text.contains("gnt-node add --readd NODE"), "{text}");
}

#[test]
fn what_is_written_for_ganeti_has_only_its_keys() {
    let mut file = fixture();
    file["roost"] = json!(1);
    file["nodes"][NODE1]["rack"] = json!("r1");
    file["instances"][INSTANCE1]["nics"][0]["speed"] = json!(9);
    file["disks"][DISK2]["children"][1]["color"] = json!("red");
    let (config, report) = understand(&file);
    assert_eq!(report.odd.len(), 4, "{:?}", report.odd);
    let (written, left_out) = strict(&config.unwrap());
    let name = file["nodes"][NODE1]["name"].as_str().unwrap();
    for expected in [
        "the file: 'roost'".to_owned(),
        format!("node {name}: 'rack'"),
        "a network card of instance inst1.example.org: 'speed'".to_owned(),
        format!("a device below disk {DISK2}: 'color'"),
    ] {
        assert!(left_out.contains(&expected), "{expected} is not in {left_out:?}");
    }
    assert_eq!(left_out.len(), 4);
    assert!(written["nodegroups"][GROUP].get("members").is_none());
    assert!(understand(&written).1.odd.is_empty());
    // Nothing else was lost.
    let (again, _) = understand(&written);
    assert!(again == understand(&fixture()).0);
}

#[test]
fn releases_are_told_apart() {
    let with = |version: Value| {
        let mut file = fixture();
        file["version"] = version;
        file
    };
    for (version, words) in [
        (json!(2_090_000), "is of Ganeti 2.9"),
        (json!(3_030_000), "newer than the newest"),
        (json!("3.0"), "no number under 'version'"),
    ] {
        let report = refused(&with(version));
        assert!(report.problems[0].contains(words), "{:?}", report.problems);
    }
    for version in [2_160_000, 2_170_000, 3_000_000, 3_010_000] {
        assert!(understand(&with(version.into())).0.is_some());
    }
    assert!(refused(&json!([])).problems[0].contains("not a config.data"));
}

/// The fixture as an older release would have written it.
fn older() -> Value {
    let mut file = fixture();
    file["version"] = json!(2_130_000);
    let mut disks = file.as_object_mut().unwrap().remove("disks").unwrap();
    for disk in disks.as_object_mut().unwrap().values_mut() {
        let disk = disk.as_object_mut().unwrap();
        disk.remove("nodes");
        disk.insert("physical_id".into(), json!(["x"]));
        disk.insert("spindles".into(), Value::Null);
        for child in disk.get_mut("children").and_then(Value::as_array_mut).into_iter().flatten() {
            child.as_object_mut().unwrap().remove("nodes");
            child.as_object_mut().unwrap().remove("uuid");
        }
    }
    disks[DISK2]["dev_type"] = json!("drbd8");
    disks[DISK2]["children"][0]["dev_type"] = json!("lvm");
    for instance in file["instances"].as_object_mut().unwrap().values_mut() {
        let ids = instance["disks"].as_array().unwrap().clone();
        let own: Vec<Value> = ids.iter().map(|id| disks[id.as_str().unwrap()].clone()).collect();
        instance["disks"] = own.into();
        instance["disk_template"] = json!("plain");
        instance.as_object_mut().unwrap().remove("admin_state_source");
    }
    file.as_object_mut().unwrap().remove("filters");
    file["cluster"].as_object_mut().unwrap().remove("max_tracked_jobs");
    file
}

#[test]
fn older_layouts_are_brought_up_to_date() {
    let (config, report) = understand(&older());
    let config = config.unwrap_or_else(|| panic!("{}", report.to_text()));
    assert_eq!(report.upgraded.len(), 4, "{:?}", report.upgraded);
    let (today, _) = understand(&fixture());
    let today = today.unwrap();
    let disk =
        |config: &crate::objects::ConfigData, id: &str| config.disks[&id.parse().unwrap()].clone();
    assert_eq!(disk(&config, DISK1), disk(&today, DISK1));
    // The devices below have new UUIDs, and the same ones each time.
    let mut second = disk(&config, DISK2);
    for (child, named) in second.children.iter_mut().zip(&disk(&today, DISK2).children) {
        child.uuid = named.uuid;
    }
    assert_eq!(second, disk(&today, DISK2));
    assert_eq!(config.instances, today.instances);
    assert_eq!(understand(&older()).0, Some(config));
}

#[test]
fn each_broken_reference_is_named() {
    let nowhere = "99999999-0000-4000-8000-000000000009";
    let cases: [(&str, Value, &str); 11] = [
        ("/cluster/master_node", json!(nowhere), "the cluster refers to its master node"),
        (&format!("/nodes/{NODE1}/group"), json!(nowhere), "refers to node group"),
        (&format!("/instances/{INSTANCE1}/primary_node"), json!(nowhere), "its primary node"),
        (&format!("/instances/{INSTANCE1}/disks/0"), json!(nowhere), "refers to disk"),
        (&format!("/instances/{INSTANCE1}/nics/0/network"), json!(nowhere), "refers to network"),
        (&format!("/disks/{DISK1}/nodes/0"), json!(nowhere), "refers to node"),
        (&format!("/disks/{DISK2}/logical_id/1"), json!(nowhere), "refers to node"),
        (&format!("/disks/{DISK2}/children/0/nodes/0"), json!(nowhere), "refers to node"),
        (&format!("/instances/{INSTANCE1}/nics/0/mac"), json!("aa:00:01:00:00:02"), "MAC address"),
        (&format!("/instances/{INSTANCE1}/disks/0"), json!(DISK2), "has, too"),
        (&format!("/nodes/{NODE2}/primary_ip"), json!("somewhere"), "which is none"),
    ];
    for (pointer, value, words) in cases {
        let mut file = fixture();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match file.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
            other => other[key] = value.clone(),
        }
        let report = refused(&file);
        let named = report
            .problems
            .iter()
            .any(|p| p.contains(words) && (!words.contains("refers") || p.contains(nowhere)));
        assert!(named, "{pointer}: {:?}", report.problems);
    }
}

#[test]
fn unreadable_fields_are_named_with_their_object() {
    for (pointer, key, value, words) in [
        (
            format!("/instances/{INSTANCE1}"),
            "hypervisor",
            json!("vmware"),
            "inst1.example.org, 'hypervisor'",
        ),
        (
            format!("/instances/{INSTANCE1}"),
            "nics",
            json!([{"mac": 7}]),
            "inst1.example.org, 'nics'",
        ),
        (format!("/disks/{DISK1}"), "size", json!(-1), "'size' cannot be read"),
        (format!("/disks/{DISK1}"), "logical_id", json!([1, 2, 3]), "of an unknown shape"),
        ("/cluster".to_owned(), "master_netmask", json!("24"), "the cluster, 'master_netmask'"),
        ("/instances".to_owned(), INSTANCE1, json!(7), "is not an object"),
        (format!("/nodes/{NODE1}"), "uuid", json!(NODE2), "its uuid is"),
    ] {
        let mut file = fixture();
        file.pointer_mut(&pointer).unwrap()[key] = value;
        let report = refused(&file);
        assert!(report.problems.iter().any(|p| p.contains(words)), "{:?}", report.problems);
    }
    let mut file = fixture();
    file["cluster"].as_object_mut().unwrap().remove("mac_prefix");
    assert!(refused(&file).problems[0].contains("missing field `mac_prefix`"));
}

#[test]
fn what_cannot_be_run_is_named_and_does_not_stop() {
    let mut file = fixture();
    file["instances"][INSTANCE1]["hypervisor"] = json!("xen-pvm");
    file["cluster"]["hvparams"]["kvm"]["vnc_tls"] = json!(true);
    file["cluster"]["hvparams"]["kvm"]["no_such"] = json!(1);
    file["cluster"]["beparams"]["default"]["vcpus"] = json!("many");
    let (config, report) = understand(&file);
    assert!(config.is_some(), "{}", report.to_text());
    assert!(!report.is_clean());
    for words in ["hypervisor xen-pvm", "vnc_tls=true", "'no_such'", "'vcpus'"] {
        assert!(report.unsupported.iter().any(|u| u.contains(words)), "{words}: {report:?}");
    }
}

#[test]
fn other_files_are_not_backups() {
    let no = |text: &str| Backup::read(text).unwrap_err().message;
    assert!(no("{\"a\":").contains("is not complete"));
    assert!(no("{}").contains("roost_backup"));
    assert!(no(&fixture().to_string()).contains("import-ganeti"));
    assert!(no("{\"roost_backup\": 9}").contains("made by a newer version"));
    assert!(no("{\"roost_backup\": 1}").contains("damaged"));
}

/// Any JSON.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:-]{0,12}".prop_map(Value::from),
        Just(json!(NODE1)),
        Just(json!(DISK2)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(
                (prop_oneof!["[a-z_]{1,8}", Just(NODE1.to_owned())], inner),
                0..4
            )
            .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every place in a file, as JSON pointers.
fn places(value: &Value, path: &str, out: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => vec![],
    };
    for (key, child) in children {
        let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
        out.push(path.clone());
        places(child, &path, out);
    }
}

/// A good file, of today or older, with some places replaced by anything.
fn damaged() -> impl Strategy<Value = Value> {
    let change = (any::<prop::sample::Index>(), json_value());
    (any::<bool>(), prop::collection::vec(change, 1..4)).prop_map(|(old, changes)| {
        let mut file = if old { older() } else { fixture() };
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&file, "", &mut all);
            if !all.is_empty() {
                *file.pointer_mut(place.get::<String>(&all)).unwrap() = value;
            }
        }
        file
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn anything_has_an_answer(file in json_value(), version in prop_oneof![Just(2_130_000), Just(3_020_000)]) {
        understand(&file).1.to_text();
        let mut file = file;
        if let Some(top) = file.as_object_mut() {
            top.insert("version".into(), json!(version));
            prop_assert!(understand(&file).0.is_none());
        }
    }

    #[test]
    fn a_damaged_file_has_an_answer(file in damaged()) {
        let (config, report) = understand(&file);
        prop_assert_eq!(config.is_some(), report.problems.is_empty(), "{}", report.to_text());
        // What is accepted can be written and read again.
        if let Some(config) = config {
            let (written, _) = strict(&config);
            let (again, report) = understand(&written);
            prop_assert!(again.is_some(), "{}", report.to_text());
        }
        Backup::read(&file.to_string()).unwrap_err();
    }

    /// An object that somebody refers to cannot go unnoticed.
    #[test]
    fn what_is_missing_is_noticed(space in 0_usize..4) {
        let (space, id) = [("nodes", NODE2), ("nodegroups", GROUP), ("disks", DISK1),
            ("networks", NETWORK)][space];
        let mut file = fixture();
        file[space].as_object_mut().unwrap().remove(id);
        let report = refused(&file);
        prop_assert!(report.problems.iter().any(|p| p.contains(id)), "{:?}", report.problems);
    }
}
