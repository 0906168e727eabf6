//! Who names whom: every reference must lead somewhere, and what must be unique must be.

use super::report::Report;
use crate::choices::DiskTemplate;
use crate::ids::{DiskId, NodeId};
use crate::objects::{ConfigData, Disk, LogicalId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Names each broken reference, and what is there twice.
pub(super) fn check(config: &ConfigData, report: &mut Report) {
    let mut checker = Checker { config, problems: vec![], odd: vec![] };
    checker.cluster();
    checker.nodes();
    checker.groups();
    checker.instances();
    checker.disks();
    checker.names();
    report.problems.append(&mut checker.problems);
    report.odd.append(&mut checker.odd);
}

struct Checker<'a> {
    config: &'a ConfigData,
    problems: Vec<String>,
    odd: Vec<String>,
}

impl Checker<'_> {
    fn missing(&mut self, who: impl Display, what: &str, id: impl Display) {
        self.problems.push(format!("{who} refers to {what} {id}, which is not there"));
    }

    fn has_node(&self, node: NodeId) -> bool {
        self.config.nodes.contains_key(&node)
    }

    fn cluster(&mut self) {
        let cluster = &self.config.cluster;
        if !self.has_node(cluster.master_node) {
            self.missing("the cluster", "its master node", cluster.master_node);
        }
        for node in
            cluster.candidate_certs.keys().filter(|node| !self.config.nodes.contains_key(node))
        {
            self.odd.push(format!("the cluster has a certificate of {node}, which is no node"));
        }
    }

    fn nodes(&mut self) {
        let mut addresses: BTreeMap<&str, &str> = BTreeMap::new();
        for node in self.config.nodes.values() {
            if !self.config.nodegroups.contains_key(&node.group) {
                self.missing(format!("node {}", node.name), "node group", node.group);
            }
            let own: BTreeSet<&str> = [node.primary_ip.as_str(), &node.secondary_ip].into();
            for ip in own {
                if ip.parse::<std::net::IpAddr>().is_err() {
                    let why = format!("node {} has the address '{ip}', which is none", node.name);
                    self.problems.push(why);
                }
                if let Some(other) = addresses.insert(ip, &node.name) {
                    let why = format!("nodes {other} and {} have the address {ip}", node.name);
                    self.problems.push(why);
                }
            }
        }
    }

    fn groups(&mut self) {
        for group in self.config.nodegroups.values() {
            for network in group.networks.keys() {
                if !self.config.networks.contains_key(network) {
                    self.missing(format!("node group {}", group.name), "network", network);
                }
            }
        }
    }

    fn instances(&mut self) {
        let mut macs: BTreeMap<&str, &str> = BTreeMap::new();
        let mut owners: BTreeMap<DiskId, &str> = BTreeMap::new();
        let mut ports: BTreeMap<u16, &str> = BTreeMap::new();
        for instance in self.config.instances.values() {
            let who = format!("instance {}", instance.name);
            if !self.has_node(instance.primary_node) {
                self.missing(&who, "its primary node", instance.primary_node);
            }
            for disk in &instance.disks {
                if !self.config.disks.contains_key(disk) {
                    self.missing(&who, "disk", disk);
                }
                if let Some(other) = owners.insert(*disk, &instance.name) {
                    self.problems.push(format!("{who} has disk {disk}, which {other} has, too"));
                }
            }
            for nic in &instance.nics {
                if let Some(network) = nic.network
                    && !self.config.networks.contains_key(&network)
                {
                    self.missing(format!("{who}, card {}", nic.mac), "network", network);
                }
                if let Some(other) = macs.insert(&nic.mac, &instance.name) {
                    let why = format!("{who} has the MAC address {}, which {other} has", nic.mac);
                    self.problems.push(why);
                }
            }
            if let Some(port) = instance.network_port
                && let Some(other) = ports.insert(port, &instance.name)
            {
                self.odd.push(format!("{who} has the display port {port}, which {other} has"));
            }
        }
        for disk in self.config.disks.keys().filter(|id| !owners.contains_key(id)) {
            self.odd.push(format!("disk {disk} belongs to no instance"));
        }
    }

    fn disks(&mut self) {
        let mut minors: BTreeMap<(NodeId, u32), DiskId> = BTreeMap::new();
        for disk in self.config.disks.values() {
            self.disk(disk, &mut minors);
        }
    }

    fn disk(&mut self, disk: &Disk, minors: &mut BTreeMap<(NodeId, u32), DiskId>) {
        let who = format!("disk {}", disk.uuid);
        for node in disk.nodes.iter().filter(|node| !self.config.nodes.contains_key(node)) {
            self.problems.push(format!("{who} refers to node {node}, which is not there"));
        }
        match (&disk.logical_id, disk.dev_type) {
            (LogicalId::Drbd(a, b, port, minor_a, minor_b, _), DiskTemplate::Drbd) => {
                for (node, minor) in [(*a, *minor_a), (*b, *minor_b)] {
                    if !self.has_node(node) {
                        self.missing(&who, "node", node);
                    }
                    if let Some(other) = minors.insert((node, minor), disk.uuid) {
                        self.problems.push(format!(
                            "{who} has DRBD minor {minor} on node {node}, which disk {other} has"
                        ));
                    }
                }
                if a == b {
                    self.problems.push(format!("{who} is mirrored by node {a} to itself"));
                }
                if disk.children.len() != 2 {
                    self.problems.push(format!(
                        "{who} (DRBD, port {port}) stands on {} volumes instead of 2",
                        disk.children.len()
                    ));
                }
            }
            (_, DiskTemplate::Diskless) => {}
            (LogicalId::Pair(..), template) if template != DiskTemplate::Drbd => {}
            (other, template) => {
                // A secret may be in it.
                let found = match other {
                    LogicalId::Drbd(..) => "that of a DRBD disk",
                    LogicalId::Pair(..) => "that of a single device",
                    LogicalId::Other(_) => "of an unknown shape",
                };
                self.problems.push(format!("{who} ({template}): its logical_id is {found}"));
            }
        }
        for child in &disk.children {
            self.disk(child, minors);
        }
    }

    fn names(&mut self) {
        let c = self.config;
        self.unique("node", c.nodes.values().map(|o| o.name.as_str()));
        self.unique("node group", c.nodegroups.values().map(|o| o.name.as_str()));
        self.unique("instance", c.instances.values().map(|o| o.name.as_str()));
        self.unique("network", c.networks.values().map(|o| o.name.as_str()));
    }

    fn unique<'a>(&mut self, kind: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.problems.push(format!("there are two objects {kind} {name}"));
            }
        }
    }
}
