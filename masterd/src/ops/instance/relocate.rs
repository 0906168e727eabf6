//! What migration and failover have in common: where to, and what must hold there.

use super::check;
use crate::config::{Change, Config, Object};
use crate::ops::Context;
use crate::ops::disks::health;
use crate::ops::placement::{self, Allocator, Asking, NewInstance, Request};
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::objects::{Instance, Node};
use std::sync::Arc;

/// How the target was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub node: Option<&'a str>,
    pub iallocator: Option<&'a str>,
    pub ignore_ipolicy: bool,
}

/// Nodes it may go to: the one named, or all that might be chosen. Errors: the instance cannot
/// move without its data being copied.
pub fn possible(config: &Config, instance: &Instance, wanted: Wanted<'_>) -> Result<Vec<NodeId>> {
    if let Some(template) = immobile(config, instance) {
        return Err(Error::wrong_state(format!(
            "Instance {}'s disk layout '{template}' does not allow failover or migration, its \
             disks are on one node only; use 'gnt-instance move' to copy them, or \
             'gnt-instance migrate --copy-disks' to do so while it runs",
            instance.name
        )));
    }
    if let Some(secondary) = mirror_of(config, instance)? {
        return only_to(config, instance, secondary, wanted);
    }
    anywhere(config, instance, wanted)
}

/// The node that has mirrors of its disks, if they are mirrored by us.
fn mirror_of(config: &Config, instance: &Instance) -> Result<Option<NodeId>> {
    match config.secondaries(instance).as_slice() {
        [] => Ok(None),
        [node] => Ok(Some(*node)),
        several => {
            let names: Vec<_> = several.iter().map(|id| config.node_name(*id)).collect();
            Err(Error::wrong_state(format!(
                "The mirrors of instance {}'s disks are on several nodes ({}): none of them has \
                 all; bring them together with 'gnt-instance replace-disks'",
                instance.name,
                names.join(", ")
            )))
        }
    }
}

/// It can go to its secondary node and nowhere else.
fn only_to(
    config: &Config,
    instance: &Instance,
    secondary: NodeId,
    wanted: Wanted<'_>,
) -> Result<Vec<NodeId>> {
    let node = config.node_by_id(secondary)?;
    let other = match wanted.node {
        Some(name) => config.node(name)?.uuid != secondary,
        None => wanted.iallocator.is_some(),
    };
    if other {
        return Err(Error::wrong_input(format!(
            "Instances with disk template 'drbd' cannot be moved to arbitrary nodes: instance {} \
             has its mirror on node {}; give neither a target node nor an iallocator (another \
             secondary node: 'gnt-instance replace-disks -n')",
            instance.name, node.name
        )));
    }
    check::good_target(node)?;
    Ok(vec![secondary])
}

/// The same for an instance whose data is copied along.
pub fn anywhere(config: &Config, instance: &Instance, wanted: Wanted<'_>) -> Result<Vec<NodeId>> {
    if wanted.node.is_some() && wanted.iallocator.is_some() {
        return Err(Error::wrong_input(
            "Give either a target node (-n) or an iallocator (-I), not both",
        ));
    }
    Allocator::of(config, wanted.iallocator)?;
    if let Some(name) = wanted.node {
        let node = config.node(name)?;
        if node.uuid == instance.primary_node {
            return Err(Error::wrong_state(format!(
                "Instance {} is already on node {}",
                instance.name, node.name
            )));
        }
        check::good_target(node)?;
        return Ok(vec![node.uuid]);
    }
    let primary = config.node_by_id(instance.primary_node)?;
    let found: Vec<_> =
        placement::candidates(config, Some(primary.group), &[instance.primary_node])
            .map(|n| n.uuid)
            .collect();
    if found.is_empty() {
        return Err(Error::resources(format!(
            "There is no other node in group {} that could take instance {}",
            config.group_name(primary.group),
            instance.name
        )));
    }
    Ok(found)
}

/// The disk template that ties an instance to its node, if one does.
fn immobile(config: &Config, instance: &Instance) -> Option<DiskTemplate> {
    config.disks_of(instance).iter().map(|d| d.dev_type).find(|template| !template.is_mirrored())
}

/// What an allocator is asked; nothing if it is clear where to. Data that is on its node alone is copied: for that
/// it needs as much as a new instance.
fn asking(
    cx: &Context<'_, '_>,
    instance: &Instance,
    wanted: Wanted<'_>,
    nodes: &[NodeId],
) -> Result<Option<Asking>> {
    let config = cx.config();
    if wanted.node.is_some() || !config.secondaries(instance).is_empty() {
        return Ok(None);
    }
    let stored = health::stored(config, instance);
    let request = match immobile(config, instance) {
        None => Request::Relocate(Arc::new(instance.clone()), instance.primary_node),
        Some(template) => {
            let group = config.node_by_id(instance.primary_node)?.group;
            let new = NewInstance::like(config, instance, (template, &stored), group)?;
            Request::Allocate(Box::new(new))
        }
    };
    let copied: Vec<_> = stored.into_iter().filter(|disk| !disk.dev_type.is_mirrored()).collect();
    let needed = placement::needed(&copied);
    let asking = Asking::new(config, wanted.iallocator, request)?;
    let asking = asking.among(cx, nodes.to_vec(), |node| placement::has_room(cx, node, &needed));
    Ok(Some(Asking { ignore_ipolicy: wanted.ignore_ipolicy, ..asking }))
}

/// What must be asked of an allocator among these nodes.
pub fn further(
    cx: &Context<'_, '_>,
    instance: &Instance,
    wanted: Wanted<'_>,
    nodes: &[NodeId],
) -> Result<Vec<(NodeId, Question)>> {
    let asking = asking(cx, instance, wanted, nodes)?;
    Ok(asking.map_or_else(Vec::new, |asking| asking.further(cx)))
}

/// Chooses among the possible nodes (all were asked for their state) and checks the choice.
/// `memory`: MiB it needs there at once, 0 if it will not run.
pub fn target<'a>(
    cx: &mut Context<'_, 'a>,
    instance: &Instance,
    wanted: Wanted<'_>,
    memory: u64,
) -> Result<&'a Arc<Node>> {
    let nodes = possible(cx.config(), instance, wanted)?;
    choose(cx, instance, wanted, &nodes, memory)
}

/// The same among nodes that the caller has found possible.
pub fn choose<'a>(
    cx: &mut Context<'_, 'a>,
    instance: &Instance,
    wanted: Wanted<'_>,
    nodes: &[NodeId],
    memory: u64,
) -> Result<&'a Arc<Node>> {
    let config = cx.config();
    let node = match asking(cx, instance, wanted, nodes)? {
        None => nodes[0],
        Some(asking) => {
            let node = asking.node(cx)?;
            asking.say(cx, &instance.name, &[node]);
            node
        }
    };
    let node = config.node_by_id(node)?;
    check::good_target(node)?;
    if memory > 0 {
        let what = format!("moving instance {} there", instance.name);
        check::memory(cx, node.uuid, memory, &what)?;
    }
    check::bridges(cx, node.uuid)?;
    let disks: Vec<_> = config.disks_of(instance).iter().map(|d| (**d).clone()).collect();
    let source = config.node_by_id(instance.primary_node)?;
    // Within a group the policy does not change by moving.
    if source.group != node.group {
        for violation in check::ipolicy(config, instance, &disks, node, wanted.ignore_ipolicy)? {
            cx.warn(violation);
        }
    }
    Ok(node)
}

/// The instance with another primary node.
pub fn new_primary(instance: &Instance, node: NodeId) -> Change {
    let mut new = instance.clone();
    new.primary_node = node;
    Change::Update(Object::Instance(Box::new(new)))
}
