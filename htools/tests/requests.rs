//! What the reference's allocator answers, byte for byte; and that no text makes ours panic.

use proptest::prelude::*;
use roost_htools::allocate::Rules;
use roost_htools::request::{answer, read};
use roost_htools::state::Options;
use serde_json::{Value, json};

fn reply(cluster: &str, request: &str) -> String {
    // The cluster's order counts, so that the text is completed and not the value.
    let body = cluster.trim_end().strip_suffix('}').expect("an object");
    let text = format!("{body}, \"request\": {request}}}");
    let request = match read(&text) {
        Ok(request) => request,
        Err(why) => return format!("Error: {why}"),
    };
    let cluster = request.known.with_kvm_memory(4096);
    match answer(cluster, &Options::default(), &request.wanted, &Rules::default()) {
        Ok(answer) => answer.to_json(),
        Err(why) => format!("Error: {why}"),
    }
}

fn check(cluster: &str, exchanges: &str) {
    let mut lines = exchanges.lines();
    let mut count = 0;
    while let (Some(request), Some(expected)) = (lines.next(), lines.next()) {
        let request = request.strip_prefix("> ").expect("a request");
        let expected = expected.strip_prefix("< ").expect("an answer");
        assert_eq!(reply(cluster, request), expected, "{request}");
        count += 1;
    }
    assert!(count > 3, "there is something to check");
}

macro_rules! recorded {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            check(
                include_str!(concat!("../fixtures/requests/", stringify!($name), ".cluster.json")),
                include_str!(concat!("../fixtures/requests/", stringify!($name), ".exchanges")),
            );
        }
    )*};
}
recorded!(groups, tags, places, full, dedicated, alike);

/// Something else in the place of what should be there.
fn wrong() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {"size": -1}])),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-5..5_i64).prop_map(Value::from),
        "[a-z0-9:]{0,6}".prop_map(Value::from),
        prop::sample::select(vec!["drbd", "plain", "ext", "n1", "all", "u", "relocate"])
            .prop_map(Value::from),
        Just(json!(["n0", "n1", "n0"])),
    ]
}

/// Puts a value somewhere: the way there is chosen by numbers.
fn put(value: &mut Value, way: &[usize], new: Value) {
    let Some((step, rest)) = way.split_first() else {
        *value = new;
        return;
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let at = step % fields.len();
            if let Some((_, value)) = fields.iter_mut().nth(at) {
                put(value, rest, new);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step % items.len();
            put(&mut items[at], rest, new);
        }
        other => *other = new,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_answered_or_refused(
        exchange in 0_usize..100,
        changes in prop::collection::vec((prop::collection::vec(any::<usize>(), 1..6), wrong()), 1..4),
    ) {
        let requests: Vec<&str> = include_str!("../fixtures/requests/tags.exchanges")
            .lines()
            .filter_map(|line| line.strip_prefix("> "))
            .collect();
        let cluster = include_str!("../fixtures/requests/tags.cluster.json");
        let mut message: Value = serde_json::from_str(cluster).expect("a cluster");
        let request = requests[exchange % requests.len()];
        message["request"] = serde_json::from_str(request).expect("a request");
        for (way, new) in changes {
            put(&mut message, &way, new);
        }
        if let Ok(request) = read(&message.to_string()) {
            let cluster = request.known.cluster;
            let _ = answer(cluster, &Options::default(), &request.wanted, &Rules::default());
        }
    }

    #[test]
    fn any_text_is_refused(text in ".{0,80}") {
        prop_assert!(read(&text).is_err());
    }
}
