//! Instance policies: how large instances may be, on which disk templates, and how densely packed.
//!
//! A policy has one or more pairs of bounds; an instance must fit within one of them. Groups may
//! replace parts of the cluster's policy. A policy never stops what already runs: it is checked
//! where an instance is made, changed or moved.

mod check;
mod settings;

pub use check::InstanceSpec;
pub use settings::{Level, from_split_specs, minmax_from_cli, minmax_to_cli, std_to_cli, typed};

use super::ParamMap;
use crate::choices::DiskTemplate;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Figures about an instance, or bounds for them. Ganeti's JSON keys have hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ISpec {
    /// MiB.
    pub memory_size: u64,
    /// Virtual CPUs.
    pub cpu_count: u64,
    /// How many disks.
    pub disk_count: u64,
    /// MiB, of each disk.
    pub disk_size: u64,
    /// How many network cards.
    pub nic_count: u64,
    /// Load on disks, in spindles.
    #[serde(default = "one")]
    pub spindle_use: u64,
}

fn one() -> u64 {
    1
}

impl ISpec {
    /// The keys, in Ganeti's order.
    pub const KEYS: [&'static str; 6] =
        ["memory-size", "cpu-count", "disk-count", "disk-size", "nic-count", "spindle-use"];

    /// The figures in the order of [`ISpec::KEYS`].
    pub fn values(&self) -> [u64; 6] {
        [
            self.memory_size,
            self.cpu_count,
            self.disk_count,
            self.disk_size,
            self.nic_count,
            self.spindle_use,
        ]
    }
}

/// A pair of bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinMax {
    /// The least.
    pub min: ISpec,
    /// The most.
    pub max: ISpec,
}

/// A whole policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IPolicy {
    /// Pairs of bounds: an instance must fit one of them.
    pub minmax: Vec<MinMax>,
    /// A usual instance: what capacity is counted in.
    pub std: ISpec,
    /// What disks may be.
    pub disk_templates: Vec<DiskTemplate>,
    /// The most virtual CPUs for each physical one.
    pub vcpu_ratio: f64,
    /// The most spindle use for each spindle.
    pub spindle_ratio: f64,
}

/// Ganeti's built-in policy.
impl Default for IPolicy {
    fn default() -> IPolicy {
        let min = ISpec {
            memory_size: 128,
            cpu_count: 1,
            disk_count: 1,
            disk_size: 1024,
            nic_count: 1,
            spindle_use: 1,
        };
        let max = ISpec {
            memory_size: 32768,
            cpu_count: 8,
            disk_count: 16,
            disk_size: 1_048_576,
            nic_count: 8,
            spindle_use: 12,
        };
        IPolicy {
            minmax: vec![MinMax { min, max }],
            std: min,
            disk_templates: DiskTemplate::ALL.to_vec(),
            vcpu_ratio: 4.0,
            spindle_ratio: 32.0,
        }
    }
}

impl IPolicy {
    /// This policy with stored settings over it. Bounds and templates are replaced as a whole, the
    /// usual instance key by key. Settings that cannot be read leave what is below.
    #[must_use]
    pub fn over(mut self, settings: &ParamMap) -> IPolicy {
        fn put<T: serde::de::DeserializeOwned>(place: &mut T, value: Option<&Value>) {
            if let Some(new) = value.and_then(|v| serde_json::from_value(v.clone()).ok()) {
                *place = new;
            }
        }
        put(&mut self.minmax, settings.get("minmax"));
        put(&mut self.disk_templates, settings.get("disk-templates"));
        put(&mut self.vcpu_ratio, settings.get("vcpu-ratio"));
        put(&mut self.spindle_ratio, settings.get("spindle-ratio"));
        if let Some(Value::Object(changes)) = settings.get("std") {
            let mut std: Map<String, Value> = ISpec::KEYS
                .iter()
                .zip(self.std.values())
                .map(|(key, value)| ((*key).to_owned(), value.into()))
                .collect();
            std.extend(changes.clone());
            put(&mut self.std, Some(&Value::Object(std)));
        }
        self
    }

    /// The map that is stored.
    pub fn to_map(&self) -> ParamMap {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map.into_iter().collect(),
            _ => unreachable!("a policy is an object of plain data"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layers() {
        let policy = IPolicy::default();
        assert_eq!(policy.clone().over(&ParamMap::new()), policy);
        assert_eq!(policy.clone().over(&policy.to_map()), policy);
        let settings = json!({"vcpu-ratio": 2, "std": {"cpu-count": 2}, "disk-templates": ["ext"]});
        let over = policy.clone().over(&serde_json::from_value(settings).expect("object"));
        assert_eq!(over.vcpu_ratio, 2.0);
        assert_eq!((over.std.cpu_count, over.std.memory_size), (2, 128));
        assert_eq!(over.disk_templates, [DiskTemplate::Ext]);
        assert_eq!(over.minmax, policy.minmax);
    }

    #[test]
    fn keys_are_ganetis() {
        let map = IPolicy::default().to_map();
        let keys: Vec<_> = map.keys().map(String::as_str).collect();
        assert_eq!(keys, ["disk-templates", "minmax", "spindle-ratio", "std", "vcpu-ratio"]);
        let max = map["minmax"][0]["max"].as_object().expect("object");
        for key in ISpec::KEYS {
            assert!(max.contains_key(key), "{key}");
        }
    }
}
