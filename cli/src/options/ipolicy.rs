//! Instance policies as options: `--ipolicy-*` and the older `--specs-*`.

use clap::Args;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::keyval::{self, KvMap};
use roost_proto::params::ParamMap;
use roost_proto::units::parse_size;
use serde_json::{Map, Value, json};

use crate::values;

/// The policy's options for clusters and groups.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyOptions {
    /// Allowed sizes of instances: min:KEY=VALUE,…/max:KEY=VALUE,…, several with //
    #[arg(long, value_name = "SPECS")]
    pub ipolicy_bounds_specs: Option<String>,
    /// Disk templates that instances may have
    #[arg(long, value_name = "TEMPLATES")]
    pub ipolicy_disk_templates: Option<String>,
    /// Largest ratio of virtual to physical CPUs
    #[arg(long, value_name = "RATIO")]
    pub ipolicy_vcpu_ratio: Option<String>,
    /// Largest ratio of instances' spindles to disks
    #[arg(long, value_name = "RATIO")]
    pub ipolicy_spindle_ratio: Option<String>,
}

/// The standard size, for clusters only.
#[derive(Args, Clone, Debug, Default)]
pub struct StandardOption {
    /// Standard size of instances, for capacity computations
    #[arg(long, value_name = "SPECS")]
    pub ipolicy_std_specs: Option<String>,
}

/// The older form of sizes, for new clusters only.
#[derive(Args, Clone, Debug, Default)]
pub struct SplitOptions {
    /// CPUs: min=N,max=N,std=N
    #[arg(long, value_name = "SPECS")]
    pub specs_cpu_count: Option<String>,
    /// Disks: min=N,max=N,std=N
    #[arg(long, value_name = "SPECS")]
    pub specs_disk_count: Option<String>,
    /// Size of a disk: min=SIZE,max=SIZE,std=SIZE
    #[arg(long, value_name = "SPECS")]
    pub specs_disk_size: Option<String>,
    /// Memory: min=SIZE,max=SIZE,std=SIZE
    #[arg(long, value_name = "SPECS")]
    pub specs_mem_size: Option<String>,
    /// Network cards: min=N,max=N,std=N
    #[arg(long, value_name = "SPECS")]
    pub specs_nic_count: Option<String>,
}

/// Ganeti's policy where nothing is said: smallest, standard and largest.
const DEFAULTS: [(&str, u64, u64, u64); 6] = [
    ("memory-size", 128, 128, 32_768),
    ("cpu-count", 1, 1, 8),
    ("disk-count", 1, 1, 16),
    ("disk-size", 1_024, 1_024, 1_048_576),
    ("nic-count", 1, 1, 8),
    ("spindle-use", 1, 1, 12),
];

impl PolicyOptions {
    /// The policy's parts that were given. `default` stands for "as the cluster", for groups.
    pub fn policy(&self) -> Result<ParamMap> {
        let mut policy = ParamMap::new();
        if let Some(text) = &self.ipolicy_bounds_specs {
            policy.insert("minmax".into(), bounds(text)?);
        }
        if let Some(text) = &self.ipolicy_disk_templates {
            let value = match text.as_str() {
                "default" => json!("default"),
                text => {
                    let templates: Vec<DiskTemplate> = values::choices(text)?;
                    json!(templates)
                }
            };
            policy.insert("disk-templates".into(), value);
        }
        let ratios = [
            ("vcpu-ratio", &self.ipolicy_vcpu_ratio),
            ("spindle-ratio", &self.ipolicy_spindle_ratio),
        ];
        for (key, text) in ratios {
            if let Some(text) = text {
                policy.insert(key.into(), ratio(key, text)?);
            }
        }
        Ok(policy)
    }
}

impl StandardOption {
    /// Adds the standard size.
    pub fn add_to(&self, policy: &mut ParamMap) -> Result<()> {
        if let Some(text) = &self.ipolicy_std_specs {
            let specs = specs("--ipolicy-std-specs", &keyval::parse_plain(text)?)?;
            policy.insert("std".into(), Value::Object(specs));
        }
        Ok(())
    }
}

impl SplitOptions {
    /// Adds sizes, unless the other form was used too.
    pub fn add_to(&self, policy: &mut ParamMap) -> Result<()> {
        let given = [
            ("memory-size", &self.specs_mem_size),
            ("cpu-count", &self.specs_cpu_count),
            ("disk-count", &self.specs_disk_count),
            ("disk-size", &self.specs_disk_size),
            ("nic-count", &self.specs_nic_count),
        ];
        if given.iter().all(|(_, text)| text.is_none()) {
            return Ok(());
        }
        if policy.contains_key("minmax") || policy.contains_key("std") {
            return Err(Error::wrong_input(
                "A --specs-... option cannot be used together with --ipolicy-bounds-specs or \
                 --ipolicy-std-specs; use the latter two",
            ));
        }
        let mut min = Map::new();
        let mut std = Map::new();
        let mut max = Map::new();
        for (key, low, standard, high) in DEFAULTS {
            min.insert(key.into(), low.into());
            std.insert(key.into(), standard.into());
            max.insert(key.into(), high.into());
        }
        for (key, text) in given {
            let Some(text) = text else { continue };
            for (which, value) in keyval::parse_plain(text)? {
                let value = spec(key, value.as_text().unwrap_or_default())?;
                match which.as_str() {
                    "min" => min.insert(key.into(), value),
                    "max" => max.insert(key.into(), value),
                    "std" => std.insert(key.into(), value),
                    other => {
                        return Err(Error::wrong_input(format!(
                            "'{other}' in '{text}' is not one of min, max, std"
                        )));
                    }
                };
            }
        }
        policy.insert("minmax".into(), json!([{"min": min, "max": max}]));
        policy.insert("std".into(), Value::Object(std));
        Ok(())
    }
}

fn bounds(text: &str) -> Result<Value> {
    if text == "default" {
        return Ok(json!("default"));
    }
    let mut list = Vec::new();
    for pair in keyval::parse_policy(text)? {
        let mut object = Map::new();
        for (name, settings) in &pair {
            if !matches!(name.as_str(), "min" | "max") {
                return Err(Error::wrong_input(format!(
                    "'{name}' in '{text}' is neither min nor max"
                )));
            }
            object.insert(name.clone(), Value::Object(specs(name, settings)?));
        }
        if object.len() != 2 {
            return Err(Error::wrong_input(format!(
                "Each pair in '{text}' needs both: min:KEY=VALUE,…/max:KEY=VALUE,…"
            )));
        }
        list.push(Value::Object(object));
    }
    Ok(Value::Array(list))
}

/// All six sizes.
fn specs(what: &str, settings: &KvMap) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for (key, value) in settings {
        object.insert(key.clone(), spec(key, value.as_text().unwrap_or_default())?);
    }
    let missing: Vec<&str> =
        DEFAULTS.iter().map(|d| d.0).filter(|key| !object.contains_key(*key)).collect();
    if !missing.is_empty() {
        return Err(Error::wrong_input(format!(
            "Missing in the specification '{what}': {}",
            missing.join(", ")
        )));
    }
    Ok(object)
}

fn spec(key: &str, text: &str) -> Result<Value> {
    match key {
        "memory-size" | "disk-size" => parse_size(text).map(Value::from),
        key if DEFAULTS.iter().any(|d| d.0 == key) => {
            text.parse::<u64>().map(Value::from).map_err(|_| {
                Error::wrong_input(format!("Invalid value '{text}' of {key}: write a number"))
            })
        }
        other => Err(Error::wrong_input(format!(
            "Unknown key '{other}' in an instance specification; known: {}",
            DEFAULTS.map(|d| d.0).join(", ")
        ))),
    }
}

fn ratio(key: &str, text: &str) -> Result<Value> {
    match text {
        "default" => Ok(json!("default")),
        text => {
            text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from).ok_or_else(|| {
                Error::wrong_input(format!("Invalid {key} '{text}': write a number or 'default'"))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: &str =
        "memory-size=128m,cpu-count=1,disk-count=1,disk-size=1g,nic-count=1,spindle-use=1";

    #[test]
    fn bounds_need_both_sides_and_all_keys() {
        let value = bounds(&format!("min:{MIN}/max:{MIN}")).expect("good");
        assert_eq!(value[0]["min"]["disk-size"], 1024);
        assert!(bounds(&format!("min:{MIN}")).unwrap_err().message.contains("needs both"));
        let error = bounds("min:cpu-count=1/max:cpu-count=2").unwrap_err();
        assert!(error.message.contains("memory-size"), "{error}");
        assert_eq!(bounds("default").expect("word"), "default");
    }

    #[test]
    fn the_older_form_fills_the_rest() {
        let split =
            SplitOptions { specs_mem_size: Some("min=1g,std=2g".into()), ..Default::default() };
        let mut policy = ParamMap::new();
        split.add_to(&mut policy).expect("good");
        assert_eq!(policy["minmax"][0]["min"]["memory-size"], 1024);
        assert_eq!(policy["minmax"][0]["max"]["memory-size"], 32_768);
        assert_eq!(policy["std"]["memory-size"], 2048);
        assert!(split.add_to(&mut policy).is_err(), "both forms");
    }
}
