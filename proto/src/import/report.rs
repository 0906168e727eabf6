//! What was understood of a foreign configuration, in words.

use crate::choices::AdminState;
use crate::nicesort;
use crate::objects::{ConfigData, Instance};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many objects of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub nodes: usize,
    pub groups: usize,
    pub instances: usize,
    pub disks: usize,
    pub networks: usize,
    pub filters: usize,
}

/// The outcome of reading. Each text is a sentence that names its object.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Ganeti's release, as `3.0`.
    pub release: String,
    /// Name and UUID.
    pub cluster: String,
    pub serial_no: u64,
    /// When it was changed last, seconds since 1970.
    pub changed: f64,
    pub counts: Counts,
    /// A line for each object.
    pub objects: Vec<String>,
    /// What an older layout had otherwise.
    pub upgraded: Vec<String>,
    /// What makes the file unusable.
    pub problems: Vec<String>,
    /// What we cannot run or do, and would be in the configuration all the same.
    pub unsupported: Vec<String>,
    /// What looks odd and does no harm, and keys nobody knows: they are kept as they are.
    pub odd: Vec<String>,
    /// What will not be as it was.
    pub differs: Vec<String>,
    /// What the administrator must do, in order.
    pub next: Vec<String>,
    /// Instances that were to run.
    pub up: Vec<String>,
}

impl Report {
    /// Nothing stands in the way, not even something unsupported.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.unsupported.is_empty()
    }

    /// Counts and lists what there is.
    pub(super) fn describe(&mut self, config: &ConfigData) {
        let c = &config.cluster;
        self.cluster = format!("{} ({})", c.cluster_name, c.uuid);
        self.serial_no = config.serial_no;
        self.changed = config.mtime;
        self.counts = Counts {
            nodes: config.nodes.len(),
            groups: config.nodegroups.len(),
            instances: config.instances.len(),
            disks: config.disks.len(),
            networks: config.networks.len(),
            filters: config.filters.len(),
        };
        let node_name = |id| match config.nodes.get(id) {
            Some(node) => node.name.to_string(),
            None => "?".to_owned(),
        };
        let mut lines = Vec::new();
        for group in config.nodegroups.values() {
            lines.push(format!("node group {}", group.name));
        }
        for node in config.nodes.values() {
            let group = config.nodegroups.get(&node.group).map_or("?", |g| g.name.as_str());
            let role = node.role(c.master_node).letter();
            lines.push(format!("node {} ({role}, {}, group {group})", node.name, node.primary_ip));
        }
        for network in config.networks.values() {
            lines.push(format!("network {} ({})", network.name, network.network));
        }
        for instance in config.instances.values() {
            lines.push(format!(
                "instance {} ({}, {}, on {}, {} disk(s): {}, {} network card(s))",
                instance.name,
                instance.hypervisor,
                instance.admin_state,
                node_name(&instance.primary_node),
                instance.disks.len(),
                templates(config, instance),
                instance.nics.len(),
            ));
        }
        nicesort::sort(&mut lines);
        self.objects = lines;
        let up = config.instances.values().filter(|i| i.admin_state == AdminState::Up);
        self.up = up.map(|i| i.name.to_string()).collect();
        nicesort::sort(&mut self.up);
    }

    /// All of it, for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to text cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        if !self.release.is_empty() {
            writeln!(out, "Configuration of Ganeti {}", self.release)?;
        }
        if !self.cluster.is_empty() {
            let n = &self.counts;
            writeln!(out, "Cluster {}, serial number {}", self.cluster, self.serial_no)?;
            writeln!(
                out,
                "{} node(s) in {} group(s), {} instance(s), {} disk(s), {} network(s), {} filter(s)",
                n.nodes, n.groups, n.instances, n.disks, n.networks, n.filters
            )?;
        }
        let mut list = |title: &str, lines: &[String]| -> std::fmt::Result {
            if lines.is_empty() {
                return Ok(());
            }
            writeln!(out, "\n{title}:")?;
            lines.iter().try_for_each(|line| writeln!(out, "  - {line}"))
        };
        list("Understood", &self.objects)?;
        list("Brought up to date", &self.upgraded)?;
        list("Odd, and kept as it is", &self.odd)?;
        list("Will be otherwise", &self.differs)?;
        list("Not supported", &self.unsupported)?;
        list("Wrong: this stops the import", &self.problems)?;
        if self.next.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nWhat to do:")?;
        self.next.iter().enumerate().try_for_each(|(i, line)| writeln!(out, "  {}. {line}", i + 1))
    }
}

/// The templates of an instance's disks, in words.
fn templates(config: &ConfigData, instance: &Instance) -> String {
    let mut found: BTreeMap<&str, ()> = BTreeMap::new();
    for disk in instance.disks.iter().filter_map(|id| config.disks.get(id)) {
        found.insert(disk.dev_type.as_str(), ());
    }
    match found.is_empty() {
        true => "diskless".to_owned(),
        false => found.into_keys().collect::<Vec<_>>().join(", "),
    }
}

/// Names for a sentence: all of a few, the first of many.
pub(super) fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.len() <= SHOWN {
        return names.join(", ");
    }
    format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
}
