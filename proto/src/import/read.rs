//! From JSON to typed objects. A field that cannot be read is named, with its object.

use super::keys;
use super::report::Report;
use crate::objects::{Cluster, ConfigData, ParamMap};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Everything in the file, or nothing if a part of it cannot be read.
pub(super) fn read(file: &Value, report: &mut Report) -> Option<ConfigData> {
    let Some(top) = file.as_object() else {
        report.problems.push("this is not a config.data of Ganeti: it is not an object".into());
        return None;
    };
    let before = report.problems.len();
    let mut extra = unknown(top, keys::TOP, "the file", report);
    for key in keys::TOP {
        extra.remove(*key);
    }
    let cluster: Option<Cluster> = match top.get("cluster") {
        Some(Value::Object(cluster)) => {
            unknown(cluster, keys::CLUSTER, "the cluster", report);
            parse(cluster, "the cluster", report)
        }
        _ => {
            report.problems.push("the file has no 'cluster'".into());
            None
        }
    };
    let nodes = space(top, "nodes", "node", keys::NODE, report);
    let nodegroups = space(top, "nodegroups", "node group", keys::GROUP, report);
    let instances = space(top, "instances", "instance", keys::INSTANCE, report);
    let networks = space(top, "networks", "network", keys::NETWORK, report);
    let disks = space(top, "disks", "disk", keys::DISK, report);
    let filters = space(top, "filters", "filter", keys::FILTER, report);
    let cluster = cluster?;
    if report.problems.len() > before {
        return None;
    }
    let time = |key| top.get(key).and_then(Value::as_f64).unwrap_or_default();
    Some(ConfigData {
        version: top.get("version").and_then(Value::as_u64).unwrap_or_default(),
        cluster,
        nodes,
        nodegroups,
        instances,
        networks,
        disks,
        filters,
        ctime: time("ctime"),
        mtime: time("mtime"),
        serial_no: top.get("serial_no").and_then(Value::as_u64).unwrap_or(1),
        extra,
    })
}

/// The objects of a space, each under its own UUID.
fn space<K, T>(
    top: &Map<String, Value>,
    space: &str,
    kind: &str,
    known: &[&str],
    report: &mut Report,
) -> BTreeMap<K, T>
where
    K: FromStr + Ord,
    K::Err: Display,
    T: DeserializeOwned,
{
    let mut all = BTreeMap::new();
    let objects = match top.get(space) {
        Some(Value::Object(objects)) => objects,
        // Files of older releases lack some, and a cluster need not have any.
        None | Some(Value::Null) => return all,
        Some(_) => {
            report.problems.push(format!("'{space}' is not an object"));
            return all;
        }
    };
    for (id, value) in objects {
        let name = value.get("name").and_then(Value::as_str);
        let what = match name {
            Some(name) if kind != "disk" => format!("{kind} {name}"),
            _ => format!("{kind} {id}"),
        };
        let Value::Object(object) = value else {
            report.problems.push(format!("{what} is not an object"));
            continue;
        };
        let key: K = match id.parse() {
            Ok(key) => key,
            Err(why) => {
                report.problems.push(format!("{what} is kept under '{id}', not a UUID: {why}"));
                continue;
            }
        };
        match object.get("uuid").and_then(Value::as_str).map(K::from_str) {
            Some(Ok(own)) if own == key => {}
            _ => {
                let own = object.get("uuid").unwrap_or(&Value::Null);
                report.problems.push(format!("{what} is kept under {id}, but its uuid is {own}"));
                continue;
            }
        }
        unknown(object, known, &what, report);
        for nic in object.get("nics").and_then(Value::as_array).into_iter().flatten() {
            if let Some(nic) = nic.as_object() {
                unknown(nic, keys::NIC, &format!("a network card of {what}"), report);
            }
        }
        for child in object.get("children").and_then(Value::as_array).into_iter().flatten() {
            if let Some(child) = child.as_object() {
                unknown(child, keys::DISK, &format!("a device below {what}"), report);
            }
        }
        if let Some(object) = parse(object, &what, report) {
            all.insert(key, object);
        }
    }
    all
}

/// Names keys that nobody knows; they are kept.
fn unknown(
    object: &Map<String, Value>,
    known: &[&str],
    what: &str,
    report: &mut Report,
) -> ParamMap {
    let mut found = ParamMap::new();
    for (key, value) in object.iter().filter(|(key, _)| !keys::knows(known, key)) {
        report.odd.push(format!("{what} has the unknown key '{key}'"));
        found.insert(key.clone(), value.clone());
    }
    found
}

fn parse<T: DeserializeOwned>(
    object: &Map<String, Value>,
    what: &str,
    report: &mut Report,
) -> Option<T> {
    match T::deserialize_object(object.clone()) {
        Ok(parsed) => Some(parsed),
        Err(why) => {
            let place = culprit::<T>(object, &why).map(|key| format!(", '{key}'"));
            let place = place.unwrap_or_default();
            report.problems.push(format!("{what}{place} cannot be read: {why}"));
            None
        }
    }
}

/// Reads from an object.
trait FromObject: Sized {
    fn deserialize_object(object: Map<String, Value>) -> Result<Self, String>;
}

impl<T: DeserializeOwned> FromObject for T {
    fn deserialize_object(object: Map<String, Value>) -> Result<T, String> {
        serde_json::from_value(Value::Object(object)).map_err(|e| e.to_string())
    }
}

/// The field to which an error belongs: without it there is no error, or another one.
fn culprit<'a, T: DeserializeOwned>(
    object: &'a Map<String, Value>,
    error: &str,
) -> Option<&'a str> {
    if error.starts_with("missing field") && !object.values().any(Value::is_object) {
        return None;
    }
    object.keys().map(String::as_str).find(|key| {
        let mut without = object.clone();
        without.remove(*key);
        match T::deserialize_object(without) {
            Ok(_) => true,
            Err(other) => other == format!("missing field `{key}`") && other != error,
        }
    })
}
