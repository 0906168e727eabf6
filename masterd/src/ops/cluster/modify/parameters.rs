//! Parameters that instances, cards, nodes and policies start from.

use crate::config::Config;
use crate::ops::{Context, policy};
use roost_proto::error::{Error, Result};
use roost_proto::nicesort;
use roost_proto::objects::Cluster;
use roost_proto::opcodes::{ClusterSetParams, NicSpec};
use roost_proto::params::{ParamMap, backend, fill, ipolicy, nic, node, state};
use std::collections::BTreeMap;

/// The cluster's maps keep their only entry under this key.
const ONLY: &str = "default";

/// Puts the settings into a cluster.
pub fn put_into(op: &ClusterSetParams, cx: &mut Context<'_, '_>, new: &mut Cluster) -> Result<()> {
    let config = cx.config();
    if let Some(given) = &op.beparams {
        new.beparams = modified(&new.beparams, &backend::typed(given)?);
        fill::beparams(new, &ParamMap::new()).check()?;
    }
    if let Some(given) = &op.nicparams {
        new.nicparams = modified(&new.nicparams, &nic::typed(&nic_settings(given)?)?);
        check_nics(config, new)?;
    }
    if let Some(given) = &op.ndparams {
        let given = node::typed(given, node::Level::Cluster)?;
        new.ndparams = fill::modified(&new.ndparams, &given);
    }
    if let Some(given) = &op.hv_state {
        let given = state::typed_hv_state(given)?;
        new.hv_state_static = state::modified(&new.hv_state_static, &given);
    }
    if let Some(given) = &op.disk_state {
        let given = state::typed_disk_state(given)?;
        new.disk_state_static = state::modified(&new.disk_state_static, &given);
    }
    if let Some(given) = &op.ipolicy {
        let given = ipolicy::typed(given, ipolicy::Level::Cluster)?;
        let whole = fill::cluster_ipolicy(new).over(&given);
        whole.check_with_std()?;
        new.ipolicy = whole.to_map();
        check_groups(config, new)?;
        if let Some(warning) = policy::warning(&newly_broken(config, new)) {
            cx.warn(warning);
        }
    }
    Ok(())
}

/// The map's only layer after a modification. It stays, even if it is empty.
fn modified(layers: &BTreeMap<String, ParamMap>, given: &ParamMap) -> BTreeMap<String, ParamMap> {
    let mut layers = layers.clone();
    let layer = layers.entry(ONLY.to_owned()).or_default();
    *layer = fill::modified(layer, given);
    layers
}

/// The settings of cards that the cluster can have.
fn nic_settings(given: &NicSpec) -> Result<ParamMap> {
    for (what, value) in
        [("mac", &given.mac), ("ip", &given.ip), ("network", &given.network), ("name", &given.name)]
    {
        if value.is_some() {
            return Err(Error::wrong_input(format!(
                "The NIC setting '{what}' is one of single cards; the cluster has: mode, link, \
                 vlan"
            )));
        }
    }
    let link = given.link.as_ref().or(given.bridge.as_ref());
    let settings = [("mode", given.mode.as_ref()), ("link", link), ("vlan", given.vlan.as_ref())];
    let given = settings.into_iter().filter_map(|(key, value)| Some((key, value?)));
    Ok(given.map(|(key, value)| (key.to_owned(), value.as_str().into())).collect())
}

/// The new parameters are good for every card there is.
fn check_nics(config: &Config, new: &Cluster) -> Result<()> {
    let mut errors = Vec::new();
    if let Err(error) = fill::nicparams(new, &ParamMap::new()).check() {
        errors.push(error.message);
    }
    for instance in config.instances.values() {
        for (index, card) in instance.nics.iter().enumerate() {
            let filled = fill::nic_params(new, card);
            if let Err(error) = filled.check() {
                errors.push(format!("Instance {}, nic/{index}: {error}", instance.name));
            }
            let routed = filled.mode == roost_proto::choices::NicMode::Routed;
            if routed && card.ip.is_none() && card.network.is_none() {
                errors.push(format!(
                    "Instance {}, nic/{index}: routed NIC with no ip address",
                    instance.name
                ));
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Error::wrong_input(format!("Cannot apply the change, errors:\n{}", errors.join("\n"))))
}

/// The groups' own policies still make sense over the cluster's.
fn check_groups(config: &Config, new: &Cluster) -> Result<()> {
    for group in config.groups.values() {
        fill::group_ipolicy(new, group)
            .check()
            .map_err(|error| error.at(format!("Node group {}", group.name)))?;
    }
    Ok(())
}

fn newly_broken(config: &Config, new: &Cluster) -> Vec<String> {
    let mut all = Vec::new();
    for group in config.groups.values() {
        let before = fill::group_ipolicy(&config.cluster, group);
        let after = fill::group_ipolicy(new, group);
        all.extend(policy::newly_broken(config, group.uuid, &before, &after));
    }
    nicesort::sort(&mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::super::given as op;
    use super::*;
    use crate::ops::testing::Site;
    use serde_json::{Value, json};

    #[test]
    fn layers_change() {
        let mut site = Site::new(&["node1"]);
        site.run(op(json!({
            "beparams": {"memory": "1g", "vcpus": "2"},
            "nicparams": {"mode": "bridged", "bridge": "br7"},
            "ndparams": {"ssh_port": "2222"},
            "hv_state": {"kvm": {"mem_node": "1g"}},
            "disk_state": {"lvm-vg": {"xenvg": {"disk_reserved": "1g"}}},
            "ipolicy": {"std": {"memory-size": "512"}},
        })));
        site.run(op(json!({"beparams": {"vcpus": "default"}})));
        let cluster = &site.config.cluster;
        assert_eq!(json!(cluster.beparams), json!({"default": {"maxmem": 1024, "minmem": 1024}}));
        assert_eq!(
            json!(cluster.nicparams),
            json!({"default": {"mode": "bridged", "link": "br7"}})
        );
        assert_eq!(json!(cluster.ndparams), json!({"ssh_port": 2222}));
        assert_eq!(cluster.hv_state_static, json!({"kvm": {"mem_node": 1024}}));
        assert_eq!(cluster.ipolicy["std"]["memory-size"], 512);
        assert_eq!(cluster.ipolicy["std"]["cpu-count"], 1, "the rest of it stays");
    }

    #[test]
    fn a_policy_names_who_breaks_it() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |_| {});
        let plan = site.plan(op(json!({"ipolicy": {"disk-templates": ["file"]}}))).expect("a plan");
        assert_eq!(
            plan.say,
            [" - WARNING: After the ipolicy change the following instances violate them: web"]
        );
    }

    #[test]
    fn refusals() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |i| {
            i.nics = serde_json::from_value(json!([
                {"uuid": uuid::Uuid::from_u128(5), "mac": "aa:00:00:00:00:01"}
            ]))
            .expect("a card");
        });
        let refused = |value: Value| site.refusal(op(value));
        assert_eq!(
            refused(json!({"nicparams": {"mode": "routed"}})),
            Error::wrong_input(
                "Cannot apply the change, errors:\nInstance web, nic/0: routed NIC with no ip \
                 address"
            )
        );
        assert!(refused(json!({"nicparams": {"ip": "pool"}})).message.contains("single cards"));
        let memory = refused(json!({"beparams": {"minmem": 4096}}));
        assert!(memory.message.contains("larger than maxmem"), "{memory}");
        let policy = refused(json!({"ipolicy": {"std": {"cpu-count": 99}}}));
        assert!(policy.message.contains("does not fit its bounds"), "{policy}");
    }
}
