//! What masterd stored in version 1 is read by every later one: plans, cursors, debris.

use roost_masterd::jobs::journal::StoredPlan;
use roost_masterd::jobs::plan::{Cursor, Debris, PLAN_FORMAT};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn walk<T: DeserializeOwned + Serialize>(name: &str, text: &str) -> Vec<T> {
    let recorded: Vec<Value> = serde_json::from_str(text).expect("a list");
    let read = |value: Value| -> T {
        serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{name}: {e}: {value}"))
    };
    let mut all = Vec::new();
    for message in recorded {
        let first = serde_json::to_value(read(message)).expect("JSON");
        // Written by us and read again, it is the same.
        let second = read(first.clone());
        assert_eq!(serde_json::to_value(&second).expect("JSON"), first, "{name}");
        all.push(second);
    }
    all
}

#[test]
fn stored_work_of_version_1_is_read() {
    let plans = walk::<StoredPlan>("plans", include_str!("../../proto/fixtures/wire-1/plans.json"));
    // A plan of another format would stop masterd: then version 1 needs a way into it.
    assert!(plans.iter().all(|plan| plan.format == PLAN_FORMAT));
    assert_eq!(plans[0].plan.before.len(), 1);
    assert_eq!(plans[0].plan.pivot.changes.len(), 5);
    assert_eq!(plans[0].plan.after.len(), 3);
    assert_eq!(plans[0].lock_set().0.len(), 3);
    walk::<Cursor>("cursors", include_str!("../../proto/fixtures/wire-1/cursors.json"));
    walk::<Debris>("debris", include_str!("../../proto/fixtures/wire-1/debris.json"));
}
