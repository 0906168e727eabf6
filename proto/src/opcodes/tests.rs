//! Tests of all opcodes together.

use super::*;
use crate::choices::*;
use serde_json::json;

#[test]
fn there_are_76_opcodes_of_ganeti_and_five_of_ours_with_their_own_names() {
    assert_eq!(OpCode::ALL.len(), 81);
    for info in OpCode::ALL {
        let camel: String = info.op_id["OP_".len()..]
            .split('_')
            .map(|word| format!("{}{}", &word[..1], word[1..].to_lowercase()))
            .collect();
        assert_eq!(info.name, camel);
        assert_eq!(OpCode::info(info.op_id), Some(info));
        let mut fields: Vec<_> = info.fields.to_vec();
        fields.sort();
        fields.dedup();
        assert_eq!(fields.len(), info.fields.len(), "{} has a field twice", info.op_id);
        assert!(!fields.iter().any(|f| Common::FIELDS.contains(f) || f.contains('#')));
    }
}

/// A value each required field accepts.
fn example(op_id: &str, field: &str) -> Value {
    match (op_id, field) {
        ("OP_INSTANCE_CREATE", "mode") => json!("create"),
        ("OP_BACKUP_PREPARE", "mode") => json!("local"),
        ("OP_INSTANCE_REPLACE_DISKS", "mode") => json!("replace_auto"),
        ("OP_NODE_EVACUATE", "mode") => json!("all"),
        ("OP_TEST_ALLOCATOR", "mode") => json!("relocate"),
        ("OP_OOB_COMMAND", "command") => json!("health"),
        ("OP_PLACEMENT_RULE_ADD", "kind") => json!("apart"),
        (_, "kind") => json!("cluster"),
        (_, "what") => json!("node"),
        (_, "direction") => json!("in"),
        (_, "storage_type") => json!("lvm-vg"),
        (_, "reboot_type") => json!("soft"),
        (_, "network_mode") => json!("routed"),
        (_, "changes") => json!({"allocatable": true}),
        (_, "duration") => json!(0.5),
        (_, "disk" | "amount") => json!(3),
        (_, "disks") => json!([{"size": 1024}]),
        (_, "nics") => json!([{"ip": "pool"}]),
        (_, "fields" | "output_fields" | "nodes" | "tags") => json!(["a", "b"]),
        _ => json!("text"),
    }
}

#[test]
fn every_opcode_reads_back_what_it_writes() {
    for info in OpCode::ALL {
        let mut value = json!({"OP_ID": info.op_id});
        for field in info.required {
            let missing = OpCode::from_json(&value).expect_err("a required field is missing");
            assert!(missing.message.contains(&format!("{}.{field}", info.op_id)), "{missing}");
            value[*field] = example(info.op_id, field);
        }
        let op = OpCode::from_json(&value).expect("all required fields are there");
        assert_eq!(op.op_id(), info.op_id);
        assert_eq!(op.name(), info.name);
        let written = op.to_json();
        assert_eq!(OpCode::from_json(&written).expect("own writing"), op);
        for (key, given) in value.as_object().expect("object") {
            assert_eq!(&written[key], given, "{}.{key}", info.op_id);
        }
        value["bogus"] = json!(1);
        let error = OpCode::from_json(&value).expect_err("unknown field");
        assert!(
            error.message.starts_with(&format!(
                "Object Op{} doesn't support the parameter 'bogus'",
                info.name
            )),
            "{error}"
        );
    }
}

#[test]
fn defaults() {
    let op = OpCode::from_json(&json!({
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web1.example.com", "mode": "create",
        "disks": [{"size": 1024, "mode": "rw"}], "nics": [{}], "pnode": null,
    }))
    .expect("good opcode");
    let OpCode::InstanceCreate(create) = &op else { panic!("{op:?}") };
    assert!(create.wait_for_sync && create.start && create.conflicts_check && !create.ip_check);
    assert_eq!(create.source_shutdown_timeout, 120);
    assert_eq!(create.compress, "none");
    assert_eq!(create.disks[0], DiskSpec { mode: Some(DiskMode::Rw), ..DiskSpec::sized(1024) });
    let made = InstanceCreate::new(
        "web1.example.com",
        InstCreateMode::Create,
        create.disks.clone(),
        vec![NicSpec::default()],
    );
    assert_eq!(OpCode::from(made), op);
}

#[test]
fn common_fields_are_flat_beside_the_others() {
    let value = json!({
        "OP_ID": "OP_TEST_DELAY", "duration": 0.5, "on_master": true, "on_nodes": [], "repeat": 0,
        "interruptible": false, "no_locks": true,
        "dry_run": false, "debug_level": 1, "priority": -10, "comment": null,
        "depends": [[-1, ["success", "error"]], [7, []]],
        "reason": [["gnt:user", "because", 1_795_166_970_401_428_480_u64]],
    });
    let input = OpInput::from_json(&value).expect("good input");
    assert_eq!(input.common.priority, -10);
    assert_eq!(input.common.depends[1], (7, vec![]));
    assert_eq!(input.to_json(), value);
    let with_text_id =
        OpInput::from_json(&json!({"OP_ID": "OP_CLUSTER_QUERY", "depends": [["12", ["success"]]]}));
    assert_eq!(with_text_id.expect("job id as text").common.depends[0].0, 12);
}

#[test]
fn what_is_wrong_is_said() {
    let refused = |value: Value| OpInput::from_json(&value).expect_err("must be refused").message;
    for (value, expected) in [
        (json!([]), "An opcode is an object"),
        (json!({}), "needs the key OP_ID"),
        (json!({"OP_ID": "OP_NOPE"}), "Unknown opcode 'OP_NOPE'"),
        (
            json!({"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "a", "reboot_type": "warm"}),
            "Parameter 'OP_INSTANCE_REBOOT.reboot_type' fails validation: unknown variant `warm`, \
             expected one of `soft`, `hard`, `full`",
        ),
        (
            json!({"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": 5, "reboot_type": "hard"}),
            "Parameter 'OP_INSTANCE_REBOOT.instance_name' fails validation: invalid type",
        ),
        (json!({"OP_ID": "OP_GROUP_REMOVE", "group_name": ""}), "must not be empty"),
        (
            json!({"OP_ID": "OP_INSTANCE_GROW_DISK", "instance_name": "a", "disk": 16, "amount": 1}),
            "disks are numbered from 0 to 15",
        ),
        (json!({"OP_ID": "OP_CLUSTER_SET_PARAMS", "candidate_pool_size": 0}), "at least 1"),
        (json!({"OP_ID": "OP_CLUSTER_QUERY", "priority": 20}), "not between -20 and 19"),
        (json!({"OP_ID": "OP_CLUSTER_QUERY", "depends": [[1, ["running"]]]}), "'running'"),
        (
            json!({"OP_ID": "OP_INSTANCE_CREATE", "instance_name": "a", "mode": "create",
                   "disks": [], "nics": [{"colour": "red"}]}),
            "'OP_INSTANCE_CREATE.nics' fails validation: unknown field `colour`",
        ),
    ] {
        let message = refused(value);
        assert!(message.contains(expected), "{message}\nshould say: {expected}");
    }
}

#[test]
fn summaries() {
    for (op, expected) in [
        (OpCode::from(InstanceReboot::new("web1", RebootType::Hard)), "INSTANCE_REBOOT(web1)"),
        (TestDelay::new(0.1).into(), "TEST_DELAY(100000000)"),
        (TestDelay::new(0.000_001).into(), "TEST_DELAY(1000)"),
        (GroupRename::new("a", "b").into(), "GROUP_RENAME"),
        (ClusterVerify::new().into(), "CLUSTER_VERIFY"),
        (Query::new(QueryResource::Node, vec!["name".to_owned()]).into(), "QUERY(node)"),
        (TagsGet::new(TagKind::Cluster).into(), "TAGS_GET(None)"),
    ] {
        assert_eq!(op.summary(), expected);
    }
}

#[test]
fn eight_opcodes_run_alone() {
    let alone: Vec<_> = OpCode::ALL
        .iter()
        .filter(|info| {
            let mut value = json!({"OP_ID": info.op_id});
            for field in info.required {
                value[*field] = example(info.op_id, field);
            }
            OpCode::from_json(&value).expect("good opcode").is_bgl_exclusive()
        })
        .map(|info| info.name)
        .collect();
    assert_eq!(alone.len(), 8, "{alone:?}");
}

#[test]
fn ten_opcodes_take_instances_elsewhere() {
    let moves = OpCode::ALL.iter().filter(|info| info.moves).map(|info| info.op_id);
    assert_eq!(
        moves.collect::<Vec<_>>(),
        [
            "OP_NODE_MIGRATE",
            "OP_NODE_EVACUATE",
            "OP_INSTANCE_REPLACE_DISKS",
            "OP_INSTANCE_FAILOVER",
            "OP_INSTANCE_MIGRATE",
            "OP_INSTANCE_MOVE",
            "OP_INSTANCE_RECREATE_DISKS",
            "OP_INSTANCE_CHANGE_GROUP",
            "OP_GROUP_ASSIGN_NODES",
            "OP_GROUP_EVACUATE",
        ]
    );
}

#[test]
fn secrets_stay_out_of_what_is_stored_and_shown() {
    let secret = |key: &str, value: &str| {
        crate::params::ParamMap::from([(key.to_owned(), Value::from(value))])
    };
    let mut create = InstanceCreate::new("a", InstCreateMode::Create, vec![], vec![]);
    create.osparams_private = Some(secret("token", "priv-value").into());
    create.osparams_secret = Some(secret("password", "sec-value").into());
    let multi = InstanceMultiAlloc { instances: vec![create], ..InstanceMultiAlloc::new() };
    let input = OpInput::from(multi);
    let debug = format!("{input:?}");
    assert!(!debug.contains("priv-value") && !debug.contains("sec-value"), "{debug}");
    let stored = input.to_view(View::Stored);
    assert!(stored.to_string().contains("priv-value"));
    assert!(!stored.to_string().contains("sec-value"));
    let shown = input.to_view(View::Shown).to_string();
    assert!(!shown.contains("priv-value") && shown.contains(REDACTED));
    let OpCode::InstanceMultiAlloc(back) = OpInput::from_json(&stored).expect("readable").op else {
        panic!("another opcode came back")
    };
    let params = back.instances[0].osparams_secret.as_ref().expect("keys are kept");
    assert!(params.check_present().is_err());
    assert_eq!(OpInput::from_json(&input.to_json()).expect("full form"), input);
}

/// Any JSON, a few levels deep, with opcodes' own words as keys here and there.
fn any_json() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
    use proptest::prelude::*;
    let words = prop_oneof![
        Just("OP_ID".to_owned()),
        Just("disks".to_owned()),
        Just("depends".to_owned()),
        Just("instance_name".to_owned()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(words.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest::proptest! {
    /// Opcodes come from the network: whatever it is, it is read or refused.
    #[test]
    fn no_json_is_too_strange(mut value in any_json(), which: proptest::sample::Index) {
        OpInput::from_json(&value).ok();
        let info = OpCode::ALL[which.index(OpCode::ALL.len())];
        if let serde_json::Value::Object(fields) = &mut value {
            fields.insert("OP_ID".into(), info.op_id.into());
            if let Ok(op) = OpInput::from_json(&value) {
                proptest::prop_assert_eq!(OpInput::from_json(&op.to_json()), Ok(op));
            }
        }
    }
}
