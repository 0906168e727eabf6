//! Placement rules: instances together, apart, on some nodes only, or rather there.
//!
//! ```text
//!   RuleSpec (words, filters) ─ resolve ─► Rule: members, places ─► Ruling: counters, kept as instances move
//!                                            └─► judge: who breaks it    └─► what a move breaks or mends
//! ```
//!
//! A hard rule refuses whatever breaks it further; what is broken already does not keep anything from being
//! done that mends it or leaves it as it is. All rules count in the score, so that plans mend them. What is on
//! a node that is offline or being emptied does not count: it has to come away, wherever to.
//!
//! How badly a rule is broken: `together`, the members outside of the place where most are; `apart`, the pairs
//! that meet; `only-on` and `prefer`, the sides (primary, mirror) that are on other nodes.

mod doubt;
mod file;
mod judge;
mod ruling;
mod tally;

pub use doubt::doubts;
pub use file::read;
pub use judge::{Problem, Verdict, judge};
pub use ruling::{HARD_WEIGHT, Ruling};

use crate::model::{Cluster, Instance, InstanceIdx, Node, NodeIdx};
use roost_proto::choices::RuleKind;
use roost_proto::error::Result;
use roost_proto::placement::{Domain, RuleFilters, RuleSpec, Strength};
use roost_proto::query::Cell;
use std::collections::BTreeMap;

/// Where an instance is: its primary ([`NodeIdx::NONE`]: nowhere yet) and its secondary.
type Seat = (NodeIdx, Option<NodeIdx>);

/// A rule, and whom it is about in a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub spec: RuleSpec,
    /// In order.
    pub members: Vec<InstanceIdx>,
    pub shape: Shape,
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Together(Domains),
    Apart(Domains),
    /// By node: whether the members may be there.
    Only(Vec<bool>),
}

/// What counts as one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Domains {
    /// By node: its place. Every node is in one; it has one of its own if it has no tag of the family.
    of: Vec<u32>,
    names: Vec<String>,
}

impl Domains {
    fn new(cluster: &Cluster, domain: &Domain) -> Domains {
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        let mut domains = Domains { of: vec![], names: vec![] };
        for node in &cluster.nodes {
            let name = match domain {
                Domain::Node => None,
                Domain::Group => Some(cluster.groups[node.group.at()].name.clone()),
                Domain::Tag(family) => {
                    let within = |tag: &&String| {
                        tag.strip_prefix(family.as_str()).is_some_and(|rest| rest.starts_with(':'))
                    };
                    node.tags.iter().filter(within).min().cloned()
                }
            };
            // Names of nodes have no colon, so that none is taken for a tag.
            let name = name.unwrap_or_else(|| node.name.clone());
            let next = u32::try_from(domains.names.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(name.clone()).or_insert(next);
            if number == next {
                domains.names.push(name);
            }
            domains.of.push(number);
        }
        domains
    }

    fn of(&self, node: NodeIdx) -> u32 {
        self.of[node.at()]
    }

    fn count(&self) -> usize {
        self.names.len()
    }
}

impl Rule {
    /// A rule in a cluster. Errors: what it says makes no sense.
    pub fn resolve(cluster: &Cluster, spec: &RuleSpec) -> Result<Rule> {
        let filters = spec.filters()?;
        let found = |(_, instance): &(usize, &Instance)| concerns(&filters, instance);
        let members = cluster.instances.iter().enumerate().filter(found);
        let shape = match spec.kind {
            RuleKind::Together => Shape::Together(Domains::new(cluster, &spec.domain)),
            RuleKind::Apart => Shape::Apart(Domains::new(cluster, &spec.domain)),
            RuleKind::OnlyOn | RuleKind::Prefer => Shape::Only(
                cluster.nodes.iter().map(|node| admits(&filters, cluster, node)).collect(),
            ),
        };
        let members = members.map(|(at, _)| InstanceIdx::of(at)).collect();
        Ok(Rule { spec: spec.clone(), members, shape })
    }

    /// Whether it must hold.
    pub fn is_hard(&self) -> bool {
        self.spec.strength() == Strength::Hard
    }

    /// Whether it is about an instance.
    pub fn concerns(&self, instance: &Instance) -> bool {
        self.spec.filters().is_ok_and(|filters| concerns(&filters, instance))
    }
}

/// The rules that are enabled, in a cluster. Errors: the first that makes no sense.
pub fn resolve(cluster: &Cluster, specs: &[RuleSpec]) -> Result<Vec<Rule>> {
    specs.iter().filter(|spec| spec.enabled).map(|spec| Rule::resolve(cluster, spec)).collect()
}

/// An instance becomes a member of the rules that are about it: their positions.
pub(crate) fn join(rules: &mut [Rule], index: InstanceIdx, instance: &Instance) -> Vec<u32> {
    let mut joined = vec![];
    for (at, rule) in rules.iter_mut().enumerate().filter(|(_, rule)| rule.concerns(instance)) {
        if let Err(place) = rule.members.binary_search(&index) {
            rule.members.insert(place, index);
        }
        joined.push(u32::try_from(at).unwrap_or(u32::MAX));
    }
    joined
}

/// The opposite.
pub(crate) fn leave(rules: &mut [Rule], index: InstanceIdx) {
    rules.iter_mut().for_each(|rule| rule.members.retain(|member| *member != index));
}

fn concerns(filters: &RuleFilters, instance: &Instance) -> bool {
    let cell = |field: &&str| match *field {
        "name" => Cell::new(instance.name.as_str()),
        "tags" => Cell::list(instance.tags.iter().map(String::as_str)),
        "disk_template" => Cell::new(instance.template.as_str()),
        "be/maxmem" => Cell::new(instance.memory),
        "be/vcpus" => Cell::new(instance.vcpus),
        "be/spindle_use" => Cell::new(instance.spindle_use),
        "be/auto_balance" => Cell::new(instance.auto_balance),
        _ => Cell::UNKNOWN,
    };
    // What a filter says was checked against the fields: no value can surprise it.
    filters.instances.holds(cell).unwrap_or(false)
}

fn admits(filters: &RuleFilters, cluster: &Cluster, node: &Node) -> bool {
    let cell = |field: &&str| match *field {
        "name" => Cell::new(node.name.as_str()),
        "tags" => Cell::list(node.tags.iter().map(String::as_str)),
        "group" => Cell::new(cluster.groups[node.group.at()].name.as_str()),
        _ => Cell::UNKNOWN,
    };
    filters.nodes.as_ref().is_some_and(|nodes| nodes.holds(cell).unwrap_or(false))
}

#[cfg(test)]
mod tests;
