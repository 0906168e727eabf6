use super::*;
use crate::allocate::Rules;
use crate::state::Options;
use serde_json::{Value, json};

fn policy() -> Value {
    let spec = |memory: i64, disk: i64, most: i64| {
        json!({"memory-size": memory, "disk-size": disk, "disk-count": most, "cpu-count": most,
               "nic-count": most, "spindle-use": most})
    };
    json!({"minmax": [{"min": spec(128, 1024, 1), "max": spec(32768, 1_048_576, 16)}],
           "std": spec(128, 1024, 1), "spindle-ratio": 32, "vcpu-ratio": 4,
           "disk-templates": ["drbd", "plain", "ext"]})
}

fn node() -> Value {
    json!({"group": "u1", "offline": false, "drained": false,
           "ndparams": {"spindle_count": 1, "exclusive_storage": false},
           "total_memory": 8192, "reserved_memory": 0, "free_memory": 8192,
           "total_disk": 102_400, "free_disk": 102_400, "total_cpus": 8, "reserved_cpus": 1,
           "total_spindles": 0, "free_spindles": 0})
}

fn instance(nodes: &[&str], template: &str) -> Value {
    json!({"memory": 1024, "vcpus": 1, "tags": [], "disk_template": template, "spindle_use": 1,
           "disk_space_total": 1024, "disks": [{"size": 1024}], "nics": [], "nodes": nodes})
}

fn message(request: Value) -> Value {
    json!({"cluster_tags": [], "enabled_hypervisors": ["kvm"],
           "nodegroups": {"u1": {"name": "g", "alloc_policy": "preferred", "networks": [],
                                 "ipolicy": policy(), "tags": []}},
           "nodes": {"n1": node(), "n2": node(), "n3": node()},
           "instances": {"i1": instance(&["n1", "n2"], "drbd"), "i2": instance(&["n1"], "plain"),
                         "i3": instance(&["n2"], "ext")},
           "request": request})
}

fn ask(request: Value) -> Value {
    let request = read(&message(request).to_string()).expect("a request");
    let answer =
        answer(request.known.cluster, &Options::default(), &request.wanted, &Rules::default());
    serde_json::from_str(&answer.expect("an answer").to_json()).expect("JSON")
}

fn new(template: &str, nodes: i64) -> Value {
    let mut request = instance(&[], template);
    request["name"] = json!("new");
    request["type"] = json!("allocate");
    request["required_nodes"] = json!(nodes);
    request
}

#[test]
fn new_instances_get_nodes() {
    let answer = ask(new("drbd", 2));
    assert_eq!((&answer["success"], &answer["result"]), (&json!(true), &json!(["n3", "n2"])));
    let restricted = {
        let mut request = new("ext", 1);
        request["restrict-to-nodes"] = json!(["n2"]);
        request
    };
    assert_eq!(ask(restricted)["result"], json!(["n2"]));
    let answer =
        ask(json!({"type": "multi-allocate", "instances": [new("ext", 1), new("drbd", 2)]}));
    assert_eq!(answer["result"], json!([[["new", ["n3"]], ["new", ["n3", "n2"]]], []]));
}

#[test]
fn old_instances_get_other_nodes() {
    let relocate = |name, from: &[&str]| {
        ask(json!({"type": "relocate", "name": name, "required_nodes": 1, "relocate_from": from}))
    };
    assert_eq!(relocate("i1", &["n2"])["result"], json!(["n3"]));
    assert_eq!(relocate("i3", &["n2"])["result"], json!(["n3"]));
    let answer = relocate("i2", &["n1"]);
    assert_eq!(answer["info"], json!("Request failed: Can't relocate non-mirrored instances"));
    let expected = "Request failed: Unsupported request: excluded nodes not equal to instance's \
                    secondary (n2 versus n1)";
    assert_eq!(relocate("i1", &["n1"])["info"], json!(expected));
    let answer = ask(json!({"type": "allocate-secondary", "name": "i2"}));
    assert_eq!(answer["result"], json!("n3"));
}

#[test]
fn nodes_are_emptied() {
    let answer = ask(json!({"type": "node-evacuate", "instances": ["i1", "i2", "i3"],
                            "evac_mode": "primary-only"}));
    let expected = "Request successful: 1 instances failed to move and 2 were moved successfully";
    assert_eq!(answer["info"], json!(expected));
    assert_eq!(answer["result"][0], json!([["i1", "g", ["n2", "n1"]], ["i3", "g", ["n3"]]]));
    let failed = json!([["i2", "Instances of type plain cannot be relocated"]]);
    assert_eq!(answer["result"][1], failed);
    assert_eq!(answer["result"][2][1][0]["target_node"], json!("n3"));
    let answer = ask(json!({"type": "change-group", "instances": ["i1"], "target_groups": []}));
    assert_eq!(answer["result"][1][0][0], json!("i1"));
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (
            "/nodes/n2/free_memory",
            json!("x"),
            r#"invalid data for node 'n2': key 'free_memory' is "x", not a number in range"#,
        ),
        (
            "/nodes/n2/group",
            json!("u2"),
            "invalid data for node 'n2': key 'group' is wrong: Unknown group 'u2' for node n2",
        ),
        ("/instances/i1/nodes", json!([]), "invalid data for instance 'i1': key 'nodes' is empty"),
        (
            "/instances/i1/nodes/0",
            json!("n9"),
            "invalid data for instance 'i1': key 'nodes' is wrong: Unknown node 'n9' for instance i1",
        ),
        (
            "/nodegroups/u1/ipolicy/std",
            json!({}),
            "invalid data for group 'u1': key 'ipolicy' is wrong: std: memory-size: it is missing",
        ),
        ("/request/type", json!("x"), "Invalid request type 'x'"),
        ("/request", json!([]), "invalid request dict: a list is not an object"),
        ("/request", json!({"type": "relocate"}), "invalid request dict: key 'name' not found"),
        (
            "/cluster_tags",
            json!(1),
            "invalid iallocator message: key 'cluster_tags' is 1, not a list of texts",
        ),
    ];
    for (pointer, wrong, expected) in cases {
        let mut message = message(new("drbd", 2));
        *message.pointer_mut(pointer).expect(pointer) = wrong;
        let error = read(&message.to_string()).expect_err(pointer);
        assert_eq!(error.to_string(), expected);
    }
    let error = read("{").expect_err("half a document").to_string();
    assert!(error.starts_with("Parsing input IAllocator message: "), "{error}");
    let request = read(&message(json!({"type": "allocate-secondary", "name": "i9"})).to_string());
    let request = request.expect("well-formed");
    let result =
        answer(request.known.cluster, &Options::default(), &request.wanted, &Rules::default());
    assert_eq!(result.err(), Some("Unknown instance 'i9'".to_owned()));
}
