//! The whole configuration as one file: Ganeti's `config.data`.

use super::{Cluster, Disk, FilterRule, Instance, Network, Node, NodeGroup, ParamMap};
use crate::ids::{DiskId, FilterId, GroupId, InstanceId, NetworkId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version we write: Ganeti 3.2's (major × 1,000,000 + minor × 10,000).
pub const CONFIG_VERSION: u64 = 3_020_000;

/// A configuration file of Ganeti 3.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigData {
    pub version: u64,
    pub cluster: Cluster,
    pub nodes: BTreeMap<NodeId, Node>,
    pub nodegroups: BTreeMap<GroupId, NodeGroup>,
    pub instances: BTreeMap<InstanceId, Instance>,
    #[serde(default)]
    pub networks: BTreeMap<NetworkId, Network>,
    #[serde(default)]
    pub disks: BTreeMap<DiskId, Disk>,
    #[serde(default)]
    pub filters: BTreeMap<FilterId, FilterRule>,
    pub ctime: f64,
    pub mtime: f64,
    pub serial_no: u64,
    #[serde(flatten)]
    pub extra: ParamMap,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Every value of `before` is in `after`; what `after` has more are defaults.
    fn contained(before: &Value, after: &Value, path: &str) {
        match (before, after) {
            (Value::Object(b), Value::Object(a)) => {
                for (key, value) in b {
                    let inner = a.get(key).unwrap_or_else(|| panic!("{path}/{key} was lost"));
                    contained(value, inner, &format!("{path}/{key}"));
                }
            }
            (Value::Array(b), Value::Array(a)) => {
                assert_eq!(b.len(), a.len(), "{path}");
                for (i, (value, inner)) in b.iter().zip(a).enumerate() {
                    contained(value, inner, &format!("{path}/{i}"));
                }
            }
            (Value::Number(b), Value::Number(a)) => assert_eq!(b.as_f64(), a.as_f64(), "{path}"),
            _ => assert_eq!(before, after, "{path}"),
        }
    }

    #[test]
    fn a_file_of_the_reference_loads_and_is_written_without_loss() {
        let text = include_str!("../../fixtures/config.data.json");
        let before: Value = serde_json::from_str(text).unwrap();
        let config: ConfigData = serde_json::from_str(text).unwrap();
        let after = serde_json::to_value(&config).unwrap();
        contained(&before, &after, "");
        let again: ConfigData = serde_json::from_value(after).unwrap();
        assert_eq!(config, again);
    }
}
