//! What of a configuration this version cannot run or do, and what will not be as it was.

use super::report::{Report, some};
use crate::choices::{DiskTemplate, Hypervisor};
use crate::nicesort;
use crate::objects::{ConfigData, ParamMap};
use crate::params::{backend, disk, hypervisor, ipolicy, nic, node};
use serde_json::Value;
use std::collections::BTreeMap;

/// Hypervisors that nodes have a driver for.
const HYPERVISORS: &[Hypervisor] = &[Hypervisor::Kvm, Hypervisor::Fake];
/// Disk templates that nodes can make and use.
const TEMPLATES: &[DiskTemplate] =
    &[DiskTemplate::Diskless, DiskTemplate::File, DiskTemplate::SharedFile];

/// KVM parameters that are refused whatever they say, unless it is nothing.
const NEVER: &[&str] = &["vnc_tls", "vnc_x509_path", "vnc_x509_verify", "use_chroot"];

/// Names what is not supported, what will differ, and what is to be done.
pub(super) fn check(config: &ConfigData, report: &mut Report) {
    unsupported_instances(config, report);
    parameters(config, report);
    differences(config, report);
    next_steps(config, report);
}

/// Instances by something, with their names.
fn by<K: Ord>(pairs: impl Iterator<Item = (K, String)>) -> BTreeMap<K, Vec<String>> {
    let mut groups: BTreeMap<K, Vec<String>> = BTreeMap::new();
    for (key, name) in pairs {
        groups.entry(key).or_default().push(name);
    }
    for names in groups.values_mut() {
        nicesort::sort(names);
        names.dedup();
    }
    groups
}

fn unsupported_instances(config: &ConfigData, report: &mut Report) {
    let instances = || config.instances.values();
    let hypervisors = by(instances()
        .filter(|i| !HYPERVISORS.contains(&i.hypervisor))
        .map(|i| (i.hypervisor, i.name.to_string())));
    for (hypervisor, names) in hypervisors {
        report.unsupported.push(format!(
            "hypervisor {hypervisor} is not run by this version: {} instance(s): {}",
            names.len(),
            some(&names)
        ));
    }
    let disks = instances().flat_map(|i| {
        let own = i.disks.iter().filter_map(|id| config.disks.get(id));
        own.map(|d| (d.dev_type, i.name.to_string()))
    });
    for (template, names) in by(disks.filter(|(t, _)| !TEMPLATES.contains(t))) {
        report.unsupported.push(format!(
            "{template} disks are not used by this version: {} instance(s): {}",
            names.len(),
            some(&names)
        ));
    }
    if !config.cluster.instance_communication_network.is_empty() {
        report.unsupported.push(format!(
            "the instance communication network '{}': there is none",
            config.cluster.instance_communication_network
        ));
    }
}

/// Whether a KVM parameter's value is refused when it is set.
fn refused_for_kvm(name: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match name {
        _ if NEVER.contains(&name) => {
            !matches!(value, Value::Null | Value::Bool(false)) && value != ""
        }
        "vnet_hdr" => *value == Value::Bool(false),
        "security_model" => text == "pool",
        "nic_type" => text == "ne2k_isa",
        "disk_type" => ["mtd", "pflash", "sd", "scsi-generic"].contains(&text),
        _ => false,
    }
}

/// Parameters that would be refused if they were set now.
fn parameters(config: &ConfigData, report: &mut Report) {
    let mut out = Vec::new();
    let mut hv = |place: &str, word: &str, map: &ParamMap, scope| {
        let Ok(hypervisor) = word.parse::<Hypervisor>() else {
            out.push(format!("{place}: '{word}' is not a hypervisor"));
            return;
        };
        let check = |one: &ParamMap| hypervisor::typed(hypervisor, one, scope).map(drop);
        each(place, map, check, &mut out);
        if hypervisor == Hypervisor::Kvm {
            for (name, value) in map.iter().filter(|(name, value)| refused_for_kvm(name, value)) {
                out.push(format!("{place}: the KVM parameter {name}={value} is refused"));
            }
        }
    };
    let c = &config.cluster;
    for (word, map) in &c.hvparams {
        hv("the cluster", word, map, hypervisor::Scope::Cluster);
    }
    for (os, all) in &c.os_hvp {
        for (word, map) in all {
            hv(&format!("OS {os}"), word, map, hypervisor::Scope::Instance);
        }
    }
    for i in config.instances.values() {
        let place = format!("instance {}", i.name);
        hv(&place, i.hypervisor.as_str(), &i.hvparams, hypervisor::Scope::Instance);
    }
    for map in c.beparams.values() {
        each("the cluster", map, |one| backend::typed(one).map(drop), &mut out);
    }
    for map in c.nicparams.values() {
        each("the cluster", map, |one| nic::typed(one).map(drop), &mut out);
    }
    let node_level = |level| move |one: &ParamMap| node::typed(one, level).map(drop);
    each("the cluster", &c.ndparams, node_level(node::Level::Cluster), &mut out);
    diskparams("the cluster", &c.diskparams, &mut out);
    policy("the cluster", &c.ipolicy, ipolicy::Level::Cluster, &mut out);
    for g in config.nodegroups.values() {
        let place = format!("node group {}", g.name);
        each(&place, &g.ndparams, node_level(node::Level::Group), &mut out);
        diskparams(&place, &g.diskparams, &mut out);
        policy(&place, &g.ipolicy, ipolicy::Level::Group, &mut out);
    }
    for n in config.nodes.values() {
        let place = format!("node {}", n.name);
        each(&place, &n.ndparams, node_level(node::Level::Node), &mut out);
    }
    for i in config.instances.values() {
        let place = format!("instance {}", i.name);
        each(&place, &i.beparams, |one| backend::typed(one).map(drop), &mut out);
        for n in &i.nics {
            let place = format!("{place}, card {}", n.mac);
            each(&place, &n.nicparams, |one| nic::typed(one).map(drop), &mut out);
        }
    }
    report.unsupported.append(&mut out);
}

/// Checks one parameter at a time, so that each wrong one is named.
fn each(
    place: &str,
    map: &ParamMap,
    check: impl Fn(&ParamMap) -> crate::error::Result<()>,
    out: &mut Vec<String>,
) {
    for (name, value) in map {
        if let Err(why) = check(&ParamMap::from([(name.clone(), value.clone())])) {
            out.push(format!("{place}: {why}"));
        }
    }
}

fn diskparams(place: &str, all: &BTreeMap<String, ParamMap>, out: &mut Vec<String>) {
    for (word, map) in all {
        match word.parse::<DiskTemplate>() {
            Ok(template) => each(place, map, |one| disk::typed(template, one).map(drop), out),
            Err(why) => out.push(format!("{place}: {why}")),
        }
    }
}

fn policy(place: &str, map: &ParamMap, level: ipolicy::Level, out: &mut Vec<String>) {
    if let Err(why) = ipolicy::typed(map, level) {
        out.push(format!("{place}: {why}"));
    }
}

fn differences(config: &ConfigData, report: &mut Report) {
    let mut say = |text: &str| report.differs.push(text.to_owned());
    if config.cluster.modify_etc_hosts || config.cluster.modify_ssh_setup {
        say("/etc/hosts and SSH keys are left alone: nodes talk over their own TLS \
             (modify_etc_hosts and modify_ssh_setup become false)");
    }
    say("nodes get new certificates when they join; Ganeti's are of no use any more");
    if config.nodes.len() > 1 {
        say("only the master is a master candidate until the others have joined");
    }
    if config.instances.values().any(|i| i.admin_state == crate::choices::AdminState::Up) {
        say(
            "instances that were up become 'down' and get the tag 'imported:up': their guests run on \
             as processes of Ganeti's, which Roost neither sees nor stops, and must not be started a \
             second time",
        );
    }
    say("jobs of Ganeti's queue are not taken over");
}

fn next_steps(config: &ConfigData, report: &mut Report) {
    let up = config.instances.values().any(|i| i.admin_state == crate::choices::AdminState::Up);
    let master = config.cluster.master_node;
    let mut say = |text: String| report.next.push(text);
    say(
        "stop Ganeti's daemons on all nodes and keep them from starting again ('systemctl disable \
         --now ganeti.target'); guests run on"
            .into(),
    );
    say("on the master: gnt-cluster import-ganeti with --data-dir, without --dry-run".into());
    let mut others: Vec<_> =
        config.nodes.values().filter(|n| n.uuid != master && !n.offline).collect();
    nicesort::sort_by_key(&mut others, |n| n.name.to_string());
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(|n| n.name.to_string()).collect();
        say(format!(
            "let each other node join: 'gnt-node add --readd NODE' on the master, and on the node what \
             that prints: {}",
            some(&names)
        ));
    }
    if up {
        say("for each instance that was up: shut its guest down from inside (or by its QEMU monitor), \
             then 'gnt-instance startup' it; 'gnt-instance startup --tags imported:up' starts all of \
             them"
            .into());
    }
    say("gnt-cluster verify".into());
}
