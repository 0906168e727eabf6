//! Which nodes may be rebooted together, and in which order.
//!
//! ```text
//!   wanted nodes ─► graph ─► three colourings ─► fewest colours ─► split by room for what cannot stay ─► groups
//!    (online, of    (who must    (draft)                           (non-redundant instances; with full
//!     group, tags)   not be)                                        evacuation also mirrors)
//! ```
//!
//! The largest group is first, and the master last of all. Source: Ganeti's reference on htools, hroller. Where the
//! reference also asks for room for what is on nodes that nobody wants to reboot, we do not.

mod clear;
mod colour;
mod draft;
mod graph;

pub use colour::{Colouring, Order, comparison};
pub use graph::Graph;

use crate::model::{Cluster, GroupIdx, InstanceIdx, NodeIdx};
use crate::state::Placement;
use clear::Clearing;
use draft::Draft;
use std::cmp::Reverse;
use std::fmt;

/// What is to be rebooted, and what is to happen to instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only nodes of this group.
    pub group: Option<GroupIdx>,
    /// Only nodes with one of these tags.
    pub tags: Option<Vec<String>>,
    /// Only nodes without instances that have no mirror.
    pub skip_non_redundant: bool,
    /// Such instances are rebooted with their nodes.
    pub ignore_non_redundant: bool,
    /// All instances are down meanwhile.
    pub offline_maintenance: bool,
    /// Mirrors leave the nodes, too.
    pub full_evacuation: bool,
}

/// An instance that goes elsewhere while its node is rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    pub instance: InstanceIdx,
    pub primary: NodeIdx,
    pub secondary: Option<NodeIdx>,
}

/// Nodes that may be rebooted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebootGroup {
    pub nodes: Vec<NodeIdx>,
    /// What has to be done first; instances that only run on their other node are not named.
    pub moves: Vec<Relocation>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reboots {
    pub graph: Graph,
    pub colourings: Vec<Colouring>,
    /// In the order in which to reboot them; or why there is no room for what has to leave.
    pub groups: Result<Vec<RebootGroup>, Refusal>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoNodes,
    /// Nodes whose instances without mirrors fit nowhere else.
    NonRedundant(Vec<NodeIdx>),
    /// An instance that cannot run on its other node.
    Migration(InstanceIdx),
    /// Nodes whose mirrors fit nowhere else.
    Secondaries(Vec<NodeIdx>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NoNodes => "Cannot create node graph",
            Refusal::NonRedundant(_) => "Not enough capacity to move non-redundant instances",
            Refusal::Migration(_) => "Failed to migrate instances off nodes",
            Refusal::Secondaries(_) => "Not enough capacity to move secondaries",
        })
    }
}

impl Refusal {
    /// What exactly, and the way out.
    pub fn explain(&self, cluster: &Cluster) -> String {
        let names = |nodes: &[NodeIdx]| {
            let names: Vec<&str> =
                nodes.iter().map(|node| cluster.nodes[node.at()].name.as_str()).collect();
            names.join(", ")
        };
        match self {
            Refusal::NoNodes => {
                "No node is online, in the group, has one of the tags and, if nodes with \
                 non-redundant instances are skipped, is without such."
                    .into()
            }
            Refusal::NonRedundant(nodes) => format!(
                "What is not redundant on {} has no room on other nodes of the group. Leave these \
                 nodes out (--skip-non-redundant), or reboot with their instances on them \
                 (--ignore-non-redundant).",
                names(nodes)
            ),
            Refusal::Migration(instance) => format!(
                "Instance {} cannot run on its secondary node: too little memory is free there.",
                cluster.instances[instance.at()].name
            ),
            Refusal::Secondaries(nodes) => format!(
                "The mirrors on {} have no room on other nodes of the group. Without \
                 --full-evacuation they stay.",
                names(nodes)
            ),
        }
    }
}

/// Plans reboots. Errors: there is nothing to reboot.
pub fn plan(start: &Placement, options: &Options) -> Result<Reboots, Refusal> {
    let cluster = start.cluster();
    let mut draft = Draft::new(start.clone());
    let wanted = wanted(&draft, options);
    let graph = Graph::of(cluster, &wanted, options.offline_maintenance).ok_or(Refusal::NoNodes)?;
    let colourings: Vec<Colouring> =
        Order::ALL.into_iter().map(|order| colour::colour(&graph, order)).collect();
    let fewest = colourings.iter().min_by_key(|colouring| colouring.classes.len());
    let classes = fewest.map(|colouring| colouring.classes.as_slice()).unwrap_or_default();
    let online = |node: &NodeIdx| !cluster.nodes[node.at()].offline;
    let targets: Vec<NodeIdx> = (0..cluster.nodes.len()).map(NodeIdx::of).filter(online).collect();

    let mut planner = Planner { start, options, targets, groups: vec![], refusal: None };
    for class in classes {
        let class: Vec<NodeIdx> =
            class.iter().copied().filter(|node| wanted.binary_search(node).is_ok()).collect();
        planner.class(&mut draft, class);
    }
    let groups = match planner.refusal {
        Some(refusal) => Err(refusal),
        None => Ok(in_order(cluster, planner.groups)),
    };
    Ok(Reboots { graph, colourings, groups })
}

/// The nodes to reboot, in order.
fn wanted(draft: &Draft, options: &Options) -> Vec<NodeIdx> {
    let nodes = draft.placement().cluster().nodes.iter().enumerate();
    let tagged = |tags: &[String]| {
        options.tags.as_ref().is_none_or(|wanted| tags.iter().any(|tag| wanted.contains(tag)))
    };
    nodes
        .filter(|(_, node)| !node.offline && tagged(&node.tags))
        .filter(|(_, node)| options.group.is_none_or(|group| node.group == group))
        .map(|(at, _)| NodeIdx::of(at))
        .filter(|node| !options.skip_non_redundant || draft.non_redundant(*node).is_empty())
        .collect()
}

struct Planner<'a> {
    start: &'a Placement,
    options: &'a Options,
    targets: Vec<NodeIdx>,
    groups: Vec<RebootGroup>,
    /// The first reason that counts most.
    refusal: Option<Refusal>,
}

impl Planner<'_> {
    fn refuse(&mut self, refusal: Refusal) {
        let counts_more = |known: &Refusal| rank(&refusal) < rank(known);
        if self.refusal.as_ref().is_none_or(counts_more) {
            self.refusal = Some(refusal);
        }
    }

    /// Nodes of one colour.
    fn class(&mut self, draft: &mut Draft, class: Vec<NodeIdx>) {
        if class.is_empty() {
            return;
        }
        if self.options.ignore_non_redundant {
            let mark = draft.mark();
            self.group(draft, class);
            draft.rewind(mark);
            return;
        }
        let targets = self.targets.clone();
        let parted = Clearing::NON_REDUNDANT
            .partition(draft, &class, &targets, |draft, nodes| self.group(draft, nodes));
        if let Err(nodes) = parted {
            self.refuse(Refusal::NonRedundant(nodes));
        }
    }

    /// Nodes that what is not redundant has left.
    fn group(&mut self, draft: &mut Draft, nodes: Vec<NodeIdx>) {
        if !self.options.full_evacuation {
            let moves = self.moves(draft);
            self.groups.push(RebootGroup { nodes, moves });
            return;
        }
        let leaving: Vec<InstanceIdx> =
            nodes.iter().flat_map(|node| draft.redundant(*node)).collect();
        for instance in leaving {
            if draft.fail_over(instance).is_err() {
                self.refuse(Refusal::Migration(instance));
                return;
            }
        }
        let targets = self.targets.clone();
        let parted = Clearing::SECONDARIES.partition(draft, &nodes, &targets, |draft, nodes| {
            let moves = self.moves(draft);
            self.groups.push(RebootGroup { nodes, moves });
        });
        if let Err(nodes) = parted {
            self.refuse(Refusal::Secondaries(nodes));
        }
    }

    /// What is elsewhere than at the start.
    fn moves(&self, draft: &Draft) -> Vec<Relocation> {
        let (start, now) = (self.start, draft.placement());
        let all = (0..start.cluster().instances.len()).map(InstanceIdx::of);
        let moved = all.filter_map(|instance| {
            let was = (start.primary(instance), start.secondary(instance));
            let (primary, secondary) = (now.primary(instance), now.secondary(instance));
            let exchanged = was == (secondary.unwrap_or(NodeIdx::NONE), Some(primary));
            let stayed = was == (primary, secondary) || exchanged;
            (!stayed).then_some(Relocation { instance, primary, secondary })
        });
        moved.collect()
    }
}

/// The reference looks for each kind of trouble everywhere before it looks for the next.
fn rank(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::NoNodes => 0,
        Refusal::NonRedundant(_) => 1,
        Refusal::Migration(_) => 2,
        Refusal::Secondaries(_) => 3,
    }
}

/// The largest first, and the master last of the last.
fn in_order(cluster: &Cluster, mut groups: Vec<RebootGroup>) -> Vec<RebootGroup> {
    let master = |node: &NodeIdx| cluster.nodes[node.at()].master;
    groups.sort_by_key(|group| Reverse(group.nodes.len()));
    for group in &mut groups {
        group.nodes.sort_by_key(master);
    }
    groups.sort_by_key(|group| group.nodes.iter().any(master));
    groups
}
