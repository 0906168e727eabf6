//! What opcodes say about disks and network cards, in Ganeti's shapes.

use crate::choices::{DeviceAction, DiskAccess, DiskMode, DiskTemplate};
use crate::params::ParamMap;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// A disk as asked for: to be made, changed or attached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskSpec {
    /// MiB. Needed for a new disk, unless one is adopted.
    #[serde(default, deserialize_with = "size", skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whether the guest may write; it may unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DiskMode>,
    /// A label; `none` clears it.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An existing volume to take over: a volume's name (plain) or a device's path (blockdev).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<String>,
    /// The volume group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vg: Option<String>,
    /// The volume group of DRBD's meta data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metavg: Option<String>,
    /// The external storage provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Who opens a networked disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<DiskAccess>,
    /// Spindles, on nodes with exclusive storage.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub spindles: Option<u64>,
    /// The template of a disk that is added to an instance without disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_type: Option<DiskTemplate>,
    /// The disk to attach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Parameters for the external storage provider.
    #[serde(flatten)]
    pub extra: ParamMap,
}

impl DiskSpec {
    /// A disk of a size in MiB.
    pub fn sized(size: u64) -> DiskSpec {
        DiskSpec { size: Some(size), ..DiskSpec::default() }
    }
}

/// A network card as asked for. Absent means: leave it, or take the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NicSpec {
    /// `auto`, `generate` or an address.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `none`, `auto`, `pool` or an address.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Bridged, routed, …; text because `default` resets it.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Bridge, route table or switch.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// A network's name or uuid; `none` clears it.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// A label; `none` clears it.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// VLANs: `N` or `.N` untagged, `:N:M` tagged.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub vlan: Option<String>,
    /// The old word for `link`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
}

/// Which disk or network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeviceRef {
    /// Its place, from 0; -1 is the last one, or the place behind it when adding.
    Index(i64),
    /// Its name or uuid.
    Name(String),
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceRef::Index(index) => index.fmt(f),
            DeviceRef::Name(name) => name.fmt(f),
        }
    }
}

/// One change of an instance's disks or network cards: `[action, device, settings]` in JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceChange<T> {
    /// What to do.
    pub action: DeviceAction,
    /// With which device.
    pub device: DeviceRef,
    /// The settings.
    pub spec: T,
}

impl<T: Serialize> Serialize for DeviceChange<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        (self.action, &self.device, &self.spec).serialize(s)
    }
}

/// Reads the old two-part form too: `["add", {…}]` (at the end), `["remove", {…}]` (the last),
/// `[device, {…}]` (modify).
impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for DeviceChange<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut parts = Vec::<Value>::deserialize(d)?;
        let shape = "a device change is [action, index or name, {settings}]";
        let spec = match parts.pop() {
            Some(Value::Null) => Value::Object(Default::default()),
            Some(spec @ Value::Object(_)) => spec,
            _ => return Err(D::Error::custom(shape)),
        };
        let (action, device) = match parts.as_slice() {
            [action, device] => (
                serde_json::from_value(action.clone()).map_err(D::Error::custom)?,
                serde_json::from_value(device.clone()).map_err(|_| D::Error::custom(shape))?,
            ),
            [one] => match one.as_str().and_then(|word| word.parse().ok()) {
                Some(action) => (action, DeviceRef::Index(-1)),
                None => (
                    DeviceAction::Modify,
                    serde_json::from_value(one.clone()).map_err(|_| D::Error::custom(shape))?,
                ),
            },
            _ => return Err(D::Error::custom(shape)),
        };
        let spec = serde_json::from_value(spec).map_err(D::Error::custom)?;
        Ok(DeviceChange { action, device, spec })
    }
}

/// A disk to make again: its index, or `[index, {settings}]` with another size, mode or spindles.
#[derive(Clone, Debug, PartialEq)]
pub struct RecreateDisk {
    /// Which disk, from 0.
    pub index: u32,
    /// What is different.
    pub spec: DiskSpec,
}

impl Serialize for RecreateDisk {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.spec == DiskSpec::default() {
            self.index.serialize(s)
        } else {
            (self.index, &self.spec).serialize(s)
        }
    }
}

impl<'de> Deserialize<'de> for RecreateDisk {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(d)?;
        if value.is_number() {
            let index = serde_json::from_value(value).map_err(D::Error::custom)?;
            return Ok(RecreateDisk { index, spec: DiskSpec::default() });
        }
        let (index, spec) = serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(RecreateDisk { index, spec })
    }
}

/// Where an export goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExportTarget {
    /// A node of this cluster.
    Node(String),
    /// Another cluster: for each disk what its import daemon told.
    Remote(Vec<Value>),
}

impl From<&str> for ExportTarget {
    fn from(node: &str) -> ExportTarget {
        ExportTarget::Node(node.to_owned())
    }
}

impl From<String> for ExportTarget {
    fn from(node: String) -> ExportTarget {
        ExportTarget::Node(node)
    }
}

/// Text, or a number that is meant as text (route tables, VLANs).
fn text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        other => Err(D::Error::custom(format!("{other} is not text"))),
    }
}

/// A size in MiB, or text with a unit.
fn size<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        Value::String(text) => match text.parse() {
            Ok(mib) => Ok(Some(mib)),
            Err(_) => crate::units::parse_size(&text).map(Some).map_err(D::Error::custom),
        },
        Value::Number(number) => match number.as_u64() {
            Some(mib) => Ok(Some(mib)),
            None => Err(D::Error::custom(format!("Invalid disk size '{number}'"))),
        },
        other => Err(D::Error::custom(format!("Invalid disk size '{other}'"))),
    }
}

/// A number, or its digits as text.
fn number<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(d)?;
    let parsed = match &value {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    parsed.map(Some).ok_or_else(|| D::Error::custom(format!("{value} is not a number from 0 up")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn disks_keep_what_they_do_not_know() {
        let spec: DiskSpec =
            serde_json::from_value(json!({"size": "1g", "provider": "p", "speed": "fast"}))
                .expect("good disk");
        assert_eq!(spec.size, Some(1024));
        assert_eq!(spec.extra["speed"], "fast");
        assert_eq!(
            serde_json::to_value(&spec).expect("json"),
            json!({"size": 1024, "provider": "p", "speed": "fast"})
        );
        assert!(serde_json::from_value::<DiskSpec>(json!({"size": -1})).is_err());
    }

    #[test]
    fn nics_refuse_what_they_do_not_know() {
        let error = serde_json::from_value::<NicSpec>(json!({"colour": "red"})).expect_err("key");
        assert!(error.to_string().contains("colour"), "{error}");
        let nic: NicSpec = serde_json::from_value(json!({"link": 100, "ip": null})).expect("nic");
        assert_eq!(nic, NicSpec { link: Some("100".into()), ..NicSpec::default() });
    }

    #[test]
    fn device_changes_in_both_forms() {
        let read = |v| serde_json::from_value::<DeviceChange<NicSpec>>(v).expect("good change");
        let new = read(json!(["add", -1, {"mac": "generate"}]));
        assert_eq!(new, read(json!(["add", {"mac": "generate"}])));
        assert_eq!(
            serde_json::to_value(&new).expect("json"),
            json!(["add", -1, {"mac": "generate"}])
        );
        let named = read(json!(["eth0", {"ip": "pool"}]));
        assert_eq!(named.action, DeviceAction::Modify);
        assert_eq!(named.device, DeviceRef::Name("eth0".into()));
        assert_eq!(read(json!([2, {}])).device, DeviceRef::Index(2));
        for bad in [json!([]), json!(["add"]), json!(["burn", 0, {}]), json!(["add", 0, 1])] {
            assert!(serde_json::from_value::<DeviceChange<NicSpec>>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn disks_to_recreate_in_both_forms() {
        let both: Vec<RecreateDisk> =
            serde_json::from_value(json!([0, [2, {"size": 2048}]])).expect("disks");
        assert_eq!(both[1], RecreateDisk { index: 2, spec: DiskSpec::sized(2048) });
        assert_eq!(serde_json::to_value(&both).expect("json"), json!([0, [2, {"size": 2048}]]));
    }
}
