//! Disks in `gnt-instance info`.

use crate::info_dump::{Fields, Info as Dump};
use roost_proto::query::pyrepr;
use roost_proto::units::{SizeUnit, format_unit};
use serde_json::Value;

/// The disks of an instance.
pub fn disks(list: &Value, only_static: bool) -> Dump {
    let disks = list.as_array().into_iter().flatten().enumerate();
    Dump::List(disks.map(|(index, one)| disk(index, one, true, only_static)).collect())
}

fn disk(index: usize, data: &Value, top: bool, only_static: bool) -> Dump {
    let value = |key: &str| data.get(key).unwrap_or(&Value::Null);
    let text = |key: &str| pyrepr::str(value(key));
    let title = match value("iv_name").as_str() {
        Some(name) if top && !name.is_empty() => name.to_owned(),
        _ if top => format!("disk/{index}"),
        _ => format!("child {index}"),
    };
    let size = match value("size").as_f64() {
        Some(mib) => format_unit(mib, SizeUnit::Human),
        None => "unknown".into(),
    };
    let kind = value("dev_type").as_str().unwrap_or_default();
    let mut fields = Fields::new();
    fields.text(title, format_args!("{kind}, size {size}"));
    if !value("spindles").is_null() {
        fields.text("spindles", text("spindles"));
    }
    if top {
        fields.text("access mode", text("mode"));
    }
    match value("logical_id").as_array().map(Vec::as_slice) {
        Some([a, b, port, minor_a, minor_b, ..]) if kind == "drbd" => {
            // The nodes' names are in drbd_info; the identifier has their uuids.
            let info = value("drbd_info");
            let name = |key: &str, uuid| pyrepr::str(info.get(key).unwrap_or(uuid));
            let [minor_a, minor_b] = [minor_a, minor_b].map(pyrepr::str);
            fields
                .text("nodeA", format_args!("{}, minor={minor_a}", name("primary_node", a)))
                .text("nodeB", format_args!("{}, minor={minor_b}", name("secondary_node", b)))
                .text("port", pyrepr::str(port));
        }
        Some([vg, volume]) if kind == "plain" => {
            fields.text("logical_id", format_args!("{}/{}", pyrepr::str(vg), pyrepr::str(volume)));
        }
        Some(parts) => {
            let parts: Vec<String> = parts.iter().map(pyrepr::str).collect();
            fields.text("logical_id", format_args!("({})", parts.join(", ")));
        }
        None => {
            fields.text("logical_id", text("logical_id"));
        }
    }
    if !only_static {
        for (key, title) in [("pstatus", "on primary"), ("sstatus", "on secondary")] {
            match value(key) {
                Value::Null if key == "pstatus" => {
                    fields.text(title, "not active");
                }
                Value::Null => {}
                status => {
                    fields.text(title, device_status(kind, status));
                }
            }
        }
    }
    if top {
        fields.text("name", text("name"));
    }
    fields.text("UUID", text("uuid"));
    if let Some(children) = value("children").as_array().filter(|list| !list.is_empty()) {
        let children = children.iter().enumerate();
        fields.add(
            "child devices",
            Dump::List(children.map(|(i, child)| disk(i, child, false, only_static)).collect()),
        );
    }
    fields.done()
}

/// A device: path or URI, major, minor, synced percent, seconds left, degraded, state of the local disk.
fn device_status(kind: &str, status: &Value) -> String {
    let part = |i: usize| status.get(i).unwrap_or(&Value::Null);
    let number = |i: usize| part(i).as_i64().map_or_else(|| "N/A".into(), |n| n.to_string());
    let mut text = format!("{} ({}:{})", pyrepr::str(part(0)), number(1), number(2));
    let degraded = part(5) == &Value::Bool(true);
    if kind == "drbd" {
        match part(3).as_f64() {
            Some(percent) => {
                let eta = match part(4).as_f64() {
                    Some(seconds) => format!("ETA {seconds:.0}s"),
                    None => "ETA unknown".into(),
                };
                text.push_str(&format!(" *RECOVERING* {percent:5.2}%, {eta}"));
            }
            None => text.push_str(" in sync"),
        }
        text.push_str(if degraded { ", status *DEGRADED*" } else { ", status ok" });
        match part(6).as_i64() {
            Some(3) => text.push_str(" *MISSING DISK*"),
            Some(2) => text.push_str(" *UNCERTAIN STATE*"),
            _ => {}
        }
    } else if degraded {
        text.push_str(" *FAILED* (failed drive?)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mirrors_and_their_state() {
        let text = disks(
            &json!([{
                "iv_name": "disk/0", "dev_type": "drbd", "size": 10240, "mode": "rw",
                "logical_id": ["ua", "ub", 11000, 0, 1, "secret"],
                "drbd_info": {"primary_node": "n1", "secondary_node": "n2"},
                "pstatus": ["/dev/drbd0", 147, 0, 12.5, 62, true, 1],
                "sstatus": ["/dev/drbd1", 147, 1, null, null, false, 3],
                "name": "data", "uuid": "d", "children": [{
                    "dev_type": "plain", "size": 128, "logical_id": ["xenvg", "meta"], "uuid": "c",
                    "pstatus": null, "children": []
                }],
            }]),
            false,
        )
        .render();
        assert_eq!(
            text,
            "- disk/0: drbd, size 10.0G\n  access mode: rw\n  nodeA: n1, minor=0\n  \
             nodeB: n2, minor=1\n  port: 11000\n  on primary: /dev/drbd0 (147:0) *RECOVERING* \
             12.50%, ETA 62s, status *DEGRADED*\n  on secondary: /dev/drbd1 (147:1) in sync, status \
             ok *MISSING DISK*\n  name: data\n  UUID: d\n  child devices: \n    \
             - child 0: plain, size 128M\n      logical_id: xenvg/meta\n      \
             on primary: not active\n      UUID: c\n"
        );
        assert!(!text.contains("secret"));
    }
}
