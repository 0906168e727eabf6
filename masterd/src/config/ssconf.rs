//! The ssconf files: what every node must know of the cluster even with its master dead. Derived
//! from the configuration; names and shapes are Ganeti's.

use super::Config;
use roost_proto::choices::Hypervisor;
use roost_proto::nicesort;
use roost_proto::objects::Cluster;
use roost_proto::params::fill;
use serde_json::Value;
use std::collections::BTreeMap;

/// Our version, as nodes and scripts see it.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

fn lines(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|item| item + "\n").collect()
}

fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut items: Vec<_> = items.collect();
    nicesort::sort(&mut items);
    items
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

/// Whom nodes obey, by their certificates: lines `<node uuid>=<fingerprint>`. While certificates
/// are being renewed, a candidate has several.
pub fn candidate_certs(cluster: &Cluster) -> String {
    let none = Vec::new();
    lines(cluster.candidate_certs.iter().flat_map(|(node, current)| {
        let former = cluster.crypto.former_certs.get(node).unwrap_or(&none);
        let all = std::iter::once(current).chain(former.iter().filter(move |f| *f != current));
        all.map(move |print| format!("{node}={print}")).collect::<Vec<_>>()
    }))
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
        // No value is an empty file, not an empty line.
        let one = |text: &str| lines(Some(text.to_owned()).filter(|text| !text.is_empty()));

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
        put("master_candidates_certs", candidate_certs(c));
        // Not Ganeti's: by it nodes tell who still belongs to the cluster.
        put("node_uuids", lines(nodes.iter().map(|n| format!("{} {}", n.uuid, n.name))));
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
        put(
            "nodegroups",
            lines(sorted(self.groups.values().map(|g| format!("{} {}", g.uuid, g.name)))),
        );
        put(
            "networks",
            lines(sorted(self.networks.values().map(|n| format!("{} {}", n.uuid, n.name)))),
        );
        let ports = nodes.iter().filter_map(|n| {
            let group = self.groups.get(&n.group)?;
            Some(format!("{}={}", n.name, fill::ndparams(c, group, n).ssh_port))
        });
        put("ssh_ports", lines(ports));
        // Not Ganeti's: how fast each node may move data of disks, MiB a second.
        let rates = nodes.iter().filter_map(|n| {
            let nd = fill::ndparams(c, self.groups.get(&n.group)?, n);
            let (copy, resync) = (nd.disk_copy_rate, nd.disk_resync_rate);
            (copy + resync > 0).then(|| format!("{} {copy} {resync}", n.uuid))
        });
        put("node_disk_rates", lines(rates));
        // Not Ganeti's: what the kernel's DRBD is to call.
        put("drbd_usermode_helper", one(c.drbd_usermode_helper.as_deref().unwrap_or_default()));
        for hv in Hypervisor::ALL {
            let params = fill::cluster_hvparams(c, *hv);
            let text = params.iter().map(|(key, value)| format!("{key}={}", python(value)));
            put(&format!("hvparams_{hv}"), lines(text));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::{Site, node_id};
    use roost_proto::choices::Hypervisor;
    use serde_json::json;

    /// Every key that Ganeti's reference lists, and ours.
    #[test]
    fn there_is_a_file_for_every_key() {
        let mut expected: Vec<String> = [
            "cluster_name",
            "cluster_tags",
            "drbd_usermode_helper",
            "enabled_user_shutdown",
            "file_storage_dir",
            "gluster_storage_dir",
            "hypervisor_list",
            "instance_list",
            "maintain_node_health",
            "master_candidates",
            "master_candidates_certs",
            "master_candidates_ips",
            "master_ip",
            "master_netdev",
            "master_netmask",
            "master_node",
            "networks",
            "node_list",
            "node_primary_ips",
            "node_secondary_ips",
            "node_uuids", // ours
            "node_vm_capable",
            "nodegroups",
            "offline_nodes",
            "online_nodes",
            "node_disk_rates",
            "primary_ip_family",
            "release_version",
            "shared_file_storage_dir",
            "ssh_ports",
            "uid_pool",
        ]
        .map(str::to_owned)
        .to_vec();
        let hypervisors = ["kvm", "xen-pvm", "xen-hvm", "chroot", "lxc", "fake"];
        expected.extend(hypervisors.map(|hv| format!("hvparams_{hv}")));
        expected.sort();
        let files = Site::new(&["node1"]).config.ssconf();
        assert_eq!(files.keys().cloned().collect::<Vec<_>>(), expected);
        for (key, text) in files {
            assert!(text.is_empty() || text.ends_with('\n'), "{key}: {text:?}");
            assert!(!text.starts_with('\n') && !text.contains("\n\n"), "{key}: {text:?}");
        }
    }

    #[test]
    fn their_texts_are_ganetis() {
        let mut site = Site::new(&["node10", "node2", "node1"]);
        site.instance("web10", "node1", |_| {});
        site.instance("web9", "node1", |_| {});
        site.node("node1", |n| {
            n.offline = true;
            n.vm_capable = false;
            n.ndparams = serde_json::from_value(json!({"ssh_port": 2222, "disk_copy_rate": 50}))
                .expect("a map");
        });
        site.node("node2", |n| {
            n.master_candidate = true;
            n.secondary_ip = "198.51.100.2".into();
        });
        site.cluster(|c| {
            c.candidate_certs = [(node_id("node2"), "AA:BB".into())].into();
            c.tags = vec!["blue".into(), "red".into()];
            c.uid_pool = vec![(1000, 1005), (2000, 2000)];
            c.enabled_hypervisors = vec![Hypervisor::Fake, Hypervisor::Kvm];
            c.enabled_user_shutdown = true;
            c.gluster_storage_dir = String::new();
            c.master_netmask = 24;
        });
        let files = site.config.ssconf();
        for (key, text) in [
            ("cluster_name", "site\n"),
            ("cluster_tags", "blue\nred\n"),
            ("master_node", "node10\n"),
            ("master_ip", "192.0.2.100\n"),
            ("master_netdev", "eth0\n"),
            ("master_netmask", "24\n"),
            ("master_candidates", "node2\nnode10\n"),
            ("master_candidates_ips", "192.0.2.2\n192.0.2.1\n"),
            ("node_list", "node1\nnode2\nnode10\n"),
            ("online_nodes", "node2\nnode10\n"),
            ("offline_nodes", "node1\n"),
            ("node_primary_ips", "node1 192.0.2.3\nnode2 192.0.2.2\nnode10 192.0.2.1\n"),
            ("node_secondary_ips", "node1 192.0.2.3\nnode2 198.51.100.2\nnode10 192.0.2.1\n"),
            ("node_vm_capable", "node1=False\nnode2=True\nnode10=True\n"),
            ("ssh_ports", "node1=2222\nnode2=22\nnode10=22\n"),
            ("instance_list", "web9\nweb10\n"),
            ("hypervisor_list", "fake\nkvm\n"),
            ("primary_ip_family", "2\n"),
            ("uid_pool", "1000-1005\n2000\n"),
            ("maintain_node_health", "False\n"),
            ("enabled_user_shutdown", "True\n"),
            ("gluster_storage_dir", ""),
            ("networks", ""),
        ] {
            assert_eq!(files[key], text, "{key}");
        }
        assert_eq!(files["node_disk_rates"], format!("{} 50 0\n", node_id("node1")));
        let certs = format!("{}=AA:BB\n", node_id("node2"));
        assert_eq!(files["master_candidates_certs"], certs);
        assert!(files["nodegroups"].ends_with(" default\n"), "{}", files["nodegroups"]);
        let kvm: Vec<_> = files["hvparams_kvm"].lines().collect();
        assert!(kvm.contains(&"acpi=True") && kvm.contains(&"boot_order=disk"), "{kvm:?}");
    }
}
