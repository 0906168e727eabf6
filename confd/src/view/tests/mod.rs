//! A whole configuration and what is answered from it.

mod answers;
#[path = "../../../../tests/src/generate_config.rs"]
mod generate_config;
mod incremental;
mod large;
mod packed;
mod updates;
mod vectors;

use super::{Shared, Update};
use crate::answers::Answers;
use crate::wire::{Query, QueryType, Request, Status};
use roost_proto::error::Result;
use roost_proto::published::{Begin, Delete, Put, Space};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::sync::Arc;

/// The one that the recorded answers are from.
const RECORDED: &str = include_str!("../../../fixtures/confd-config.data.json");

const MAPS: [(&str, Space); 6] = [
    ("nodes", Space::Node),
    ("nodegroups", Space::NodeGroup),
    ("instances", Space::Instance),
    ("disks", Space::Disk),
    ("networks", Space::Network),
    ("filters", Space::Filter),
];

fn raw(body: &Value) -> Box<RawValue> {
    to_raw_value(body).unwrap()
}

fn begin(shared: &Arc<Shared>, snapshot: bool) -> Update {
    shared.begin(Begin { serial: 1, snapshot, epoch: None })
}

fn put(update: &mut Update, space: Space, id: &str, body: &Value) -> Result<()> {
    update.put(&Put { space, id: id.into(), body: raw(body) })
}

fn delete(update: &mut Update, space: Space, id: &str) -> Result<()> {
    update.delete(&Delete { space, id: id.into() })
}

/// All of a `config.data`, as the feed brings it.
fn snapshot(shared: &Arc<Shared>, config: &Value) -> Update {
    let mut update = begin(shared, true);
    let mut top = config.clone();
    for (map, space) in MAPS {
        for (id, body) in config[map].as_object().unwrap() {
            put(&mut update, space, id, body).unwrap();
        }
        top.as_object_mut().unwrap().remove(map);
    }
    put(&mut update, Space::Cluster, "", &config["cluster"]).unwrap();
    top.as_object_mut().unwrap().remove("cluster");
    put(&mut update, Space::Top, "", &top).unwrap();
    update
}

fn loaded(config: &Value) -> Arc<Shared> {
    let shared = Arc::new(Shared::new());
    shared.commit(snapshot(&shared, config)).unwrap();
    shared
}

fn recorded() -> Value {
    serde_json::from_str(RECORDED).unwrap()
}

/// As bytes: status, serial and the answer.
fn ask_raw(shared: &Shared, kind: QueryType, query: Query<'_>) -> (Status, u64, Vec<u8>) {
    let mut out = b"before".to_vec();
    let head = shared.answer(&Request { kind, query, rsalt: "salt".into() }, &mut out);
    assert!(out.is_ascii());
    (head.status, head.serial, out.split_off(6))
}

/// The answer and its serial number; an error for errors.
fn ask(
    shared: &Shared,
    kind: QueryType,
    query: Query<'_>,
) -> std::result::Result<(Value, u64), Value> {
    let (status, serial, out) = ask_raw(shared, kind, query);
    let answer: Value = serde_json::from_slice(&out).expect("JSON");
    match status {
        Status::Ok => Ok((answer, serial)),
        _ => {
            assert_eq!(serial, 0);
            Err(answer)
        }
    }
}

fn text(text: &str) -> Query<'_> {
    Query::Text(text.into())
}
