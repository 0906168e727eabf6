//! Which nodes can be switched off, or have to be switched on.
//!
//! ```text
//!   every online node has room for `minimal` × the standard instance?
//!      no  ─► switch on the first of the nodes on standby, as many as it takes
//!      yes ─► switch off as many as leave room for `target` × the standard instance on all others
//! ```
//!
//! Whether it is enough is seen after balancing, in each node group. On standby are nodes that are offline and
//! have a tag `htools:standby:…`. Switched off can be nodes that nothing has to be copied from: all their
//! instances have storage that other nodes reach, and they are nobody's secondary. Source: Ganeti's reference on
//! htools, hsqueeze. The reference also asks for room on nodes that are off, and moves instances between groups.

use crate::balance::{self, Algorithm, Scope, Selection, Step};
use crate::model::{
    Cluster, DiskTemplate, GroupIdx, Instance, InstanceSpec, NodeIdx, Status, Utilisation,
};
use crate::state::{self, Outcome, Placement};
use std::cmp::Reverse;

/// The tag of nodes that were switched off by such a plan.
pub const STANDBY_AUTO: &str = "htools:standby:auto";
/// How tags of nodes on standby begin.
const STANDBY: &str = "htools:standby:";

/// How much room there has to be on each node, in standard instances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// With less than that, nodes are switched on.
    pub minimal: f64,
    /// That much is left when nodes are switched off.
    pub target: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options { minimal: 2.0, target: 2.0 }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Switch on, then move instances.
    Online,
    /// Move instances, then switch off.
    Offline,
    Nothing,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    pub action: Action,
    pub nodes: Vec<NodeIdx>,
    pub steps: Vec<Step>,
    /// Whether there is room enough in the end.
    pub enough: bool,
    /// The cluster after it.
    pub after: Cluster,
    /// Nodes that might be switched off, the fullest first.
    pub offline_candidates: Vec<NodeIdx>,
    /// Nodes on standby.
    pub online_candidates: Vec<NodeIdx>,
}

/// Plans what to switch off or on.
pub fn plan(cluster: &Cluster, settings: &state::Options, options: Options) -> Plan {
    let squeeze = Squeeze { cluster, settings };
    let start = Placement::new(cluster.clone(), settings);
    let offline_candidates = offline_candidates(cluster);
    let online_candidates = online_candidates(cluster);
    let result = |action, nodes, enough, balanced: Balanced| Plan {
        action,
        nodes,
        enough,
        steps: balanced.steps,
        after: balanced.placement.to_cluster(),
        offline_candidates: offline_candidates.clone(),
        online_candidates: online_candidates.clone(),
    };
    let minimal = probe(&cluster.policy.standard, options.minimal);
    if !has_room(&start, &minimal) {
        for count in 0..=online_candidates.len() {
            let nodes = &online_candidates[..count];
            let balanced = squeeze.balanced(nodes, false);
            let enough = balanced.suffices(&minimal);
            if enough || count == online_candidates.len() {
                return result(Action::Online, nodes.to_vec(), enough, balanced);
            }
        }
    }
    let target = probe(&cluster.policy.standard, options.target);
    let mut off: Vec<NodeIdx> = vec![];
    for &node in offline_candidates.iter().rev() {
        off.insert(0, node);
        if !squeeze.balanced(&off, true).suffices(&target) {
            off.remove(0);
        }
    }
    if off.is_empty() {
        let nothing = Balanced { placement: start, steps: vec![] };
        return result(Action::Nothing, off, true, nothing);
    }
    let balanced = squeeze.balanced(&off, true);
    result(Action::Offline, off, true, balanced)
}

/// Online, not the master, nobody's secondary, without storage of their own in use; most primaries first.
fn offline_candidates(cluster: &Cluster) -> Vec<NodeIdx> {
    let mut primaries = vec![0_usize; cluster.nodes.len()];
    let mut tied = vec![false; cluster.nodes.len()];
    for instance in cluster.instances.iter().filter(|i| i.primary != NodeIdx::NONE) {
        if instance.forthcoming {
            continue;
        }
        primaries[instance.primary.at()] += 1;
        tied[instance.primary.at()] |= instance.template.uses_lvm();
        if let Some(secondary) = instance.secondary {
            tied[secondary.at()] = true;
        }
    }
    let nodes = cluster.nodes.iter().enumerate();
    let mut candidates: Vec<NodeIdx> = nodes
        .filter(|(at, node)| !node.offline && !node.master && !tied[*at])
        .map(|(at, _)| NodeIdx::of(at))
        .collect();
    candidates.sort_by_key(|node| Reverse(primaries[node.at()]));
    candidates
}

fn online_candidates(cluster: &Cluster) -> Vec<NodeIdx> {
    let standby = |tag: &String| tag.starts_with(STANDBY);
    let nodes = cluster.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| node.offline && node.tags.iter().any(standby))
        .map(|(at, _)| NodeIdx::of(at))
        .collect()
}

/// An instance that is so many standard ones.
fn probe(standard: &InstanceSpec, factor: f64) -> Instance {
    let times = |amount: i64| (factor * amount as f64).floor() as i64;
    Instance {
        name: "room".into(),
        memory: times(standard.memory),
        disk: 0,
        disks: vec![],
        vcpus: times(standard.cpus),
        status: Status::Running,
        auto_balance: false,
        primary: NodeIdx::NONE,
        secondary: None,
        template: DiskTemplate::Ext,
        tags: vec![],
        spindle_use: times(standard.spindles),
        forthcoming: false,
        utilisation: Utilisation::ONE,
        networks: vec![],
    }
}

/// Whether every online node takes one more instance.
fn has_room(placement: &Placement, instance: &Instance) -> bool {
    let mut placement = placement.clone();
    let index = placement.add(instance.clone());
    let working = placement.begin(index);
    let mut outcome = Outcome::default();
    let nodes = placement.cluster().nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| !node.offline)
        .all(|(at, _)| working.place(NodeIdx::of(at), None, (false, false), &mut outcome).is_ok())
}

struct Squeeze<'a> {
    cluster: &'a Cluster,
    settings: &'a state::Options,
}

/// A placement that no single move makes better, and how it came to be.
struct Balanced {
    placement: Placement,
    steps: Vec<Step>,
}

impl Squeeze<'_> {
    /// With these nodes offline, or online.
    fn balanced(&self, nodes: &[NodeIdx], offline: bool) -> Balanced {
        let mut cluster = self.cluster.clone();
        nodes.iter().for_each(|node| cluster.nodes[node.at()].offline = offline);
        let options = balance::Options {
            algorithm: Algorithm::Greedy,
            enough: f64::NEG_INFINITY,
            min_gain: 0.0,
            min_gain_limit: 0.0,
            ..balance::Options::default()
        };
        let groups = cluster.groups.len();
        let start = Placement::new(cluster, self.settings);
        let mut balanced = Balanced { placement: start, steps: vec![] };
        for group in (0..groups).map(GroupIdx::of) {
            let scope = Scope::of(balanced.placement.cluster(), group, &Selection::default());
            let plan = balance::plan(&balanced.placement, &scope, &options);
            balanced.steps.extend(plan.steps);
            balanced.placement = plan.placement;
        }
        balanced
    }
}

impl Balanced {
    /// Whether all instances are on online nodes, which have room for one more each.
    fn suffices(&self, instance: &Instance) -> bool {
        let cluster = self.placement.cluster();
        let all = (0..cluster.instances.len()).map(crate::model::InstanceIdx::of);
        let online = |node: NodeIdx| node == NodeIdx::NONE || !cluster.nodes[node.at()].offline;
        all.into_iter().all(|index| online(self.placement.primary(index)))
            && has_room(&self.placement, instance)
    }
}
