//! Filling: layers of settings become one, and modifications change one layer.

use super::backend::{self, FilledBe};
use super::ipolicy::IPolicy;
use super::nic::{self, FilledNic};
use super::node::{self, FilledNd};
use super::{DEFAULT, ParamMap, disk, hypervisor, value};
use crate::choices::{DiskTemplate, Hypervisor};
use crate::objects::{Cluster, Instance, Nic, Node, NodeGroup};
use std::collections::BTreeMap;

/// The cluster's maps keep their only entry under this key.
const ONLY: &str = "default";

/// One map from layers, the later over the earlier.
pub fn layers<'a>(
    base: ParamMap,
    upper: impl IntoIterator<Item = Option<&'a ParamMap>>,
) -> ParamMap {
    let mut filled = base;
    for layer in upper.into_iter().flatten() {
        filled.extend(layer.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    filled
}

/// A layer after a modification: the value `default` drops a setting, everything else replaces.
#[must_use]
pub fn modified(layer: &ParamMap, change: &ParamMap) -> ParamMap {
    let mut layer = layer.clone();
    for (key, value) in change {
        if value == DEFAULT {
            layer.remove(key);
        } else {
            layer.insert(key.clone(), value.clone());
        }
    }
    layer
}

/// A map of layers after a modification, as hypervisor parameters by hypervisor. Layers that end
/// up empty stay out.
#[must_use]
pub fn modified_each(
    layers: &BTreeMap<String, ParamMap>,
    changes: impl IntoIterator<Item = (impl ToString, ParamMap)>,
) -> BTreeMap<String, ParamMap> {
    let mut layers = layers.clone();
    for (key, change) in changes {
        let key = key.to_string();
        let new = modified(layers.get(&key).unwrap_or(&ParamMap::new()), &change);
        if new.is_empty() {
            layers.remove(&key);
        } else {
            layers.insert(key, new);
        }
    }
    layers
}

/// What differs from the layers below: all that needs to be stored.
#[must_use]
pub fn differences(values: &ParamMap, below: &ParamMap) -> ParamMap {
    values
        .iter()
        .filter(|(key, value)| below.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The hypervisor parameters of the cluster.
pub fn cluster_hvparams(cluster: &Cluster, hv: Hypervisor) -> ParamMap {
    layers(hypervisor::defaults(hv), [cluster.hvparams.get(hv.as_str())])
}

/// The hypervisor parameters with an OS and an instance's own over the cluster's.
pub fn hvparams(cluster: &Cluster, hv: Hypervisor, os: &str, own: &ParamMap) -> ParamMap {
    let os = cluster.os_hvp.get(os).and_then(|by_hv| by_hv.get(hv.as_str()));
    layers(cluster_hvparams(cluster, hv), [os, Some(own)])
}

/// The hypervisor parameters of an instance.
pub fn instance_hvparams(cluster: &Cluster, instance: &Instance) -> ParamMap {
    let os = instance.os.to_string();
    hvparams(cluster, instance.hypervisor, &os, &instance.hvparams)
}

/// Backend parameters with an instance's own over the cluster's, as a map.
pub fn beparams_map(cluster: &Cluster, own: &ParamMap) -> ParamMap {
    layers(value::defaults(backend::TABLE), [cluster.beparams.get(ONLY), Some(own)])
}

/// Backend parameters with an instance's own over the cluster's.
pub fn beparams(cluster: &Cluster, own: &ParamMap) -> FilledBe {
    FilledBe::from_map(&beparams_map(cluster, own))
}

/// The backend parameters of an instance.
pub fn instance_beparams(cluster: &Cluster, instance: &Instance) -> FilledBe {
    beparams(cluster, &instance.beparams)
}

/// Network card parameters with a card's own over the cluster's.
pub fn nicparams(cluster: &Cluster, own: &ParamMap) -> FilledNic {
    let map = layers(value::defaults(nic::TABLE), [cluster.nicparams.get(ONLY), Some(own)]);
    FilledNic::from_map(&map)
}

/// The parameters of a network card.
pub fn nic_params(cluster: &Cluster, nic: &Nic) -> FilledNic {
    nicparams(cluster, &nic.nicparams)
}

/// Node parameters of a group, as a map.
pub fn group_ndparams_map(cluster: &Cluster, group: &NodeGroup) -> ParamMap {
    layers(value::defaults(node::TABLE), [Some(&cluster.ndparams), Some(&group.ndparams)])
}

/// The parameters of a node, as a map.
pub fn ndparams_map(cluster: &Cluster, group: &NodeGroup, node: &Node) -> ParamMap {
    layers(group_ndparams_map(cluster, group), [Some(&node.ndparams)])
}

/// The parameters of a node.
pub fn ndparams(cluster: &Cluster, group: &NodeGroup, node: &Node) -> FilledNd {
    FilledNd::from_map(&ndparams_map(cluster, group, node))
}

/// Disk parameters of the cluster. DRBD's `metavg` falls back to the cluster's volume group.
pub fn cluster_diskparams(cluster: &Cluster, template: DiskTemplate) -> ParamMap {
    let mut base = value::defaults(disk::table(template));
    if let (Some(metavg), Some(vg)) = (base.get_mut("metavg"), &cluster.volume_group_name) {
        *metavg = vg.as_str().into();
    }
    layers(base, [cluster.diskparams.get(template.as_str())])
}

/// Disk parameters in a group.
pub fn diskparams(cluster: &Cluster, group: &NodeGroup, template: DiskTemplate) -> ParamMap {
    let group = group.diskparams.get(template.as_str());
    layers(cluster_diskparams(cluster, template), [group])
}

/// OS parameters that are not private: the OS's, then the variant's, then the instance's own.
pub fn osparams(cluster: &Cluster, os: &str, own: &ParamMap) -> ParamMap {
    os_layers(&cluster.osparams, os, own)
}

/// Private OS parameters, in the same way. To be shown to nobody.
pub fn osparams_private(cluster: &Cluster, os: &str, own: &ParamMap) -> ParamMap {
    os_layers(&cluster.osparams_private_cluster, os, own)
}

fn os_layers(by_os: &BTreeMap<String, ParamMap>, os: &str, own: &ParamMap) -> ParamMap {
    let base = os.split('+').next().unwrap_or(os);
    let variant = by_os.get(os).filter(|_| base != os);
    layers(ParamMap::new(), [by_os.get(base), variant, Some(own)])
}

/// The cluster's instance policy. What the stored one lacks takes the built-in value.
pub fn cluster_ipolicy(cluster: &Cluster) -> IPolicy {
    IPolicy::default().over(&cluster.ipolicy)
}

/// A group's instance policy.
pub fn group_ipolicy(cluster: &Cluster, group: &NodeGroup) -> IPolicy {
    cluster_ipolicy(cluster).over(&group.ipolicy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn map(value: Value) -> ParamMap {
        serde_json::from_value(value).expect("object")
    }

    #[test]
    fn later_layers_win() {
        let (a, b) = (map(json!({"x": 1, "y": 1})), map(json!({"y": 2})));
        assert_eq!(layers(a, [None, Some(&b)]), map(json!({"x": 1, "y": 2})));
    }

    #[test]
    fn default_drops() {
        let layer = map(json!({"x": 1, "y": 1}));
        let new = modified(&layer, &map(json!({"x": "default", "z": 3, "w": "default"})));
        assert_eq!(new, map(json!({"y": 1, "z": 3})));
        let each = BTreeMap::from([("kvm".to_owned(), map(json!({"x": 1})))]);
        let gone = modified_each(&each, [(Hypervisor::Kvm, map(json!({"x": "default"})))]);
        assert!(gone.is_empty());
        let more = modified_each(&each, [("lxc", map(json!({"y": 2})))]);
        assert_eq!(more.len(), 2);
    }

    #[test]
    fn os_parameters_of_variants() {
        let by_os = BTreeMap::from([
            ("debian".to_owned(), map(json!({"a": 1, "b": 1}))),
            ("debian+min".to_owned(), map(json!({"b": 2}))),
        ]);
        let own = map(json!({"c": 3}));
        assert_eq!(os_layers(&by_os, "debian+min", &own), map(json!({"a": 1, "b": 2, "c": 3})));
        assert_eq!(os_layers(&by_os, "debian", &own), map(json!({"a": 1, "b": 1, "c": 3})));
        assert_eq!(os_layers(&by_os, "other", &own), own);
    }

    fn any_map() -> impl Strategy<Value = ParamMap> {
        proptest::collection::btree_map("[a-d]", (0_u8..3).prop_map(Value::from), 0..4)
    }

    proptest! {
        #[test]
        fn storing_differences_loses_nothing(below in any_map(), own in any_map()) {
            let filled = layers(below.clone(), [Some(&own)]);
            let stored = differences(&filled, &below);
            prop_assert!(stored.len() <= own.len());
            prop_assert_eq!(layers(below, [Some(&stored)]), filled);
        }

        #[test]
        fn dropping_what_was_set_restores(layer in any_map(), change in any_map()) {
            let drop: ParamMap = change.keys().map(|k| (k.clone(), DEFAULT.into())).collect();
            let back = modified(&modified(&layer, &change), &drop);
            prop_assert!(change.keys().all(|k| !back.contains_key(k)));
            prop_assert!(layer.iter().all(|(k, v)| change.contains_key(k) || back[k] == *v));
        }
    }
}
