use super::*;
use crate::query::testing::{cells, world};
use roost_proto::query::{Field, Resource};
use std::sync::Arc;

fn job(id: u64, archived: bool) -> Arc<JobRecord> {
    let record = json!({
        "id": id,
        "ops": [
            {
                "input": {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1", "priority": 0},
                "status": "success", "result": null, "priority": 0,
                "log": [[1, [10, 5], "message", "done"]],
                "start_timestamp": [10, 0], "exec_timestamp": [10, 3], "end_timestamp": [11, 0],
            },
            {
                "input": {"OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web2",
                    "osparams_private": {"password": "hush"}},
                "status": "queued", "result": null, "priority": -10,
                "start_timestamp": null, "exec_timestamp": null, "end_timestamp": null,
            },
        ],
        "received_timestamp": [9, 1], "start_timestamp": [10, 0], "end_timestamp": null,
        "archived": archived,
    });
    Arc::new(serde_json::from_value(record).expect("a job"))
}

fn with(jobs: &[u64]) -> World {
    World { jobs: jobs.iter().map(|id| job(*id, *id < 5)).collect(), ..world() }
}

#[test]
fn a_job_as_ganeti_shows_it() {
    let fields = [
        "id",
        "status",
        "priority",
        "archived",
        "opresult",
        "opstatus",
        "oplog",
        "opstart",
        "opexec",
        "opend",
        "oppriority",
        "received_ts",
        "start_ts",
        "end_ts",
    ];
    let row = cells(&with(&[7]), Resource::Job, &fields, &[]).remove(0);
    let expected = json!([
        [0, 7],
        [0, "queued"],
        [0, -10],
        [0, false],
        [0, [null, null]],
        [0, ["success", "queued"]],
        [0, [[[1, [10, 5], "message", "done"]], []]],
        [0, [[10, 0], null]],
        [0, [[10, 3], null]],
        [0, [[11, 0], null]],
        [0, [0, -10]],
        [0, [9, 1]],
        [0, [10, 0]],
        [3, null],
    ]);
    assert_eq!(serde_json::to_value(row).expect("plain data"), expected);
}

#[test]
fn secrets_are_not_shown() {
    let row = cells(&with(&[7]), Resource::Job, &["ops", "summary"], &[]).remove(0);
    assert_eq!(row[0].value[1]["osparams_private"]["password"], roost_proto::opcodes::REDACTED);
    assert_eq!(row[0].value[0]["instance_name"], "web1");
    assert_eq!(row[1].value[0], "INSTANCE_STARTUP(web1)");
    assert!(!row[0].value.to_string().contains("hush"));
}

#[test]
fn opcodes_of_other_versions_are_named() {
    let mut record = (*job(7, false)).clone();
    record.ops[0].input = json!({"OP_ID": "OP_FUTURE_THING"});
    let world = World { jobs: vec![Arc::new(record)], ..world() };
    let row = cells(&world, Resource::Job, &["summary"], &[]).remove(0);
    assert_eq!(row[0].value[0], "FUTURE_THING");
}

#[test]
fn all_by_number_and_named_ones_as_named() {
    let world = with(&[12, 2, 9]);
    let ids = |names: &[&str]| -> Vec<u64> {
        let rows = cells(&world, Resource::Job, &["id"], names);
        rows.iter().map(|row| row[0].value.as_u64().expect("a number")).collect()
    };
    assert_eq!(ids(&[]), [2, 9, 12]);
    assert_eq!(ids(&["12", "2"]), [12, 2]);
    let unknown = cells(&world, Resource::Job, &["id", "status", "summary"], &["9", "99"]);
    assert_eq!(unknown[1], [Cell::new(99), Cell::UNAVAILABLE, Cell::UNAVAILABLE]);
}

#[test]
fn every_field_has_a_cell() {
    let names: Vec<_> = F::all().iter().map(|f| f.def().name.into_owned()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let row = cells(&with(&[7]), Resource::Job, &names, &[]).remove(0);
    assert!(row.iter().all(|cell| *cell != Cell::UNKNOWN), "{row:?}");
}
