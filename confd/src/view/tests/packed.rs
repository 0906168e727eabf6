//! What is packed comes back.

use crate::view::id::Id;
use crate::view::pack::pack;
use crate::view::pool::Pool;
use crate::view::token::Packed;
use proptest::prelude::*;
use roost_proto::published::Space;
use serde_json::{Value as Json, json};

const OWN: &str = "aaaaaaaa-0000-4000-8000-000000000001";

fn id() -> Id {
    Id::parse(OWN.as_bytes()).unwrap()
}

fn back(pool: &mut Pool, space: Space, value: &Json) -> Json {
    let stored = pack(pool, space, id(), &value.to_string()).unwrap();
    let mut out = vec![];
    Packed::new(pool, id(), &stored).write(&mut out);
    assert!(out.is_ascii());
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn values_come_back() {
    let mut pool = Pool::default();
    let value = json!({
        "name": "näme\n", "serial_no": 70, "uuid": OWN, "null": {"in": null},
        "numbers": [0, 63, 64, u64::MAX, -1, i64::MIN, 0.5, 0.5, 1e300, 0.5, 1e300, -2.25, 1e300, 0.5],
        "texts": ["", "a", "\"\\", "ü😀\u{7f}", "aa:00:01:02:03:ff", "aa:00:01:02:03:FF", "10.0.0.1",
            "010.0.0.1", "10.0.0.256", "0123456789abcdef", "0123456789abcde", OWN,
            "cccccccc-0000-4000-8000-000000000001", "cccccccc-0000-4000-8000-000000000001.disk0_data",
            "/srv/cccccccc-0000-4000-8000-000000000001.file", "ä-cccccccc-0000-4000-8000-000000000001",
            "x-cccccccc-0000-4000-8000-000000000001"],
        "empty": [{}, []], "many": (0..40).collect::<Vec<_>>(),
        "alike": [{"a": 1, "b": "x", "c": [1, 2]}, {"a": 1, "b": "x", "c": [1, 2]},
            {"a": 1, "b": "x", "c": [1, 2]},
            {"a": 1, "b": {"in": [1, 2, {"x": {"a": 1, "b": "x", "c": [1, 2]}}]}}],
        "ids": {"a": "/cccccccc-0000-4000-8000-000000000001.a",
            "b": "/cccccccc-0000-4000-8000-000000000001.b",
            "c": ["/cccccccc-0000-4000-8000-000000000001.a"]},
        "same": ["again", "again", "again", "ägain", "ägain", "ägain"],
    });
    for _ in 0..3 {
        assert_eq!(back(&mut pool, Space::Node, &value), value);
    }
}

#[test]
fn as_the_reference_gives_it() {
    let mut pool = Pool::default();
    let disk = json!({
        "size": 1024.0, "name": null, "ctime": 1_700_000_000.25, "forthcoming": false, "params": {},
        "children": [{"uuid": "x", "spindles": null, "mode": "ro", "params": {"keep": null}}],
    });
    let expected = json!({
        "size": 1024, "ctime": 1_700_000_000.25, "params": {}, "nodes": [], "iv_name": "", "mode": "rw",
        "children": [{"uuid": "x", "mode": "ro", "children": [], "nodes": [], "iv_name": "",
            "params": {"keep": null}}],
    });
    assert_eq!(back(&mut pool, Space::Disk, &disk), expected);
    assert_eq!(back(&mut pool, Space::Disk, &expected), expected);
    let node = json!({"hv_state_static": {}, "disk_state_static": {"a": {}}, "drained": false});
    let expected = json!({"disk_state_static": {"a": {}}, "drained": false});
    assert_eq!(back(&mut pool, Space::Node, &node), expected);
    let instance = back(&mut pool, Space::Instance, &json!({"nics": [{"ip": null, "mac": "m"}]}));
    assert_eq!(instance["nics"], json!([{"mac": "m"}]));
    assert_eq!(instance["osparams_private"], json!({}));
}

#[test]
fn what_cannot_be_read() {
    let mut pool = Pool::default();
    let mut failed = |json| pack(&mut pool, Space::Node, id(), json).unwrap_err();
    assert_eq!(failed(r#"{"a": 1, "a": 2}"#), "'a' is there twice at line 1 column 12");
    assert!(failed(r#"{"a": 1"#).starts_with("EOF"));
    assert!(failed(r#"{} x"#).starts_with("trailing characters"));
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i32>().prop_map(|n| json!(f64::from(n) + 0.125)),
        "[a-f0-9-]{0,40}".prop_map(Json::from),
        "[0-9.]{0,15}".prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..40).prop_map(Json::from),
            prop::collection::btree_map("[a-cä]{0,2}", inner, 0..8)
                .prop_map(|m| Json::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back(values in prop::collection::vec(any_json(), 1..4)) {
        let mut pool = Pool::default();
        for value in values.iter().chain(&values) {
            let value = json!({"within": {"it": value}});
            prop_assert_eq!(back(&mut pool, Space::Filter, &value), value);
        }
    }
}
