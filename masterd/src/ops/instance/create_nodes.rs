//! Where a new instance goes: its primary node and, if its disks are mirrored, the secondary.

use super::check;
use crate::config::Config;
use crate::ops::disks::space;
use crate::ops::placement::{Allocator, Asking, NewInstance, Request};
use crate::ops::{Context, placement};
use roost_proto::choices::{DiskTemplate, Hypervisor};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::opcodes::InstanceCreate;

/// The nodes of a new instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    pub primary: NodeId,
    pub secondary: Option<NodeId>,
}

/// It needs two nodes.
fn is_mirrored(template: DiskTemplate) -> bool {
    template.required_nodes() == 2
}

/// The primary node's name, if one is given.
fn primary_name(op: &InstanceCreate) -> Option<&String> {
    op.pnode_uuid.as_ref().or(op.pnode.as_ref())
}

/// What can be refused about the nodes asked for without asking them.
pub fn check(op: &InstanceCreate, config: &Config, template: DiskTemplate) -> Result<()> {
    if primary_name(op).is_some() && op.iallocator.is_some() {
        return Err(Error::wrong_input("Give either a node (-n) or an iallocator (-I), not both"));
    }
    Allocator::of(config, op.iallocator.as_deref())?;
    let second = second(op, config, template)?;
    match (primary_name(op), second) {
        (None, Some(_)) => Err(Error::wrong_input(
            "A secondary node is given without a primary node; use -n PRIMARY:SECONDARY",
        )),
        (Some(_), None) if is_mirrored(template) => Err(Error::wrong_input(format!(
            "The disk template '{template}' needs a secondary node; use -n PRIMARY:SECONDARY"
        ))),
        (Some(name), Some(second)) if config.node(name)?.uuid == second => {
            Err(Error::wrong_input("The secondary node cannot be the primary node"))
        }
        _ => Ok(()),
    }
}

/// The secondary node asked for, unless it is of no use.
fn second(op: &InstanceCreate, config: &Config, template: DiskTemplate) -> Result<Option<NodeId>> {
    let name = op.snode_uuid.as_ref().or(op.snode.as_ref()).filter(|_| is_mirrored(template));
    let Some(name) = name else { return Ok(None) };
    let node = config.node(name)?;
    check::good_target(node)?;
    Ok(Some(node.uuid))
}

/// The nodes it may run on.
pub fn primaries(op: &InstanceCreate, config: &Config) -> Result<Vec<NodeId>> {
    if let Some(name) = primary_name(op) {
        let node = config.node(name)?;
        check::good_target(node)?;
        return Ok(vec![node.uuid]);
    }
    let group: Option<GroupId> =
        op.group_name.as_ref().map(|name| config.group(name).map(|g| g.uuid)).transpose()?;
    Ok(placement::candidates(config, group, &[]).map(|n| n.uuid).collect())
}

/// All nodes it may have something on.
pub fn possible(
    op: &InstanceCreate,
    config: &Config,
    template: DiskTemplate,
) -> Result<Vec<NodeId>> {
    let mut nodes = primaries(op, config)?;
    let second = second(op, config, template)?.filter(|node| !nodes.contains(node));
    nodes.extend(second);
    Ok(nodes)
}

/// What an allocator is asked; nothing if the nodes are named.
pub fn asking(
    op: &InstanceCreate,
    cx: &Context<'_, '_>,
    template: DiskTemplate,
    hypervisor: Hypervisor,
) -> Result<Option<Asking>> {
    if primary_name(op).is_some() {
        return Ok(None);
    }
    let config = cx.config();
    let new = NewInstance::of(op, config, template, Some(hypervisor))?;
    let asking = Asking::new(config, op.iallocator.as_deref(), Request::Allocate(Box::new(new)))?;
    let room = |node| space::check_specs(cx, node, template, &op.disks);
    let asking = asking.among(cx, primaries(op, config)?, room);
    Ok(Some(Asking { ignore_ipolicy: op.ignore_ipolicy, ..asking }))
}

/// Those asked for, or the best ones.
pub fn choose(
    op: &InstanceCreate,
    cx: &mut Context<'_, '_>,
    template: DiskTemplate,
    hypervisor: Hypervisor,
) -> Result<Nodes> {
    let config = cx.config();
    if !is_mirrored(template) && (op.snode.is_some() || op.snode_uuid.is_some()) {
        cx.warn("Secondary node will be ignored on non-mirrored disk template");
    }
    let Some(asking) = asking(op, cx, template, hypervisor)? else {
        let primary = primaries(op, config)?[0];
        return Ok(Nodes { primary, secondary: second(op, config, template)? });
    };
    let nodes = asking.nodes(cx)?;
    asking.say(cx, &op.instance_name, &nodes);
    Ok(Nodes { primary: nodes[0], secondary: nodes.get(1).copied() })
}
