//! Policies as users write them: options on the command line, JSON from clients.

use super::{ISpec, MinMax};
use crate::choices::DiskTemplate;
use crate::error::{Error, Result};
use crate::keyval::{KvMap, PolicyList};
use crate::params::value::{Kind, coerce};
use crate::params::{DEFAULT, ParamMap};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where a policy is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the cluster: nothing can be left to a default.
    Cluster,
    /// For a group: `default` drops a setting; the usual instance is the cluster's.
    Group,
}

fn wrong(why: impl std::fmt::Display) -> Error {
    Error::wrong_input(format!("Invalid instance policy: {why}"))
}

/// Types and checks settings, each for itself. Errors: `wrong_input`.
pub fn typed(settings: &ParamMap, level: Level) -> Result<ParamMap> {
    let mut out = ParamMap::new();
    for (key, value) in settings {
        if value == DEFAULT {
            if level == Level::Cluster {
                return Err(wrong(format!(
                    "{key} can't be dropped from the cluster's policy; give it a value"
                )));
            }
            out.insert(key.clone(), value.clone());
            continue;
        }
        let typed = match (key.as_str(), value) {
            ("minmax", Value::Array(pairs)) => pairs.iter().map(pair).collect::<Result<_>>()?,
            ("std", _) if level == Level::Group => {
                return Err(wrong(
                    "the usual instance (std) is the same in all groups; set it for the cluster",
                ));
            }
            ("std", Value::Object(spec)) => Value::Object(spec_map("std", spec)?),
            ("disk-templates", Value::Array(words)) => {
                words.iter().map(template).collect::<Result<_>>()?
            }
            ("vcpu-ratio" | "spindle-ratio", value) => match coerce(Kind::Float, value) {
                Some(ratio) if ratio.as_f64() > Some(0.0) => ratio,
                _ => return Err(wrong(format!("{key} must be a number above 0, not {value}"))),
            },
            ("minmax" | "std" | "disk-templates", _) => {
                return Err(wrong(format!("{key} can't be {value}")));
            }
            _ => {
                return Err(wrong(format!(
                    "'{key}' is not known; known: minmax, std, disk-templates, vcpu-ratio, \
                     spindle-ratio"
                )));
            }
        };
        out.insert(key.clone(), typed);
    }
    Ok(out)
}

fn template(word: &Value) -> Result<Value> {
    let template: DiskTemplate = word.as_str().unwrap_or_default().parse()?;
    Ok(template.as_str().into())
}

/// A full pair of bounds.
fn pair(value: &Value) -> Result<Value> {
    let Some(sections) = value.as_object() else {
        return Err(wrong(format!("bounds are a pair of min and max, not {value}")));
    };
    if let Some(other) = sections.keys().find(|k| *k != "min" && *k != "max") {
        return Err(wrong(format!("bounds are a pair of min and max, '{other}' is neither")));
    }
    let mut out = Map::new();
    for name in ["min", "max"] {
        let Some(Value::Object(spec)) = sections.get(name) else {
            return Err(wrong(format!("bounds need both min and max, {name} is missing")));
        };
        let spec = spec_map(name, spec)?;
        let missing: Vec<_> = ISpec::KEYS.into_iter().filter(|k| !spec.contains_key(*k)).collect();
        if !missing.is_empty() {
            return Err(wrong(format!("{name} bounds lack {}", missing.join(", "))));
        }
        out.insert(name.to_owned(), Value::Object(spec));
    }
    Ok(Value::Object(out))
}

fn spec_map(section: &str, spec: &Map<String, Value>) -> Result<Map<String, Value>> {
    let mut out = Map::new();
    for (key, value) in spec {
        if !ISpec::KEYS.contains(&key.as_str()) {
            let known = ISpec::KEYS.join(", ");
            return Err(wrong(format!("{section} has no '{key}'; known: {known}")));
        }
        let kind = if key.ends_with("-size") { Kind::Size } else { Kind::Int };
        match coerce(kind, value) {
            Some(number) if number.as_u64().is_some() => out.insert(key.clone(), number),
            _ => return Err(wrong(format!("{key} in {section} can't be {value}"))),
        };
    }
    Ok(out)
}

/// Bounds from `--ipolicy-bounds-specs`, to be put under `minmax`; still untyped.
pub fn minmax_from_cli(list: &PolicyList) -> Value {
    let section = |map: &KvMap| map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect();
    let entry = |groups: &BTreeMap<String, KvMap>| {
        Value::Object(
            groups.iter().map(|(n, map)| (n.clone(), Value::Object(section(map)))).collect(),
        )
    };
    list.iter().map(entry).collect()
}

/// Bounds as `--ipolicy-bounds-specs` takes them.
pub fn minmax_to_cli(pairs: &[MinMax]) -> String {
    let entry =
        |pair: &MinMax| format!("min:{}/max:{}", std_to_cli(&pair.min), std_to_cli(&pair.max));
    pairs.iter().map(entry).collect::<Vec<_>>().join("//")
}

/// Figures as `--ipolicy-std-specs` takes them.
pub fn std_to_cli(spec: &ISpec) -> String {
    let mut parts: Vec<_> = ISpec::KEYS
        .iter()
        .zip(spec.values())
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    parts.sort();
    parts.join(",")
}

/// The settings `minmax` and `std` from the old options `--specs-cpu-count=min=…,max=…,std=…` and
/// so on: figure by figure over the given pair and usual instance. `options` has the figure's key,
/// as `cpu-count`, and what was given. Errors: `wrong_input`.
pub fn from_split_specs(base: &MinMax, std: &ISpec, options: &[(&str, KvMap)]) -> Result<ParamMap> {
    let spec = |spec: &ISpec| {
        let figures = ISpec::KEYS.iter().zip(spec.values());
        figures.map(|(k, v)| ((*k).to_owned(), Value::from(v))).collect::<Map<_, _>>()
    };
    let (mut min, mut max, mut usual) = (spec(&base.min), spec(&base.max), spec(std));
    for (key, given) in options {
        for (bound, value) in given {
            let place = match bound.as_str() {
                "min" => &mut min,
                "max" => &mut max,
                "std" => &mut usual,
                _ => return Err(wrong(format!("{key} has min, max and std, but not '{bound}'"))),
            };
            place.insert((*key).to_owned(), value.to_json());
        }
    }
    let settings = ParamMap::from([
        ("minmax".to_owned(), json!([{"min": min, "max": max}])),
        ("std".to_owned(), usual.into()),
    ]);
    typed(&settings, Level::Cluster)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyval;
    use crate::params::IPolicy;

    fn map(value: Value) -> ParamMap {
        serde_json::from_value(value).expect("object")
    }

    #[test]
    fn the_command_line_round_trip() {
        let policy = IPolicy::default();
        let text = minmax_to_cli(&policy.minmax);
        let list = keyval::parse_policy(&text).expect("own writing");
        let settings = ParamMap::from([("minmax".to_owned(), minmax_from_cli(&list))]);
        let typed = typed(&settings, Level::Group).expect("complete");
        assert_eq!(typed["minmax"], policy.to_map()["minmax"]);
    }

    #[test]
    fn settings_are_typed() {
        let good = typed(
            &map(
                json!({"vcpu-ratio": "2", "std": {"disk-size": "10g"}, "disk-templates": ["drbd"]}),
            ),
            Level::Cluster,
        );
        let expected = map(
            json!({"vcpu-ratio": 2.0, "std": {"disk-size": 10240}, "disk-templates": ["drbd"]}),
        );
        assert_eq!(good.expect("good"), expected);
        typed(&map(json!({"minmax": "default"})), Level::Group).expect("groups may");
        for (settings, level, why) in [
            (json!({"minmax": "default"}), Level::Cluster, "can't be dropped"),
            (json!({"std": {}}), Level::Group, "set it for the cluster"),
            (json!({"minmax": [{"min": {}}]}), Level::Group, "min bounds lack memory-size"),
            (json!({"minmax": [{"low": {}}]}), Level::Group, "'low' is neither"),
            (json!({"disk-templates": ["tape"]}), Level::Group, "'tape' is not a disk template"),
            (json!({"vcpu-ratio": -1}), Level::Group, "above 0"),
            (json!({"colour": 1}), Level::Group, "'colour' is not known"),
            (json!({"std": {"cpu-count": "many"}}), Level::Cluster, "cpu-count in std"),
        ] {
            let error = typed(&map(settings), level).expect_err(why);
            assert!(error.message.contains(why), "{error}\nshould say {why}");
        }
    }

    #[test]
    fn old_options() {
        let policy = IPolicy::default();
        let given = keyval::parse_plain("min=256,max=1g,std=512").expect("good");
        let settings = from_split_specs(&policy.minmax[0], &policy.std, &[("memory-size", given)])
            .expect("good");
        let new = policy.clone().over(&settings);
        assert_eq!(
            (new.minmax[0].min.memory_size, new.minmax[0].max.memory_size, new.std.memory_size),
            (256, 1024, 512)
        );
        assert_eq!(new.minmax[0].max.cpu_count, policy.minmax[0].max.cpu_count);
        let bad = keyval::parse_plain("most=1").expect("parses");
        assert!(from_split_specs(&policy.minmax[0], &policy.std, &[("cpu-count", bad)]).is_err());
    }
}
