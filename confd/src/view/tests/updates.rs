//! Updates count as a whole or not at all.

use super::*;

const INSTANCE: &str = "bbbbbbbb-0000-4000-8000-000000000001";

fn name(shared: &Shared) -> Value {
    let path = format!("/instances/{INSTANCE}/name");
    ask(shared, QueryType::ConfigQuery, text(&path)).unwrap().0
}

#[test]
fn before_anything_is_there() {
    let shared = Arc::new(Shared::new());
    let told =
        |shared: &Shared| QueryType::ALL.map(|kind| ask(shared, kind, text("node1")).unwrap_err());
    assert!(told(&shared).iter().all(|t| *t == json!("Configuration not yet loaded")));
    assert_eq!(shared.serial(), None);
    let before = shared.generation();
    shared.clear("Cannot load configuration from /x: not there");
    assert!(
        told(&shared).iter().all(|t| *t == json!("Cannot load configuration from /x: not there"))
    );
    assert_ne!(shared.generation(), before);
    let error = shared.commit(begin(&shared, false)).unwrap_err();
    assert!(error.to_string().contains("There is no configuration yet"), "{error}");

    shared.commit(snapshot(&shared, &recorded())).unwrap();
    assert_eq!((name(&shared), shared.serial()), (json!("inst1.example.org"), Some(42)));
    shared.clear("gone");
    assert_eq!(told(&shared)[0], json!("gone"));
}

#[test]
fn an_update_that_cannot_be_read_changes_nothing() {
    let config = recorded();
    let shared = loaded(&config);
    let generation = shared.generation();
    let good = {
        let mut body = config["instances"][INSTANCE].clone();
        body["name"] = json!("renamed.example.org");
        body
    };
    let node = "aaaaaaaa-0000-4000-8000-000000000001";
    let disk = "cccccccc-0000-4000-8000-000000000002";
    let bad = |map: &str, id: &str, key: &str, value: Value| {
        let mut body = config[map][id].clone();
        body[key] = value;
        body
    };
    let without = |map: &str, id: &str, key: &str| {
        let mut body = config[map][id].clone();
        body.as_object_mut().unwrap().remove(key);
        body
    };
    let mut cluster = config["cluster"].clone();
    cluster["nicparams"] = json!({});
    for (space, id, body, expected) in [
        (
            Space::Node,
            node,
            bad("nodes", node, "primary_ip", json!(1)),
            "The node 'node1.example.org' aaaaaaaa-0000-4000-8000-000000000001 cannot be read: 'primary_ip' is not a string",
        ),
        (Space::Node, node, without("nodes", node, "offline"), "'offline' is missing"),
        (Space::Node, node, without("nodes", node, "name"), "'name' is missing"),
        (Space::Node, "node1", json!({}), "The node 'node1' has no UUID"),
        (
            Space::Node,
            disk,
            bad("nodes", node, "drained", json!(true)),
            "'uuid' is not what it is stored under",
        ),
        (
            Space::Instance,
            INSTANCE,
            bad("instances", INSTANCE, "disks", json!(["x"])),
            "'disks' is not a UUID",
        ),
        (
            Space::Instance,
            INSTANCE,
            bad("instances", INSTANCE, "nics", json!([{"ip": 1}])),
            "'ip' is not a string",
        ),
        (
            Space::Instance,
            INSTANCE,
            bad("instances", INSTANCE, "nics", json!([3])),
            "'nics' is not an object",
        ),
        (
            Space::Instance,
            INSTANCE,
            without("instances", INSTANCE, "primary_node"),
            "'primary_node' is missing",
        ),
        (Space::Instance, INSTANCE, json!([]), "'it' is not an object"),
        (
            Space::Disk,
            disk,
            bad("disks", disk, "logical_id", json!([1, 2])),
            "'logical_id' is not [node, node",
        ),
        (Space::Cluster, "", cluster, "The cluster 'clst"),
        (
            Space::Top,
            "",
            json!({"serial_no": 5}),
            "The top level cannot be read: 'version' is missing",
        ),
    ] {
        let mut update = begin(&shared, false);
        put(&mut update, Space::Instance, INSTANCE, &good).unwrap();
        let error = put(&mut update, space, id, &body).unwrap_err().to_string();
        // The cluster's name is not one of the keys that are looked at.
        let expected =
            expected.replace(" 'clst", " cannot be read: 'nicparams/default/link' is missing");
        assert!(error.contains(&expected), "{error}");
        put(&mut update, Space::Instance, INSTANCE, &good).unwrap();
        assert_eq!(shared.commit(update).unwrap_err().to_string(), error);
    }
    for (space, word) in [(Space::Cluster, "cluster"), (Space::Top, "top level")] {
        let mut update = begin(&shared, false);
        let error = delete(&mut update, space, "").unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        shared.commit(update).unwrap_err();
    }
    // Whole configurations, too.
    let mut update = begin(&shared, true);
    put(&mut update, Space::Instance, INSTANCE, &good).unwrap();
    let error = shared.commit(update).unwrap_err();
    assert!(error.to_string().contains("The configuration has no top level"), "{error}");
    let mut update = snapshot(&shared, &config);
    put(&mut update, Space::Instance, INSTANCE, &good).unwrap();
    put(&mut update, Space::Node, node, &json!({})).unwrap_err();
    shared.commit(update).unwrap_err();
    assert_eq!(name(&shared), json!("inst1.example.org"));

    let mut update = begin(&shared, false);
    put(&mut update, Space::Instance, INSTANCE, &good).unwrap();
    delete(&mut update, Space::Instance, "bbbbbbbb-0000-4000-8000-00000000ffff").unwrap();
    shared.commit(update).unwrap();
    assert_eq!(name(&shared), json!("renamed.example.org"));
    assert_ne!(shared.generation(), generation);
    ask(&shared, QueryType::InstanceDisks, text("inst1")).unwrap_err();
    ask(&shared, QueryType::InstanceDisks, text("renamed")).unwrap();
}

#[test]
fn what_is_deleted_is_in_no_answer() {
    let shared = loaded(&recorded());
    let mut update = begin(&shared, false);
    delete(&mut update, Space::Instance, "bbbbbbbb-0000-4000-8000-000000000002").unwrap();
    delete(&mut update, Space::Disk, "cccccccc-0000-4000-8000-000000000002").unwrap();
    delete(&mut update, Space::Node, "aaaaaaaa-0000-4000-8000-000000000005").unwrap();
    delete(&mut update, Space::Network, "dddddddd-0000-4000-8000-000000000001").unwrap();
    shared.commit(update).unwrap();
    let answer = |kind, query| ask(&shared, kind, query).map(|(answer, _)| answer);
    assert_eq!(answer(QueryType::InstancesIpsList, Query::Empty), Ok(json!(["10.0.0.11"])));
    assert_eq!(answer(QueryType::InstancesIpsList, text("br1")), Ok(json!([])));
    assert_eq!(answer(QueryType::NodeInstances, text("node2")), Ok(json!([[], []])));
    assert_eq!(answer(QueryType::NodeDrbd, text("node3")), Ok(json!([])));
    assert_eq!(answer(QueryType::NodePipList, Query::Empty).unwrap().as_array().unwrap().len(), 4);
    answer(QueryType::NodeRoleByName, text("node5")).unwrap_err();
    assert_eq!(answer(QueryType::ConfigQuery, text("/networks")), Ok(json!({})));
}

#[test]
fn a_snapshot_replaces_everything() {
    let config = recorded();
    let shared = loaded(&config);
    let mut other = config.clone();
    other["instances"].as_object_mut().unwrap().remove("bbbbbbbb-0000-4000-8000-000000000002");
    other["disks"].as_object_mut().unwrap().remove("cccccccc-0000-4000-8000-000000000002");
    other["instances"][INSTANCE]["name"] = json!("renamed.example.org");
    other["networks"] = json!({});
    other["cluster"]["serial_no"] = json!(43);
    other["serial_no"] = json!(58);
    for config in [&other, &config, &config] {
        shared.commit(snapshot(&shared, config)).unwrap();
        let whole = loaded(config);
        for path in ["cluster", "nodes", "instances", "disks", "networks", "serial_no"] {
            let path = format!("/{path}");
            let query = || text(&path);
            assert_eq!(
                ask_raw(&shared, QueryType::ConfigQuery, query()),
                ask_raw(&whole, QueryType::ConfigQuery, query())
            );
        }
    }
    // What was begun before another update is about what is not there any more.
    let late = snapshot(&shared, &other);
    shared.commit(begin(&shared, false)).unwrap();
    shared.commit(late).unwrap_err();
    assert_eq!(name(&shared), json!("inst1.example.org"));
}
