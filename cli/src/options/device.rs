//! Disks and network cards as `--disk` and `--net` describe them.

use crate::values::{Ident, ident, to_params};
use roost_proto::choices::DeviceAction;
use roost_proto::error::{Error, Result};
use roost_proto::keyval::{IdentValue, KvMap, KvValue};
use roost_proto::opcodes::{DeviceChange, DeviceRef, DiskSpec, MAX_DISKS, MAX_NICS, NicSpec};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Turns settings into a description of a device.
pub fn spec<T: DeserializeOwned>(what: &str, settings: &KvMap) -> Result<T> {
    let object = Value::Object(to_params(settings).into_iter().collect());
    serde_json::from_value(object)
        .map_err(|why| Error::wrong_input(format!("{what} cannot be understood: {why}")))
}

/// The list that `0:…`, `1:…` describe; a number that is left out has no settings.
fn numbered<T: DeserializeOwned + Clone + Default>(
    option: &str,
    devices: &[Ident],
    most: usize,
) -> Result<Vec<T>> {
    let mut list: Vec<Option<T>> = Vec::new();
    for device in devices {
        let what = format!("{option} {}", device.ident);
        let index: usize = device.ident.parse().map_err(|_| {
            Error::wrong_input(format!("{what}: begin with the device's number, from 0"))
        })?;
        if index >= most {
            return Err(Error::wrong_input(format!(
                "{what}: an instance has at most {most}, numbered from 0"
            )));
        }
        let IdentValue::Set(settings) = &device.value else {
            return Err(Error::wrong_input(format!("{what}: there is nothing to remove yet")));
        };
        if list.len() <= index {
            list.resize(index + 1, None);
        }
        if list[index].replace(spec(&what, settings)?).is_some() {
            return Err(Error::wrong_input(format!("{what} is given twice")));
        }
    }
    Ok(list.into_iter().map(Option::unwrap_or_default).collect())
}

/// The disks of a new instance. Each needs a size or something to adopt, not both.
pub fn new_disks(devices: &[Ident]) -> Result<Vec<DiskSpec>> {
    let disks: Vec<DiskSpec> = numbered("--disk", devices, MAX_DISKS as usize)?;
    for (index, disk) in disks.iter().enumerate() {
        match (disk.size, &disk.adopt) {
            (Some(_), Some(_)) => {
                return Err(Error::wrong_input(format!(
                    "--disk {index}: only one of size and adopt can be given; an adopted disk has \
                     its size"
                )));
            }
            (None, None) => {
                return Err(Error::wrong_input(format!(
                    "--disk {index}: missing size or adopt; write --disk {index}:size=SIZE"
                )));
            }
            (None, Some(_)) if disk.spindles.is_some() => {
                return Err(Error::wrong_input(format!(
                    "--disk {index}: spindles cannot be given for an adopted disk"
                )));
            }
            _ => {}
        }
    }
    Ok(disks)
}

/// The network cards of a new instance.
pub fn new_nics(devices: &[Ident]) -> Result<Vec<NicSpec>> {
    numbered("--net", devices, MAX_NICS)
}

/// Changes of an instance's devices: `add:…`, `N:add,…`, `N:modify,…` or `N:…`, `[N:]remove`, ….
/// `N` is an index (-1 is the last one), a name or a uuid.
pub fn changes<T: DeserializeOwned>(
    option: &str,
    devices: &[Ident],
) -> Result<Vec<DeviceChange<T>>> {
    devices.iter().map(|device| change(option, device)).collect()
}

fn change<T: DeserializeOwned>(option: &str, device: &Ident) -> Result<DeviceChange<T>> {
    let what = format!("{option} {}", device.ident);
    // `attach,uuid=…` is as good as `attach:uuid=…`.
    if let Some((word, rest)) = device.ident.split_once(',')
        && action_word(word).is_some()
    {
        let meant = ident(&format!("{word}:{rest}"))?;
        return change(option, &meant);
    }
    let IdentValue::Set(settings) = &device.value else {
        return Err(Error::wrong_input(format!(
            "{what}: to remove a device write {option} {}:remove",
            device.ident
        )));
    };
    let mut settings = settings.clone();
    let (action, target) = match action_word(&device.ident) {
        Some(action) => (action, DeviceRef::Index(-1)),
        None => {
            let words: Vec<String> = settings
                .iter()
                .filter(|(key, value)| **value == KvValue::True && action_word(key).is_some())
                .map(|(key, _)| key.clone())
                .collect();
            let action = match words.as_slice() {
                [] => DeviceAction::Modify,
                [word] => {
                    settings.remove(word);
                    action_word(word).unwrap_or(DeviceAction::Modify)
                }
                several => {
                    return Err(Error::wrong_input(format!(
                        "{what}: only one of {} can be done at a time",
                        several.join(", ")
                    )));
                }
            };
            (action, reference(&device.ident))
        }
    };
    if matches!(action, DeviceAction::Remove | DeviceAction::Detach) && !settings.is_empty() {
        return Err(Error::wrong_input(format!(
            "{what}: {action} takes no settings, they would be lost with the device"
        )));
    }
    Ok(DeviceChange { action, device: target, spec: spec(&what, &settings)? })
}

fn action_word(word: &str) -> Option<DeviceAction> {
    word.parse().ok()
}

/// An index, or else a name or uuid.
pub fn reference(text: &str) -> DeviceRef {
    match text.parse() {
        Ok(index) => DeviceRef::Index(index),
        Err(_) => DeviceRef::Name(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, to_value};

    fn idents(texts: &[&str]) -> Vec<Ident> {
        texts.iter().map(|text| ident(text).expect("good")).collect()
    }

    #[test]
    fn disks_are_numbered() {
        let disks = new_disks(&idents(&["1:size=1g,mode=ro", "0:adopt=old"])).expect("good");
        assert_eq!(
            to_value(disks).expect("json"),
            json!([{"adopt": "old"}, {"size": 1024, "mode": "ro"}])
        );
        for (bad, why) in [
            ("0:mode=rw", "missing size"),
            ("0:size=1g,adopt=x", "only one of"),
            ("x:size=1g", "begin with the device's number"),
            ("16:size=1g", "at most 16"),
            ("0:size=big", "cannot be understood"),
            ("1:size=1g", "--disk 0: missing size"),
            ("0:adopt=x,spindles=2", "spindles"),
        ] {
            let error = new_disks(&idents(&[bad])).expect_err(bad);
            assert!(error.message.contains(why), "{bad}: {error}");
        }
        assert!(new_disks(&idents(&["0:size=1", "0:size=1"])).is_err());
    }

    #[test]
    fn disks_are_attached_in_all_forms() {
        let list: Vec<DeviceChange<DiskSpec>> = changes(
            "--disk",
            &idents(&["attach:uuid=u", "attach,name=data", "0:attach,uuid=u", "data:detach"]),
        )
        .expect("good");
        assert_eq!(
            to_value(list).expect("json"),
            json!([
                ["attach", -1, {"uuid": "u"}],
                ["attach", -1, {"name": "data"}],
                ["attach", 0, {"uuid": "u"}],
                ["detach", "data", {}],
            ])
        );
    }

    #[test]
    fn changes_in_all_forms() {
        let list: Vec<DeviceChange<NicSpec>> = changes(
            "--net",
            &idents(&[
                "add:mac=generate",
                "0:add,ip=none",
                "eth0:modify,link=br1",
                "-1:remove",
                "remove",
                "2:mode=routed",
            ]),
        )
        .expect("good");
        assert_eq!(
            to_value(list).expect("json"),
            json!([
                ["add", -1, {"mac": "generate"}],
                ["add", 0, {"ip": "none"}],
                ["modify", "eth0", {"link": "br1"}],
                ["remove", -1, {}],
                ["remove", -1, {}],
                ["modify", 2, {"mode": "routed"}],
            ])
        );
        for bad in ["0:remove,ip=none", "0:add,remove", "no_0", "0:colour=red"] {
            assert!(changes::<NicSpec>("--net", &idents(&[bad])).is_err(), "{bad}");
        }
    }
}
