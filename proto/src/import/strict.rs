//! Our configuration as Ganeti's strict parser takes it.

use super::keys;
use crate::collectors;
use crate::objects::{CONFIG_VERSION, ConfigData};
use crate::published::Space;
use serde_json::{Map, Value, json};

/// A `config.data` that Ganeti accepts, and what had to be left out: a line each.
pub fn strict(config: &ConfigData) -> (Value, Vec<String>) {
    let mut file = serde_json::to_value(config).expect("a configuration has text keys");
    let mut left_out = Vec::new();
    let Some(top) = file.as_object_mut() else { return (file, left_out) };
    top.insert("version".into(), CONFIG_VERSION.into());
    only(top, keys::TOP, "the file", &mut left_out);
    if let Some(cluster) = top.get_mut("cluster").and_then(Value::as_object_mut) {
        tidy(cluster, Space::Cluster, "the cluster", &mut left_out);
        ganetis_collectors(cluster, &mut left_out);
    }
    for (map, space) in [
        ("nodes", Space::Node),
        ("nodegroups", Space::NodeGroup),
        ("instances", Space::Instance),
        ("disks", Space::Disk),
        ("networks", Space::Network),
        ("filters", Space::Filter),
    ] {
        let objects = top.get_mut(map).and_then(Value::as_object_mut);
        for (id, object) in objects.into_iter().flatten() {
            let Some(object) = object.as_object_mut() else { continue };
            let name = object.get("name").and_then(Value::as_str).unwrap_or(id);
            let what = format!("{} {}", kind(space), if space == Space::Disk { id } else { name });
            tidy(object, space, &what, &mut left_out);
        }
    }
    (file, left_out)
}

/// One object as Ganeti's strict parser takes it. The cluster keeps settings of collectors that Ganeti does
/// not have: its parser takes any name there, and mond needs them.
pub fn strict_object(space: Space, mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        tidy(object, space, "", &mut Vec::new());
    }
    object
}

fn kind(space: Space) -> &'static str {
    match space {
        Space::Top => "the file",
        Space::Cluster => "cluster",
        Space::Node => "node",
        Space::NodeGroup => "node group",
        Space::Instance => "instance",
        Space::Disk => "disk",
        Space::Network => "network",
        Space::Filter => "filter",
    }
}

fn known(space: Space) -> &'static [&'static str] {
    match space {
        Space::Top => keys::TOP,
        Space::Cluster => keys::CLUSTER,
        Space::Node => keys::NODE,
        Space::NodeGroup => keys::GROUP,
        Space::Instance => keys::INSTANCE,
        Space::Disk => keys::DISK,
        Space::Network => keys::NETWORK,
        Space::Filter => keys::FILTER,
    }
}

/// Ganeti has no use for settings of other collectors than its own.
fn ganetis_collectors(cluster: &mut Map<String, Value>, left_out: &mut Vec<String>) {
    let settings = cluster.get_mut("data_collectors").and_then(Value::as_object_mut);
    if let Some(settings) = settings {
        settings.retain(|name, _| {
            let good = collectors::GANETI.contains(&name.as_str());
            if !good {
                left_out.push(format!("the cluster: the settings of data collector '{name}'"));
            }
            good
        });
    }
}

fn tidy(object: &mut Map<String, Value>, space: Space, what: &str, left_out: &mut Vec<String>) {
    only(object, known(space), what, left_out);
    match space {
        Space::Cluster | Space::Node => states(object),
        Space::NodeGroup => {
            states(object);
            // Ganeti fills it when it loads and does not store it.
            object.remove("members");
        }
        Space::Instance => {
            for nic in inner(object, "nics") {
                only(nic, keys::NIC, &format!("a network card of {what}"), left_out);
            }
        }
        Space::Disk => {
            for child in inner(object, "children") {
                tidy(child, Space::Disk, &format!("a device below {what}"), left_out);
            }
        }
        Space::Top | Space::Network | Space::Filter => {}
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
