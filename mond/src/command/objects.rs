//! What the configuration says of instances and disks, in Ganeti's format: answers of confd, or files like them.

use crate::world::Guest;
use roost_confd::client::DrbdMinor;
use roost_proto::error::{Error, Result};
use serde_json::Value;
use std::time::Duration;

/// Minors and their instances, of rows `[node, minor, instance, disk, role, peer]`.
pub fn pairs(json: &str) -> Result<Vec<(u32, String)>> {
    let rows: Vec<DrbdMinor> = serde_json::from_str(json).map_err(|e| {
        Error::wrong_input(format!(
            "The pairing of DRBD minors is not understood: {e}; it must be a list of [node, minor, \
             instance, disk, role, peer]"
        ))
    })?;
    let pair = |row: DrbdMinor| Some((u32::try_from(row.minor).ok()?, row.instance));
    Ok(rows.into_iter().filter_map(pair).collect())
}

/// Instances with their disks, of rows `[instance, [disk, …]]`.
pub fn guests(json: &str) -> Result<Vec<Guest>> {
    let wrong = |why: String| {
        Error::wrong_input(format!(
            "The list of instances is not understood: {why}; it must be a list of [instance, [disk, …]]"
        ))
    };
    let rows: Vec<(Value, Vec<Value>)> =
        serde_json::from_str(json).map_err(|e| wrong(e.to_string()))?;
    let guest = |(instance, disks): &(Value, Vec<Value>)| {
        guest(instance, disks, true).ok_or_else(|| wrong("an instance has no name".into()))
    };
    rows.iter().map(guest).collect()
}

/// An instance. None: it has no name.
pub fn guest(instance: &Value, disks: &[Value], primary: bool) -> Option<Guest> {
    let text = |key: &str| instance[key].as_str().unwrap_or_default().to_owned();
    let mut volumes = vec![];
    for disk in disks {
        add_volumes(disk, &mut volumes);
    }
    Some(Guest {
        name: instance["name"].as_str()?.to_owned(),
        uuid: text("uuid"),
        admin_state: text("admin_state"),
        hypervisor: text("hypervisor"),
        primary,
        volumes,
        mtime: instance["mtime"]
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or_default(),
    })
}

/// The logical volumes of a disk and of those below it.
fn add_volumes(disk: &Value, volumes: &mut Vec<(String, String)>) {
    let is_lvm = disk["dev_type"].as_str().is_none_or(|kind| matches!(kind, "plain" | "lvm"));
    if let (true, Some([Value::String(group), Value::String(name)])) =
        (is_lvm, disk["logical_id"].as_array().map(Vec::as_slice))
    {
        volumes.push((group.clone(), name.clone()));
    }
    for child in disk["children"].as_array().into_iter().flatten() {
        add_volumes(child, volumes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes_are_found_below_mirrors() {
        let mirror = json!({
            "dev_type": "drbd", "logical_id": ["n1", "n2", 11000, 0, 0, "secret"],
            "children": [
                {"dev_type": "plain", "logical_id": ["xenvg", "a.disk0_data"], "children": []},
                {"dev_type": "plain", "logical_id": ["metavg", "a.disk0_meta"]},
            ],
        });
        let file = json!({"dev_type": "file", "logical_id": ["loop", "/srv/a"]});
        let rows = json!([[{"name": "inst1", "uuid": "u", "mtime": 12.5, "admin_state": "up"}, [mirror, file]]]);
        let guests = guests(&rows.to_string()).unwrap();
        let volume = |group: &str, name: &str| (group.to_owned(), name.to_owned());
        assert_eq!(
            guests[0].volumes,
            [volume("xenvg", "a.disk0_data"), volume("metavg", "a.disk0_meta")]
        );
        assert_eq!(
            (guests[0].mtime, guests[0].admin_state.as_str()),
            (Duration::from_millis(12_500), "up")
        );
    }

    #[test]
    fn minors_belong_to_instances() {
        let rows = r#"[["node1", 3, "inst1", "disk/0", "primary", "node2"]]"#;
        assert_eq!(pairs(rows).unwrap(), [(3, "inst1".to_owned())]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(pairs(r#"[["node1", 3]]"#).unwrap_err().message.contains("not understood"));
        assert!(pairs("").is_err());
        assert!(guests(r#"[[{}, []]]"#).unwrap_err().message.contains("no name"));
        assert!(guests("{}").is_err());
    }
}
