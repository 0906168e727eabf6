//! Choosing a node: the one with most free memory.
//!
//! A simple rule that never surprises, until a real allocator takes its place.

pub mod cluster;

use super::Context;
use super::disks::space;
use crate::config::Config;
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::objects::{Disk, Node};
use std::sync::Arc;

/// What this rule is called where an allocator's name is asked for.
pub const NAME: &str = "most-free-memory";
/// Names under which people ask for an allocator: the cluster's, Ganeti's, and our own.
const KNOWN: [&str; 3] = [".", "hail", NAME];

/// An allocator we do not have is an error, not a surprise.
pub fn check_allocator(name: Option<&str>) -> Result<()> {
    match name {
        Some(name) if !KNOWN.contains(&name) => Err(Error::prereq(
            ErrorType::UnknownEntity,
            format!("Can't find iallocator '{name}'; there are: {}", KNOWN.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// Nodes that may get something new: online, not drained, able to run instances; in a group if one
/// is named, and not among those excluded.
pub fn candidates<'a>(
    config: &'a Config,
    group: Option<GroupId>,
    without: &[NodeId],
) -> impl Iterator<Item = &'a Arc<Node>> {
    config.nodes.values().filter(move |node| {
        !node.offline
            && !node.drained
            && node.vm_capable
            && group.is_none_or(|g| node.group == g)
            && !without.contains(&node.uuid)
    })
}

/// The candidate with most free memory of those that answered and have `memory` MiB. The order of
/// equals is that of their names, so that the choice can be repeated.
pub fn choose(cx: &Context<'_, '_>, nodes: &[NodeId], memory: u64) -> Result<NodeId> {
    let config = cx.config();
    let mut problems = Vec::new();
    let mut best: Option<(u64, NodeId)> = None;
    let mut nodes: Vec<_> = nodes.to_vec();
    nodes.sort_by_key(|id| config.node_name(*id));
    for id in nodes {
        let name = config.node_name(id);
        match cx.free_memory(id) {
            Err(error) => problems.push(error.message),
            Ok(free) if free < memory => {
                problems.push(format!("{name}: only {free} MiB of memory free"));
            }
            Ok(free) if best.is_none_or(|(most, _)| free > most) => best = Some((free, id)),
            Ok(_) => {}
        }
    }
    match best {
        Some((_, id)) => Ok(id),
        None => Err(Error::resources(format!(
            "Can't compute nodes using iallocator '{NAME}': no node has {memory} MiB of memory \
             free ({})",
            if problems.is_empty() { "there is no candidate".into() } else { problems.join("; ") }
        ))),
    }
}

/// The candidate with most room for disks, for what needs no memory there (a mirror). It was asked
/// for its state; it must have enough in every volume group. Equals: by free memory, then by name.
pub fn choose_for_disks(cx: &Context<'_, '_>, nodes: &[NodeId], disks: &[Disk]) -> Result<NodeId> {
    let config = cx.config();
    let needed = space::needed(disks);
    let mut problems = Vec::new();
    let mut best: Option<((u64, u64), NodeId)> = None;
    let mut nodes: Vec<_> = nodes.to_vec();
    nodes.sort_by_key(|id| config.node_name(*id));
    for id in nodes {
        let room = needed.iter().map(|(vg, mib)| {
            space::check_group(cx, id, vg, *mib)?;
            Ok(cx.report(id)?.volume_groups.get(*vg).map_or(0, |(_, free)| *free))
        });
        let found = room
            .collect::<Result<Vec<u64>>>()
            .and_then(|room| Ok((room.into_iter().sum(), cx.free_memory(id)?)));
        match found {
            Err(error) => problems.push(error.message),
            Ok(room) if best.is_none_or(|(most, _)| room > most) => best = Some((room, id)),
            Ok(_) => {}
        }
    }
    match best {
        Some((_, id)) => Ok(id),
        None => Err(Error::resources(format!(
            "Can't compute nodes using iallocator '{NAME}': no node has room for the disks ({})",
            if problems.is_empty() { "there is no candidate".into() } else { problems.join("; ") }
        ))),
    }
}

/// Free memory of several nodes while instances are spread over them: what one is promised the next
/// cannot have.
#[derive(Debug)]
pub struct Account {
    /// In the order of their names.
    free: Vec<(NodeId, u64)>,
    /// Why nodes are not among them.
    pub problems: Vec<String>,
}

impl Account {
    /// Of those nodes that answered.
    pub fn open(cx: &Context<'_, '_>, nodes: &[NodeId]) -> Account {
        let mut nodes = nodes.to_vec();
        roost_proto::nicesort::sort_by_key(&mut nodes, |id| cx.config().node_name(*id));
        let mut account = Account { free: vec![], problems: vec![] };
        for id in nodes {
            match cx.free_memory(id) {
                Ok(free) => account.free.push((id, free)),
                Err(error) => account.problems.push(error.message),
            }
        }
        account
    }

    /// The node with most memory left, if that is `memory` MiB at least; it has so much less then.
    pub fn take(&mut self, memory: u64) -> Option<NodeId> {
        let most = self.free.iter().map(|(_, free)| *free).max()?;
        let (id, free) = self.free.iter_mut().find(|(_, free)| *free == most)?;
        *free = free.checked_sub(memory)?;
        Some(*id)
    }
}
