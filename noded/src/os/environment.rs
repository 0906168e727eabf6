//! What OS scripts are told: Ganeti's variables.

use super::definition::Definition;
use crate::hypervisor::{Attachment, Source};
use roost_proto::choices::{DiskTemplate, NicMode};
use roost_proto::node::{GuestDisk, GuestNic, GuestSpec, NetworkInfo};
use roost_proto::objects::{DiskMode, LogicalId, ParamMap};
use serde_json::Value;
use std::collections::BTreeMap;

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// What every script is told: the OS and its parameters.
pub fn core(os: &Definition, name: &str, osparams: &[&ParamMap], debug: bool) -> Environment {
    let mut env = Environment::new();
    set(&mut env, "OS_API_VERSION", os.api);
    set(&mut env, "OS_NAME", &os.name);
    set(&mut env, "OS_VARIANT", os.variant(name));
    set(&mut env, "DEBUG_LEVEL", u8::from(debug));
    for (key, value) in osparams.iter().copied().flatten() {
        set(&mut env, format!("OSP_{}", key.to_uppercase().replace('-', "_")), python(value));
    }
    env
}

/// What scripts are told of an instance. `disks` are its assembled disks.
pub fn instance(env: &mut Environment, guest: &GuestSpec, disks: &[Attachment]) {
    set(env, "INSTANCE_NAME", &guest.name);
    set(env, "INSTANCE_OS", &guest.os);
    set(env, "INSTANCE_UUID", guest.uuid);
    // Python's notation of floating point numbers: always with a point.
    set(env, "INSTANCE_CTIME", format!("{:?}", guest.ctime));
    set(env, "INSTANCE_MTIME", format!("{:?}", guest.mtime));
    set(env, "INSTANCE_PRIMARY_NODE", &guest.primary_node);
    set(env, "INSTANCE_SECONDARY_NODES", guest.secondary_nodes.join(" "));
    set(env, "HYPERVISOR", guest.hypervisor);
    set(env, "DISK_COUNT", guest.disks.len());
    for disk in &guest.disks {
        let attached = disks.iter().find(|a| a.uuid == disk.disk.uuid);
        set_disk(env, disk, attached, &guest.hvparams);
    }
    set(env, "NIC_COUNT", guest.nics.len());
    for nic in &guest.nics {
        set_nic(env, nic, &guest.hvparams);
    }
    for (key, value) in &guest.beparams {
        set(env, format!("INSTANCE_BE_{key}"), python(value));
    }
    for (key, value) in &guest.hvparams {
        set(env, format!("INSTANCE_HV_{key}"), python(value));
    }
}

fn set(env: &mut Environment, name: impl Into<String>, value: impl ToString) {
    env.insert(name.into(), value.to_string());
}

fn set_disk(
    env: &mut Environment,
    disk: &GuestDisk,
    attached: Option<&Attachment>,
    hvparams: &ParamMap,
) {
    let GuestDisk { index, disk } = disk;
    let mut put = |key: &str, value: String| set(env, format!("DISK_{index}_{key}"), value);
    put("ACCESS", if disk.mode == DiskMode::Ro { "ro" } else { "rw" }.into());
    put("UUID", disk.uuid.to_string());
    put("SIZE", disk.size.to_string());
    match attached.map(|a| &a.source) {
        Some(Source::Uri(uri)) => put("URI", uri.clone()),
        Some(source) => {
            if let Some(path) = source.path().filter(|path| path.exists()) {
                put("PATH", path.to_string_lossy().into_owned());
            }
        }
        None => {}
    }
    if let Some(name) = &disk.name {
        put("NAME", name.clone());
    }
    // Only where it is not a plain image: then a script must know that it is none.
    if disk.format() != "raw" {
        put("FORMAT", disk.format().to_owned());
    }
    if let Some(kind) = hvparams.get("disk_type") {
        put("FRONTEND_TYPE", python(kind));
    }
    match (disk.dev_type, &disk.logical_id) {
        (
            DiskTemplate::File | DiskTemplate::SharedFile | DiskTemplate::Gluster,
            LogicalId::Pair(driver, _),
        ) => put("BACKEND_TYPE", format!("file:{driver}")),
        (DiskTemplate::Diskless, _) => {}
        _ => put("BACKEND_TYPE", "block".into()),
    }
}

fn set_nic(env: &mut Environment, nic: &GuestNic, hvparams: &ParamMap) {
    let index = nic.index;
    let mut put = |key: &str, value: &str| set(env, format!("NIC_{index}_{key}"), value);
    put("MAC", &nic.mac);
    put("UUID", &nic.uuid.to_string());
    put("MODE", nic.mode.as_str());
    if let Some(ip) = &nic.ip {
        put("IP", ip);
    }
    if let Some(name) = &nic.name {
        put("NAME", name);
    }
    if !nic.link.is_empty() {
        put("LINK", &nic.link);
        if nic.mode == NicMode::Bridged {
            put("BRIDGE", &nic.link);
        }
    }
    if let Some(kind) = hvparams.get("nic_type") {
        put("FRONTEND_TYPE", &python(kind));
    }
    if let Some(network) = &nic.network {
        set_network(&mut put, network);
    }
}

fn set_network(put: &mut impl FnMut(&str, &str), network: &NetworkInfo) {
    put("NETWORK_NAME", &network.name);
    put("NETWORK_UUID", &network.uuid);
    put("NETWORK_TAGS", &network.tags.join(" "));
    let subnet = Some(&network.subnet).filter(|subnet| !subnet.is_empty());
    for (key, value) in [
        ("NETWORK_SUBNET", subnet),
        ("NETWORK_GATEWAY", network.gateway.as_ref()),
        ("NETWORK_SUBNET6", network.subnet6.as_ref()),
        ("NETWORK_GATEWAY6", network.gateway6.as_ref()),
        ("NETWORK_MAC_PREFIX", network.mac_prefix.as_ref()),
    ] {
        if let Some(value) = value {
            put(key, value);
        }
    }
}

/// A value as Python's `str` writes it, which is what scripts know.
pub fn python(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

fn repr(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
            let escaped = if quote == '\'' { escaped.replace('\'', "\\'") } else { escaped };
            format!("{quote}{escaped}{quote}")
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", "))
        }
        Value::Object(items) => {
            let items = items.iter().map(|(key, value)| {
                format!("{}: {}", repr(&Value::String(key.clone())), repr(value))
            });
            format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_python_does() {
        for (value, text) in [
            (json!(true), "True"),
            (json!(false), "False"),
            (json!(null), "None"),
            (json!(128), "128"),
            (json!(1.5), "1.5"),
            (json!("as it's"), "as it's"),
            (json!(["a", 1, true]), "['a', 1, True]"),
            (json!({"a": "it's"}), "{'a': \"it's\"}"),
        ] {
            assert_eq!(python(&value), text);
        }
    }
}
