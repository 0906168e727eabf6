//! Which release wrote a file, and older layouts brought up to date.
//!
//! ```text
//!   2.12 – 2.15   disks inside instances, disk_template in instances, no filters
//!   2.16 – 3.2    today's layout
//! ```

use super::report::Report;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Versions are major × 1,000,000 + minor × 10,000.
const OLDEST: u64 = 2_120_000;
const NEWEST: u64 = 3_029_999;
/// From here on files have today's layout.
const CURRENT: u64 = 2_160_000;

/// Parents of UUIDs that are made from others, so that reading twice gives the same.
const NAMESPACE: Uuid = Uuid::from_u128(0x7f2c_0f0a_3c5e_4b52_9a31_526f_6f73_7401);

/// The release that wrote the file, if it is one that can be read.
pub(super) fn release(file: &Value, report: &mut Report) -> Option<u64> {
    let Some(version) = file.get("version").and_then(Value::as_u64) else {
        report
            .problems
            .push("this is not a config.data of Ganeti: it has no number under 'version'".into());
        return None;
    };
    report.release = format!("{}.{}", version / 1_000_000, version / 10_000 % 100);
    if version < OLDEST {
        report.problems.push(format!(
            "it is of Ganeti {}: configurations are read from 2.12 on; upgrade the cluster to Ganeti \
             2.16 or later first (its cfgupgrade brings the file up to date)",
            report.release
        ));
        return None;
    }
    if version > NEWEST {
        report.problems.push(format!(
            "it is of Ganeti {}, which is newer than the newest that is known here (3.2); get a newer \
             Roost",
            report.release
        ));
        return None;
    }
    Some(version)
}

/// Gives the file today's layout. What cannot be upgraded is left for the reader to name.
pub(super) fn upgrade(file: &mut Value, version: u64, report: &mut Report) {
    let Some(top) = file.as_object_mut() else { return };
    for space in ["nodes", "nodegroups", "instances", "networks", "disks"] {
        each(top, space, drop_nulls);
    }
    for space in ["nodes", "nodegroups"] {
        each(top, space, states);
    }
    if let Some(Value::Object(cluster)) = top.get_mut("cluster") {
        drop_nulls(cluster);
        states(cluster);
        for (key, value) in [("max_running_jobs", 20), ("max_tracked_jobs", 25)] {
            if !cluster.contains_key(key) {
                cluster.insert(key.into(), value.into());
                report.upgraded.push(format!("the cluster had no {key}: {value}, the default"));
            }
        }
    }
    each(top, "instances", |instance| {
        for nic in objects(instance.get_mut("nics")) {
            drop_nulls(nic);
        }
    });
    if version < CURRENT {
        lift_disks(top, report);
        each(top, "disks", modern_disk);
    }
    name_children(top, report);
}

/// Calls for each object of a space.
fn each(top: &mut Map<String, Value>, space: &str, mut work: impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Object(all)) = top.get_mut(space) {
        for object in all.values_mut().filter_map(Value::as_object_mut) {
            work(object);
        }
    }
}

fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let list = list.and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// An optional field that is null is one that is not there.
fn drop_nulls(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
}

/// What is reserved: nothing, unless it says so.
fn states(object: &mut Map<String, Value>) {
    for key in ["hv_state_static", "disk_state_static"] {
        object.entry(key).or_insert_with(|| Map::new().into());
    }
}

/// Disks inside instances become objects of their own; templates of instances go.
fn lift_disks(top: &mut Map<String, Value>, report: &mut Report) {
    let mut lifted = Map::new();
    let (mut templates, mut made) = (0, 0);
    each(top, "instances", |instance| {
        let primary = instance.get("primary_node").cloned();
        let parent = instance.get("uuid").map(Value::to_string).unwrap_or_default();
        templates += usize::from(instance.remove("disk_template").is_some());
        let Some(Value::Array(disks)) = instance.get_mut("disks") else { return };
        for (i, slot) in disks.iter_mut().enumerate() {
            let Value::Object(disk) = slot else { continue };
            let uuid = match disk.get("uuid").and_then(Value::as_str) {
                Some(known) => known.to_owned(),
                None => {
                    made += 1;
                    Uuid::new_v5(&NAMESPACE, format!("{parent}/{i}").as_bytes()).to_string()
                }
            };
            disk.insert("uuid".into(), uuid.clone().into());
            place(disk, primary.as_ref());
            lifted.insert(uuid.clone(), slot.take());
            *slot = uuid.into();
        }
    });
    if templates > 0 {
        report.upgraded.push(format!(
            "{templates} instance(s) had a disk_template: their disks say it themselves now"
        ));
    }
    if lifted.is_empty() {
        return;
    }
    report.upgraded.push(format!(
        "{} disk(s) were inside their instances and are objects of their own now, {made} of them with \
         a new UUID",
        lifted.len()
    ));
    if let Value::Object(disks) = top.entry("disks").or_insert_with(|| Map::new().into()) {
        for (uuid, disk) in lifted {
            disks.entry(uuid).or_insert(disk);
        }
    }
}

/// The nodes a disk has data on, which older disks did not say.
fn place(disk: &mut Map<String, Value>, primary: Option<&Value>) {
    if disk.contains_key("nodes") {
        return;
    }
    let kind = disk.get("dev_type").and_then(Value::as_str).unwrap_or_default();
    let nodes: Vec<Value> = match kind {
        "drbd" | "drbd8" => {
            disk.get("logical_id").and_then(Value::as_array).into_iter().flatten().take(2).cloned()
        }
        .collect(),
        "plain" | "lvm" | "file" => primary.into_iter().cloned().collect(),
        _ => vec![],
    };
    for child in objects(disk.get_mut("children")) {
        child.entry("nodes").or_insert_with(|| nodes.clone().into());
    }
    disk.insert("nodes".into(), nodes.into());
}

fn modern_disk(disk: &mut Map<String, Value>) {
    drop_nulls(disk);
    // Where the kernel had it: found out when it is needed.
    disk.remove("physical_id");
    let word = match disk.get("dev_type").and_then(Value::as_str) {
        Some("lvm") => Some("plain"),
        Some("drbd8") => Some("drbd"),
        _ => None,
    };
    if let Some(word) = word {
        disk.insert("dev_type".into(), word.into());
    }
    for child in objects(disk.get_mut("children")) {
        modern_disk(child);
    }
}

/// Devices below a disk need a UUID, and some files have none for them.
fn name_children(top: &mut Map<String, Value>, report: &mut Report) {
    let mut made = 0;
    each(top, "disks", |disk| {
        let parent = disk.get("uuid").and_then(Value::as_str).unwrap_or_default().to_owned();
        for (i, child) in objects(disk.get_mut("children")).enumerate() {
            drop_nulls(child);
            child.entry("uuid").or_insert_with(|| {
                made += 1;
                Uuid::new_v5(&NAMESPACE, format!("{parent}/{i}").as_bytes()).to_string().into()
            });
        }
    });
    if made > 0 {
        report.upgraded.push(format!("{made} device(s) below disks got a UUID"));
    }
}
