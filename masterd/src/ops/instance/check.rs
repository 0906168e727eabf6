//! Checks that several opcodes share.

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::ops::Context;
use roost_proto::choices::{Hypervisor, NicMode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, GuestSpec, Question};
use roost_proto::objects::{Disk, Instance, Node};
use roost_proto::params::{InstanceSpec, fill};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The locks for work on one instance: it alone, its nodes and their groups together with others.
pub fn locks(config: &Config, name: &str) -> Result<LockSet> {
    let instance = config.instance(name)?;
    let mut locks =
        LockSet::new().with(LockName::new(Level::Instance, &instance.name), Mode::Exclusive);
    let mut nodes = config.secondaries(instance);
    nodes.push(instance.primary_node);
    lock_nodes(&mut locks, config, &nodes);
    Ok(locks)
}

/// Adds nodes and their groups, shared.
pub fn lock_nodes(locks: &mut LockSet, config: &Config, nodes: &[NodeId]) {
    for id in nodes {
        locks.add(LockName::new(Level::Node, id), Mode::Shared);
        if let Some(node) = config.nodes.get(id) {
            locks.add(LockName::new(Level::NodeGroup, node.group), Mode::Shared);
        }
    }
}

/// The primary node, which must be online.
pub fn online_primary<'a>(config: &'a Config, instance: &Instance) -> Result<&'a Arc<Node>> {
    let node = config.node_by_id(instance.primary_node)?;
    if node.offline {
        return Err(Error::prereq(
            roost_proto::error::ErrorType::WrongState,
            format!(
                "Instance {} is on node {}, which is marked offline; use failover to move it",
                instance.name, node.name
            ),
        ));
    }
    Ok(node)
}

/// A node that is to get something: online, not drained, able to run instances.
pub fn good_target(node: &Node) -> Result<()> {
    let why = if node.offline {
        "is marked offline"
    } else if node.drained {
        "is drained"
    } else if !node.vm_capable {
        "is not vm_capable"
    } else {
        return Ok(());
    };
    Err(Error::wrong_state(format!("Node {} {why}, it can't get instances", node.name)))
}

/// Enough memory is free on a node.
pub fn memory(cx: &Context<'_, '_>, node: NodeId, mib: u64, what: &str) -> Result<()> {
    let free = cx.free_memory(node)?;
    if free >= mib {
        return Ok(());
    }
    Err(Error::resources(format!(
        "Not enough memory on node {} for {what}: needed {mib} MiB, available {free} MiB",
        cx.config().node_name(node)
    )))
}

/// The bridges a guest needs, as a question for the node it is to run on.
pub fn bridge_question(guest: &GuestSpec) -> Option<Question> {
    let bridges: BTreeSet<_> = guest
        .nics
        .iter()
        .filter(|nic| nic.mode == NicMode::Bridged)
        .map(|nic| nic.link.clone())
        .collect();
    (!bridges.is_empty())
        .then(|| Question::MissingBridges { bridges: bridges.into_iter().collect() })
}

/// No bridge is missing on a node, if it was asked.
pub fn bridges(cx: &Context<'_, '_>, node: NodeId) -> Result<()> {
    let asked = |q: &Question| matches!(q, Question::MissingBridges { .. });
    if !cx.answers().iter().any(|(from, q, _)| *from == node && asked(q)) {
        return Ok(());
    }
    let missing = cx.answer(node, asked, |a| match a {
        Answer::Names(names) => Some(names),
        _ => None,
    })?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::environment(format!(
        "Missing bridges on node {}: {}",
        cx.config().node_name(node),
        missing.join(", ")
    )))
}

/// The instance is nowhere but on `node`, as far as the nodes said lately: starting it twice
/// would destroy its disks.
pub fn not_elsewhere(cx: &Context<'_, '_>, instance: &Instance, node: NodeId) -> Result<()> {
    for (other, view) in cx.seen() {
        let runs = view.guests.get(instance.name.as_str()).is_some_and(|g| g.state.is_running());
        if *other != node && view.up && runs {
            return Err(Error::wrong_state(format!(
                "Instance {} already runs on node {}, where it should not; to make that its \
                 primary node use 'gnt-instance migrate --cleanup {}', or shut it down there",
                instance.name,
                cx.config().node_name(*other),
                instance.name
            )));
        }
    }
    Ok(())
}

/// The hypervisor can open the disks the way they are to be opened.
pub fn access(config: &Config, hypervisor: Hypervisor, node: &Node, disks: &[Disk]) -> Result<()> {
    for disk in crate::ops::guest::filled_disks(config, node.uuid, disks)? {
        let userspace =
            disk.params.get("access").and_then(|word| word.as_str()) == Some("userspace");
        if userspace && !hypervisor.can_open_disks_itself() {
            return Err(Error::wrong_input(format!(
                "Instance hypervisor ({hypervisor}) does not support userspace access of {} \
                 (template '{}'); use access=kernelspace",
                disk.iv_name, disk.dev_type
            )));
        }
    }
    Ok(())
}

/// The instance fits the policy of a node's group.
pub fn ipolicy(
    config: &Config,
    instance: &Instance,
    disks: &[Disk],
    node: &Node,
    ignore: bool,
) -> Result<Vec<String>> {
    let group = config
        .groups
        .get(&node.group)
        .ok_or_else(|| Error::internal(format!("Node {} is in no group", node.name)))?;
    let be = fill::instance_beparams(&config.cluster, instance);
    let spec = InstanceSpec {
        memory: be.maxmem,
        vcpus: u64::from(be.vcpus),
        nics: instance.nics.len() as u64,
        spindle_use: u64::from(be.spindle_use),
        disks: disks.iter().map(|d| (d.dev_type, d.size)).collect(),
    };
    let violations = fill::group_ipolicy(&config.cluster, group).violations(&spec);
    if violations.is_empty() || ignore {
        return Ok(violations);
    }
    Err(Error::wrong_input(format!(
        "Instance allocation to group {} violates policy: {} (use --ignore-ipolicy to do it anyway)",
        group.name,
        violations.join(", ")
    )))
}
