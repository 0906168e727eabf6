//! Where instances go: what an allocator is asked, and what becomes of its answer.
//!
//! ```text
//!   opcode ─ Asking ─┬─ hail: the cluster as it is going to be ─► roost_htools, here ─┬─► nodes
//!                    └─ another: `further` ─► a script on the master's node ─ checked ┘   moves, as jobs
//! ```
//!
//! An opcode says what it asks for once ([`Asking`]), the same in both stages of planning: in the first a
//! script is asked, if the allocator is one; in the second the answer is used. Our own allocator needs no first
//! stage, and sees what other jobs took a moment ago. What no allocator knows of is respected besides: nodes
//! that do not answer, room in volume groups that are not counted, nodes that could not be locked.

pub mod allocator;
pub mod cluster;
mod document;
mod inside;
mod moves;
mod request;
mod script;

pub use allocator::Allocator;
pub use moves::{How, Moves, move_op};
pub use request::{NewDisk, NewInstance, Request, named};
pub use script::said;

use super::Context;
use super::disks::space;
use crate::config::Config;
use crate::query::storage::Storage;
use roost_proto::choices::EvacMode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::objects::{Disk, Instance, Node};
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// A question for an allocator.
#[derive(Clone, Debug)]
pub struct Asking {
    pub allocator: Allocator,
    pub request: Request,
    /// Nodes that may be chosen, where single nodes are asked for.
    pub nodes: Vec<NodeId>,
    /// Why others may not be.
    pub refused: Vec<String>,
    /// Sizes that policies do not allow are all right.
    pub ignore_ipolicy: bool,
    /// Only what is impossible is refused.
    pub ignore_soft_errors: bool,
    /// What cannot be done without an answer: `Can't compute nodes`.
    pub purpose: String,
}

/// What became of several new instances: the nodes of each that has a place, and why the others have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Several {
    pub placed: Vec<(String, Vec<NodeId>)>,
    pub failed: Vec<(String, String)>,
}

impl Asking {
    /// The allocator of this name is asked, among all nodes that take instances. Errors: no such name.
    pub fn new(config: &Config, allocator: Option<&str>, request: Request) -> Result<Asking> {
        Ok(Asking {
            allocator: Allocator::of(config, allocator)?,
            request,
            nodes: candidates(config, None, &[]).map(|node| node.uuid).collect(),
            refused: Vec::new(),
            ignore_ipolicy: false,
            ignore_soft_errors: false,
            purpose: "Can't compute nodes".into(),
        })
    }

    /// Only these nodes, if they pass a check. One that was not asked, because it could not be locked, is none.
    #[must_use]
    pub fn among(
        mut self,
        cx: &Context<'_, '_>,
        nodes: Vec<NodeId>,
        check: impl Fn(NodeId) -> Result<()>,
    ) -> Asking {
        let mut nodes = nodes;
        nicesort::sort_by_key(&mut nodes, |id| cx.config().node_name(*id));
        self.nodes.clear();
        for node in nodes {
            match cx.was_asked(node).then(|| cx.report(node).and_then(|_| check(node))) {
                None => {}
                Some(Ok(())) => self.nodes.push(node),
                Some(Err(error)) => self.refused.push(error.message),
            }
        }
        self
    }

    /// The storage whose room counts: of what is to be made, or the usual one.
    fn storage<'c>(&self, config: &'c Config) -> Option<Storage<'c>> {
        let template = match &self.request {
            Request::Allocate(new) => Some(new.template),
            Request::MultiAllocate(all) => all.first().map(|new| new.template),
            _ => None,
        };
        let own = template.and_then(|template| Storage::of(&config.cluster, template));
        own.or_else(|| cluster::usual_storage(config))
    }

    /// What must be asked before there is an answer: the script, if the allocator is one.
    pub fn further(&self, cx: &Context<'_, '_>) -> Vec<(NodeId, Question)> {
        match &self.allocator {
            Allocator::Hail => vec![],
            Allocator::Script(name) => {
                let config = cx.config();
                let mut args = allocator::arguments(&config.cluster.default_iallocator_params);
                args.extend(document::arguments(self));
                let request = document::write(cx, self);
                let question = Question::Iallocator { name: name.clone(), request, args };
                vec![(config.master(), question)]
            }
        }
    }

    /// The text of the request.
    pub fn text(&self, cx: &Context<'_, '_>) -> String {
        document::write(cx, self)
    }

    /// The nodes that were found, the primary first. Errors: there are none, and why.
    pub fn nodes(&self, cx: &Context<'_, '_>) -> Result<Vec<NodeId>> {
        match &self.allocator {
            Allocator::Hail => inside::nodes(cx, self),
            Allocator::Script(name) => script::nodes(cx, self, name),
        }
    }

    /// The node that was found, where one is asked for.
    pub fn node(&self, cx: &Context<'_, '_>) -> Result<NodeId> {
        match self.nodes(cx)?.as_slice() {
            [node] => Ok(*node),
            nodes => Err(Error::internal(format!("{} nodes where one was asked for", nodes.len()))),
        }
    }

    /// What became of several new instances.
    pub fn several(&self, cx: &Context<'_, '_>) -> Result<Several> {
        match &self.allocator {
            Allocator::Hail => inside::several(cx, self),
            Allocator::Script(name) => script::several(cx, self, name),
        }
    }

    /// The moves that were found. Errors: none could be looked for; those that cannot move are told in them.
    pub fn moves(&self, cx: &Context<'_, '_>, how: &How) -> Result<Moves> {
        match &self.allocator {
            Allocator::Hail => inside::moves(cx, self, how),
            Allocator::Script(name) => script::moves(cx, self, name, how),
        }
    }

    /// Everything away from a node, as our own allocator finds it: instances that run there, and mirrors.
    pub fn leave(
        &self,
        cx: &Context<'_, '_>,
        (primaries, secondaries): (&[Arc<Instance>], &[Arc<Instance>]),
        how: &How,
    ) -> Result<Moves> {
        let ids = |all: &[Arc<Instance>]| all.iter().map(|i| i.uuid).collect::<Vec<_>>();
        let leaves_mirrors = matches!(self.request, Request::Evacuate(_, EvacMode::All));
        inside::leave(cx, self, (&ids(primaries), &ids(secondaries)), leaves_mirrors, how)
    }

    /// There is no answer that is of use.
    fn failed(&self, why: &str) -> Error {
        let mut text =
            format!("{} using iallocator '{}': {why}", self.purpose, self.allocator.name());
        if !self.refused.is_empty() {
            text = format!("{text} ({})", self.refused.join("; "));
        }
        Error::resources(text)
    }

    /// The line for the job's log.
    pub fn say(&self, cx: &mut Context<'_, '_>, instance: &str, nodes: &[NodeId]) {
        let names: Vec<_> = nodes.iter().map(|id| cx.config().node_name(*id)).collect();
        cx.info(format!(
            "Selected nodes for instance {instance} via iallocator {}: {}",
            self.allocator.name(),
            names.join(", ")
        ));
    }
}

/// A node has room for its side of disks in every volume group.
pub fn has_room(cx: &Context<'_, '_>, node: NodeId, needed: &BTreeMap<&str, u64>) -> Result<()> {
    needed.iter().try_for_each(|(vg, mib)| space::check_group(cx, node, vg, *mib))
}

/// What disks take, by volume group.
pub fn needed(disks: &[Disk]) -> BTreeMap<&str, u64> {
    space::needed(disks)
}

#[cfg(test)]
mod tests;
