//! The ssconf files: what every node must know of the cluster even with its master dead. Derived
//! from the configuration; names and shapes are Ganeti's.

use super::Config;
use roost_proto::choices::Hypervisor;
use roost_proto::nicesort;
use roost_proto::params::fill;
use serde_json::Value;
use std::collections::BTreeMap;

/// Our version, as nodes and scripts see it.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

fn lines(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|item| item + "\n").collect()
}

fn python(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Null => "None".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

impl Config {
    /// All ssconf values, by key.
    pub fn ssconf(&self) -> BTreeMap<String, String> {
        let c = &self.cluster;
        let mut nodes: Vec<_> = self.nodes.values().collect();
        nodes.sort_by(|a, b| nicesort::compare(&a.name, &b.name));
        let mut instances: Vec<String> =
            self.instances.values().map(|i| i.name.to_string()).collect();
        nicesort::sort(&mut instances);
        let name = |n: &&std::sync::Arc<roost_proto::objects::Node>| n.name.to_string();
        let candidates: Vec<_> =
            nodes.iter().copied().filter(|n| n.master_candidate && !n.offline).collect();
        let master_name = self.node_name(c.master_node);
        let one = |text: &str| lines([text.to_owned()]);

        let mut files = BTreeMap::new();
        let mut put = |key: &str, text: String| files.insert(key.to_owned(), text);
        put("cluster_name", one(&c.cluster_name));
        put("master_node", one(&master_name));
        put("master_ip", one(&c.master_ip));
        put("master_netdev", one(&c.master_netdev));
        put("master_netmask", one(&c.master_netmask.to_string()));
        put("cluster_tags", lines(c.tags.iter().cloned()));
        put("file_storage_dir", one(&c.file_storage_dir));
        put("shared_file_storage_dir", one(&c.shared_file_storage_dir));
        put("gluster_storage_dir", one(&c.gluster_storage_dir));
        put("master_candidates", lines(candidates.iter().map(name)));
        put("master_candidates_ips", lines(candidates.iter().map(|n| n.primary_ip.clone())));
        let certs = c.candidate_certs.iter().map(|(node, print)| format!("{node}={print}"));
        put("master_candidates_certs", lines(certs));
        put("node_list", lines(nodes.iter().map(name)));
        put("online_nodes", lines(nodes.iter().filter(|n| !n.offline).map(name)));
        put("offline_nodes", lines(nodes.iter().filter(|n| n.offline).map(name)));
        let primary = nodes.iter().map(|n| format!("{} {}", n.name, n.primary_ip));
        put("node_primary_ips", lines(primary));
        let secondary = nodes.iter().map(|n| format!("{} {}", n.name, n.secondary_ip));
        put("node_secondary_ips", lines(secondary));
        let capable = nodes.iter().map(|n| format!("{}={}", n.name, python_bool(n.vm_capable)));
        put("node_vm_capable", lines(capable));
        put("primary_ip_family", one(&c.primary_ip_family.to_string()));
        put("instance_list", lines(instances));
        put("release_version", one(RELEASE));
        put("hypervisor_list", lines(c.enabled_hypervisors.iter().map(|h| h.to_string())));
        put("maintain_node_health", one(python_bool(c.maintain_node_health)));
        put("enabled_user_shutdown", one(python_bool(c.enabled_user_shutdown)));
        let pool = c.uid_pool.iter().map(|(lo, hi)| match lo == hi {
            true => lo.to_string(),
            false => format!("{lo}-{hi}"),
        });
        put("uid_pool", lines(pool));
        put("nodegroups", lines(self.groups.values().map(|g| format!("{} {}", g.uuid, g.name))));
        put("networks", lines(self.networks.values().map(|n| format!("{} {}", n.uuid, n.name))));
        let ports = nodes.iter().filter_map(|n| {
            let group = self.groups.get(&n.group)?;
            Some(format!("{}={}", n.name, fill::ndparams(c, group, n).ssh_port))
        });
        put("ssh_ports", lines(ports));
        for hv in Hypervisor::ALL {
            let params = fill::cluster_hvparams(c, *hv);
            let text = params.iter().map(|(key, value)| format!("{key}={}", python(value)));
            put(&format!("hvparams_{hv}"), lines(text));
        }
        files
    }
}
