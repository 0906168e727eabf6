//! Where the instances are, and what that leaves of each node.
//!
//! ```text
//!   Placement ─ begin(instance) ─► Working: up to three nodes in hand ─ remove, add, checked ─► Outcome
//!       ▲                                                                                        │
//!       └───────────────────────────────────── apply ◄───────────── (scored, chosen) ◄───────────┘
//! ```
//!
//! Trying a move costs the same whatever the size of the cluster, and allocates nothing. Source: Ganeti's
//! reference on htools, node state and single operations.

mod behind;
mod burden;
mod node;
mod outcome;
mod seat;
mod working;

pub use node::{Limits, NodeState};
pub use outcome::{Changed, Outcome};
pub use seat::Seat;
pub use working::Working;

use crate::model::{Cluster, Instance, InstanceIdx, NodeIdx, TagRules, missing, shared};
use crate::rules::{self, Rule, Ruling};
use node::Top;
use std::collections::HashMap;
use std::sync::Arc;

/// What may be set about the limits of nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Families of exclusion tags besides those of cluster tags, as prefixes: `service:`.
    pub exclusion_tags: Vec<String>,
    /// The share of a node's disk that soft checks keep free.
    pub min_disk: f64,
    /// Replaces the groups' ratio of virtual to real CPUs.
    pub max_cpu: Option<f64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { exclusion_tags: vec![], min_disk: 0.0, max_cpu: None }
    }
}

/// A placement of all instances of a cluster.
#[derive(Clone, Debug)]
pub struct Placement {
    cluster: Arc<Cluster>,
    rules: TagRules,
    limits: Vec<Limits>,
    primary: Vec<NodeIdx>,
    secondary: Vec<Option<NodeIdx>>,
    nodes: Vec<NodeState>,
    /// By node: the largest of its row of `peers`.
    tops: Vec<Top>,
    /// Row: a node; column: another; memory of the row's secondaries whose primary is the column, MiB.
    peers: Vec<i64>,
    /// By node: how many of its primaries have an exclusion tag.
    tag_counts: Vec<HashMap<u32, u32>>,
    /// How many primaries with an exclusion tag (second) are where a location tag (first) is.
    pairs: HashMap<(u32, u32), u32>,
    ruling: Ruling,
}

impl Placement {
    /// As the cluster is now.
    pub fn new(cluster: impl Into<Arc<Cluster>>, options: &Options) -> Placement {
        let cluster: Arc<Cluster> = cluster.into();
        let rules = TagRules::of(&cluster, &options.exclusion_tags);
        let limits = cluster
            .nodes
            .iter()
            .map(|node| Limits::of(node, &cluster.groups[node.group.at()].policy, options));
        let count = cluster.nodes.len();
        let mut placement = Placement {
            cluster: Arc::clone(&cluster),
            rules,
            limits: limits.collect(),
            primary: cluster.instances.iter().map(|i| i.primary).collect(),
            secondary: cluster.instances.iter().map(|i| i.secondary).collect(),
            nodes: vec![],
            tops: vec![],
            peers: vec![0; count * count],
            tag_counts: vec![HashMap::new(); count],
            pairs: HashMap::new(),
            ruling: Ruling::default(),
        };
        let mut states: Vec<NodeState> = cluster.nodes.iter().map(NodeState::given).collect();
        for (state, load) in states.iter_mut().zip(&cluster.own_cpu_load) {
            state.cpu_load += load;
        }
        let placed = |(_, instance): &(usize, &Instance)| instance.primary != NodeIdx::NONE;
        for (at, instance) in cluster.instances.iter().enumerate().filter(placed) {
            let index = InstanceIdx::of(at);
            let part = placement.location_part(index, instance.primary, instance.secondary);
            states[instance.primary.at()].found_primary(instance, part);
            placement.count_tags(index, instance.primary, true);
            if let Some(secondary) = instance.secondary {
                states[secondary.at()].found_secondary(instance);
                if !instance.forthcoming {
                    let cell = secondary.at() * count + instance.primary.at();
                    placement.peers[cell] += instance.secondary_memory();
                }
            }
        }
        for (at, state) in states.iter_mut().enumerate() {
            let top = placement.top(NodeIdx::of(at));
            state.settle(&cluster.nodes[at], top.without(None, None));
            placement.tops.push(top);
            let counts = placement.tag_counts[at].values();
            state.conflicts = counts.map(|count| i64::from(*count) - 1).sum();
        }
        placement.nodes = states;
        placement.empty_out(&[]);
        placement
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What tags mean.
    pub fn rules(&self) -> &TagRules {
        &self.rules
    }

    /// How its placement rules are kept.
    pub fn ruling(&self) -> &Ruling {
        &self.ruling
    }

    /// These nodes, and no others, are being emptied: what is there has to come away, so that no placement
    /// rule holds it there, nor counts it.
    pub fn empty_out(&mut self, nodes: &[NodeIdx]) {
        let all = (0..self.cluster.nodes.len()).map(NodeIdx::of);
        let offline = all.filter(|node| self.cluster.nodes[node.at()].offline);
        let ignored: Vec<NodeIdx> = offline.chain(nodes.iter().copied()).collect();
        self.discount(&ignored);
    }

    /// What is on these nodes, and on no others, does not count for placement rules. Usually those that are
    /// offline: where nodes are made so only to keep instances away from them, it is said here which are not.
    pub fn discount(&mut self, nodes: &[NodeIdx]) {
        let seat = |instance: InstanceIdx| (self.primary(instance), self.secondary(instance));
        self.ruling = Ruling::new(&self.cluster, seat, nodes.iter().copied());
    }

    /// The hard placement rule that keeps an instance from these nodes, if one does.
    pub fn refusing_rule(
        &self,
        instance: InstanceIdx,
        primary: NodeIdx,
        secondary: Option<NodeIdx>,
    ) -> Option<&Rule> {
        let from = (self.primary(instance), self.secondary(instance));
        let at = self.ruling.refusing(&self.cluster, instance, from, (primary, secondary))?;
        self.cluster.rules.get(at)
    }

    /// An instance as it was given.
    pub fn instance(&self, instance: InstanceIdx) -> &Instance {
        &self.cluster.instances[instance.at()]
    }

    /// Where an instance is; [`NodeIdx::NONE`]: nowhere yet.
    pub fn primary(&self, instance: InstanceIdx) -> NodeIdx {
        self.primary[instance.at()]
    }

    /// Where its mirror is.
    pub fn secondary(&self, instance: InstanceIdx) -> Option<NodeIdx> {
        self.secondary[instance.at()]
    }

    /// What is left of a node.
    pub fn node(&self, node: NodeIdx) -> &NodeState {
        &self.nodes[node.at()]
    }

    /// What a node may be filled to.
    pub fn limits(&self, node: NodeIdx) -> &Limits {
        &self.limits[node.at()]
    }

    /// How often instances with the same exclusion tag meet in the same failure domain.
    pub fn location_conflicts(&self) -> i64 {
        self.pairs.values().map(|count| i64::from(*count) - 1).sum()
    }

    /// Memory that secondaries on `node` need when `peer` fails, MiB.
    pub fn peer_memory(&self, node: NodeIdx, peer: NodeIdx) -> i64 {
        self.peers[node.at() * self.nodes.len() + peer.at()]
    }

    /// Takes an instance in hand, to try where else it could be.
    pub fn begin(&self, instance: InstanceIdx) -> Working<'_> {
        Working::new(self, instance)
    }

    /// How far from what it wants an instance is on a pair of nodes: failure domains that both are in,
    /// and desired places that the primary is not in.
    pub fn location_part(
        &self,
        instance: InstanceIdx,
        primary: NodeIdx,
        secondary: Option<NodeIdx>,
    ) -> i64 {
        let rules = &self.rules;
        let desired = &rules.desired[instance.at()];
        if !rules.has_locations && desired.is_empty() {
            return 0;
        }
        let here = &rules.location[primary.at()];
        let there = secondary.map(|node| &rules.location[node.at()]);
        there.map_or(0, |there| shared(here, there)) + missing(desired, here)
    }

    /// The change does happen.
    pub fn apply(&mut self, instance: InstanceIdx, outcome: &Outcome) {
        let given = self.instance(instance);
        let (forthcoming, memory) = (given.forthcoming, given.secondary_memory());
        let (old, new) = (self.primary(instance), outcome.primary);
        if old != new {
            for (node, comes) in [(old, false), (new, true)] {
                if node != NodeIdx::NONE {
                    self.count_tags(instance, node, comes);
                }
            }
        }
        for changed in outcome.changed() {
            self.nodes[changed.node.at()] = changed.state;
        }
        let (from, to) = ((old, self.secondary(instance)), (new, outcome.secondary));
        self.ruling.apply(&self.cluster, instance, from, to);
        if !forthcoming {
            let count = self.nodes.len();
            for (primary, secondary, by) in
                [(old, self.secondary(instance), -memory), (new, outcome.secondary, memory)]
            {
                if let Some(secondary) = secondary {
                    let row = &mut self.peers[secondary.at() * count..][..count];
                    row[primary.at()] += by;
                    self.tops[secondary.at()].update(primary, row);
                }
            }
        }
        self.primary[instance.at()] = outcome.primary;
        self.secondary[instance.at()] = outcome.secondary;
    }

    /// One more instance; it has no place yet.
    pub fn add(&mut self, mut instance: Instance) -> InstanceIdx {
        (instance.primary, instance.secondary) = (NodeIdx::NONE, None);
        self.rules.add_instance(&instance.tags);
        self.primary.push(NodeIdx::NONE);
        self.secondary.push(None);
        let index = InstanceIdx::of(self.cluster.instances.len());
        let cluster = Arc::make_mut(&mut self.cluster);
        let rules = rules::join(&mut cluster.rules, index, &instance);
        cluster.instances.push(instance);
        self.ruling.add(rules);
        index
    }

    /// The instance given a size or a template of its own while it has no place: what else it was asked for
    /// stays.
    pub fn change_unplaced(&mut self, instance: InstanceIdx, change: impl FnOnce(&mut Instance)) {
        debug_assert_eq!(self.primary(instance), NodeIdx::NONE, "its node would not know");
        let cluster = Arc::make_mut(&mut self.cluster);
        change(&mut cluster.instances[instance.at()]);
        if !cluster.rules.is_empty() {
            rules::leave(&mut cluster.rules, instance);
            let rules =
                rules::join(&mut cluster.rules, instance, &cluster.instances[instance.at()]);
            self.ruling.change_member(instance, rules);
        }
    }

    /// The cluster as it would be given if it were like this: instances where they are now, nodes with what
    /// they would report.
    pub fn to_cluster(&self) -> Cluster {
        let mut cluster = Cluster::clone(&self.cluster);
        for (at, instance) in cluster.instances.iter_mut().enumerate() {
            let (was, is) = (instance.primary, self.primary[at]);
            if instance.uses_memory() {
                for (node, sign) in [(was, 1), (is, -1)] {
                    if node != NodeIdx::NONE {
                        cluster.nodes[node.at()].free_memory += sign * instance.memory;
                    }
                }
            }
            (instance.primary, instance.secondary) = (is, self.secondary[at]);
        }
        for (node, state) in cluster.nodes.iter_mut().zip(&self.nodes) {
            node.free_disk = state.free_disk;
            node.free_spindles = state.free_spindles;
        }
        cluster
    }

    /// The largest shares of a node's reserved memory.
    fn top(&self, node: NodeIdx) -> Top {
        let count = self.cluster.nodes.len();
        Top::of(&self.peers[node.at() * count..(node.at() + 1) * count])
    }

    fn count_tags(&mut self, instance: InstanceIdx, node: NodeIdx, comes: bool) {
        fn change<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, comes: bool) {
            if comes {
                *counts.entry(key).or_insert(0) += 1;
            } else if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
        let forthcoming = self.instance(instance).forthcoming;
        let mut pairs = std::mem::take(&mut self.pairs);
        for tag in &self.rules.exclusion[instance.at()] {
            change(&mut self.tag_counts[node.at()], *tag, comes);
            for place in self.domains(node).iter().filter(|_| !forthcoming) {
                change(&mut pairs, (*place, *tag), comes);
            }
        }
        self.pairs = pairs;
    }

    /// The failure domains in which a node's primaries meet: offline nodes have none.
    fn domains(&self, node: NodeIdx) -> &[u32] {
        match self.cluster.nodes[node.at()].offline {
            true => &[],
            false => &self.rules.location[node.at()],
        }
    }

    fn tag_count(&self, node: NodeIdx, tag: u32) -> u32 {
        self.tag_counts[node.at()].get(&tag).copied().unwrap_or(0)
    }

    fn pair_count(&self, place: u32, tag: u32) -> u32 {
        self.pairs.get(&(place, tag)).copied().unwrap_or(0)
    }
}
