//! Our configuration as Ganeti's strict parser takes it.

use super::keys;
use crate::objects::{CONFIG_VERSION, ConfigData};
use serde_json::{Map, Value, json};

/// A `config.data` that Ganeti accepts, and what had to be left out: a line each.
pub fn strict(config: &ConfigData) -> (Value, Vec<String>) {
    let mut file = serde_json::to_value(config).expect("a configuration has text keys");
    let mut left_out = Vec::new();
    let Some(top) = file.as_object_mut() else { return (file, left_out) };
    top.insert("version".into(), CONFIG_VERSION.into());
    only(top, keys::TOP, "the file", &mut left_out);
    if let Some(cluster) = top.get_mut("cluster").and_then(Value::as_object_mut) {
        only(cluster, keys::CLUSTER, "the cluster", &mut left_out);
        states(cluster);
    }
    for (space, kind, known) in [
        ("nodes", "node", keys::NODE),
        ("nodegroups", "node group", keys::GROUP),
        ("instances", "instance", keys::INSTANCE),
        ("disks", "disk", keys::DISK),
        ("networks", "network", keys::NETWORK),
        ("filters", "filter", keys::FILTER),
    ] {
        let objects = top.get_mut(space).and_then(Value::as_object_mut);
        for (id, object) in objects.into_iter().flatten() {
            let Some(object) = object.as_object_mut() else { continue };
            let name = object.get("name").and_then(Value::as_str).unwrap_or(id);
            let what = format!("{kind} {}", if kind == "disk" { id } else { name });
            tidy(object, known, kind, &what, &mut left_out);
        }
    }
    (file, left_out)
}

fn tidy(
    object: &mut Map<String, Value>,
    known: &[&str],
    kind: &str,
    what: &str,
    left_out: &mut Vec<String>,
) {
    only(object, known, what, left_out);
    match kind {
        "node" => states(object),
        "node group" => {
            states(object);
            // Ganeti fills it when it loads and does not store it.
            object.remove("members");
        }
        "instance" => {
            for nic in inner(object, "nics") {
                only(nic, keys::NIC, &format!("a network card of {what}"), left_out);
            }
        }
        "disk" => {
            for child in inner(object, "children") {
                tidy(child, keys::DISK, "disk", &format!("a device below {what}"), left_out);
            }
        }
        _ => {}
    }
}

fn inner<'a>(
    object: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = object.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Leaves only known keys.
fn only(object: &mut Map<String, Value>, known: &[&str], what: &str, left_out: &mut Vec<String>) {
    object.retain(|key, _| {
        let good = keys::knows(known, key);
        if !good {
            left_out.push(format!("{what}: '{key}'"));
        }
        good
    });
}

/// These are objects, never null.
fn states(object: &mut Map<String, Value>) {
    for key in ["hv_state_static", "disk_state_static"] {
        if object.get(key).is_some_and(Value::is_null) {
            object.insert(key.into(), json!({}));
        }
    }
}
