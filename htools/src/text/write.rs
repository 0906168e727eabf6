//! Writing: every column is there.

use crate::model::{Cluster, Group, Instance, InstanceSpec, Node, Policy};
use std::fmt::Write;

/// The text of a cluster.
pub fn write(cluster: &Cluster) -> String {
    let mut out = String::new();
    for group in &cluster.groups {
        let Group { name, uuid, alloc_policy, tags, networks, .. } = group;
        let (tags, networks) = (tags.join(","), networks.join(","));
        line(&mut out, format_args!("{name}|{uuid}|{}|{tags}|{networks}", alloc_policy.as_str()));
    }
    out.push('\n');
    for node in &cluster.nodes {
        line(&mut out, format_args!("{}", node_line(cluster, node)));
    }
    out.push('\n');
    for instance in &cluster.instances {
        line(&mut out, format_args!("{}", instance_line(cluster, instance)));
    }
    out.push('\n');
    for tag in &cluster.tags {
        line(&mut out, format_args!("{tag}"));
    }
    out.push('\n');
    line(&mut out, format_args!("|{}", policy_columns(&cluster.policy)));
    for group in &cluster.groups {
        line(&mut out, format_args!("{}|{}", group.name, policy_columns(&group.policy)));
    }
    out
}

fn line(out: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(out, "{content}").ok();
}

fn flag(yes: bool) -> char {
    if yes { 'Y' } else { 'N' }
}

/// With decimals, as Haskell shows a Double.
fn decimals(number: f64) -> String {
    format!("{number:?}")
}

fn node_line(cluster: &Cluster, node: &Node) -> String {
    let role = if node.offline {
        'Y'
    } else if node.master {
        'M'
    } else {
        'N'
    };
    [
        node.name.clone(),
        format!("{:.0}", node.total_memory),
        node.node_memory.to_string(),
        node.free_memory.to_string(),
        format!("{:.0}", node.total_disk),
        node.free_disk.to_string(),
        format!("{:.0}", node.total_cpus),
        role.to_string(),
        cluster.groups[node.group.at()].uuid.clone(),
        node.spindles.to_string(),
        node.tags.join(","),
        flag(node.exclusive_storage).to_string(),
        node.free_spindles.to_string(),
        node.node_cpus.to_string(),
        decimals(node.cpu_speed),
    ]
    .join("|")
}

fn instance_line(cluster: &Cluster, instance: &Instance) -> String {
    let name = |node: crate::model::NodeIdx| cluster.nodes[node.at()].name.clone();
    [
        instance.name.clone(),
        instance.memory.to_string(),
        instance.disk.to_string(),
        instance.vcpus.to_string(),
        instance.status.as_str().to_owned(),
        flag(instance.auto_balance).to_string(),
        name(instance.primary),
        instance.secondary.map(name).unwrap_or_default(),
        instance.template.as_str().to_owned(),
        instance.tags.join(","),
        instance.spindle_use.to_string(),
        instance.disk_spindles().map_or_else(|| "-".to_owned(), |spindles| spindles.to_string()),
        flag(instance.forthcoming).to_string(),
    ]
    .join("|")
}

fn spec(spec: &InstanceSpec) -> String {
    let InstanceSpec { memory, cpus, disk, disks, nics, spindles } = spec;
    format!("{memory},{cpus},{disk},{disks},{nics},{spindles}")
}

fn policy_columns(policy: &Policy) -> String {
    let ranges: Vec<String> =
        policy.ranges.iter().flat_map(|range| [spec(&range.min), spec(&range.max)]).collect();
    let templates: Vec<&str> = policy.templates.iter().map(|template| template.as_str()).collect();
    format!(
        "{}|{}|{}|{}|{}",
        spec(&policy.standard),
        ranges.join(";"),
        templates.join(","),
        decimals(policy.vcpu_ratio),
        decimals(policy.spindle_ratio),
    )
}
