//! State parameters: what an administrator says about the resources of nodes, over what was
//! measured. Set for the cluster, a group or a node.
//!
//! ```text
//! hv_state    {hypervisor: {mem_total, …}}
//! disk_state  {storage type: {volume group or path: {disk_total, …}}}
//! ```

use super::value::{self, Check, Kind, Lit, Param, param};
use super::{ParamMap, fill};
use crate::choices::{Hypervisor, StorageType};
use crate::error::{Error, Result};
use serde_json::Value;

/// What is said about a hypervisor on nodes; memory in MiB.
pub const HV_TABLE: &[Param] = &[
    param("cpu_node", Kind::Int, Lit::I(1), Check::AtLeast(0)),
    param("cpu_total", Kind::Int, Lit::I(1), Check::AtLeast(0)),
    param("mem_hv", Kind::Size, Lit::I(0), Check::AtLeast(0)),
    param("mem_node", Kind::Size, Lit::I(0), Check::AtLeast(0)),
    param("mem_total", Kind::Size, Lit::I(0), Check::AtLeast(0)),
];

/// What is said about storage on nodes; MiB.
pub const DISK_TABLE: &[Param] = &[
    param("disk_overhead", Kind::Size, Lit::I(0), Check::AtLeast(0)),
    param("disk_reserved", Kind::Size, Lit::I(0), Check::AtLeast(0)),
    param("disk_total", Kind::Size, Lit::I(0), Check::AtLeast(0)),
];

/// Types and checks a change of hypervisor state. Errors: `wrong_input`.
pub fn typed_hv_state(change: &ParamMap) -> Result<ParamMap> {
    let one = |(hv, settings): (&String, &Value)| {
        let known: Hypervisor = hv.parse()?;
        let settings = value::typed(HV_TABLE, &map(hv, settings)?, "hypervisor state")?;
        Ok((known.to_string(), Value::Object(settings.into_iter().collect())))
    };
    change.iter().map(one).collect()
}

/// Types and checks a change of disk state. Errors: `wrong_input`.
pub fn typed_disk_state(change: &ParamMap) -> Result<ParamMap> {
    let unit = |(name, settings): (String, Value)| {
        let settings = value::typed(DISK_TABLE, &map(&name, &settings)?, "disk state")?;
        Ok((name, Value::Object(settings.into_iter().collect())))
    };
    let one = |(storage, units): (&String, &Value)| {
        let known: StorageType = storage.parse()?;
        let units = map(storage, units)?.into_iter().map(unit).collect::<Result<_>>()?;
        Ok((known.to_string(), Value::Object(units)))
    };
    change.iter().map(one).collect()
}

/// A layer of state after a change, at any depth: `default` drops a setting, and what is left
/// without settings goes too.
#[must_use]
pub fn modified(layer: &Value, change: &ParamMap) -> Value {
    let layer = layer.as_object().into_iter().flatten();
    let mut layer: ParamMap = layer.map(|(k, v)| (k.clone(), v.clone())).collect();
    for (key, value) in change {
        match value {
            Value::Object(inner) => {
                let inner = inner.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                let new = modified(layer.get(key).unwrap_or(&Value::Null), &inner);
                if new.as_object().is_some_and(|m| m.is_empty()) {
                    layer.remove(key);
                } else {
                    layer.insert(key.clone(), new);
                }
            }
            _ => layer = fill::modified(&layer, &ParamMap::from([(key.clone(), value.clone())])),
        }
    }
    Value::Object(layer.into_iter().collect())
}

fn map(what: &str, value: &Value) -> Result<ParamMap> {
    match value {
        Value::Object(map) => Ok(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
        _ => Err(Error::wrong_input(format!(
            "The state of '{what}' must be settings (KEY=VALUE,…), not {value}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> ParamMap {
        serde_json::from_value(value).expect("object")
    }

    #[test]
    fn states_are_typed() {
        assert_eq!(
            typed_hv_state(&object(json!({"kvm": {"mem_node": "1g", "cpu_node": "2"}})))
                .expect("hv"),
            object(json!({"kvm": {"mem_node": 1024, "cpu_node": 2}}))
        );
        assert_eq!(
            typed_disk_state(&object(json!({"lvm-vg": {"xenvg": {"disk_reserved": "10g"}}})))
                .expect("disk"),
            object(json!({"lvm-vg": {"xenvg": {"disk_reserved": 10240}}}))
        );
        assert!(typed_hv_state(&object(json!({"vmware": {}}))).is_err());
        assert!(typed_hv_state(&object(json!({"kvm": {"ram": 1}}))).is_err());
        assert!(typed_hv_state(&object(json!({"kvm": 1}))).is_err());
        assert!(typed_disk_state(&object(json!({"lvm-vg": {"xenvg": 1}}))).is_err());
    }

    #[test]
    fn changes_go_deep() {
        let layer = json!({"kvm": {"mem_node": 1024, "cpu_node": 2}});
        let change = object(json!({"kvm": {"mem_node": "default"}, "lxc": {"cpu_node": 1}}));
        let new = modified(&layer, &change);
        assert_eq!(new, json!({"kvm": {"cpu_node": 2}, "lxc": {"cpu_node": 1}}));
        let gone = modified(&new, &object(json!({"lxc": {"cpu_node": "default"}})));
        assert_eq!(gone, json!({"kvm": {"cpu_node": 2}}));
        assert_eq!(modified(&Value::Null, &ParamMap::new()), json!({}));
    }
}
