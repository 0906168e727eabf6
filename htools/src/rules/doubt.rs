//! Rules that no placement can keep, or that do nothing.

use super::{Rule, Shape};
use crate::model::{Cluster, DiskTemplate, NodeIdx};
use roost_proto::placement::Domain;

/// What is doubtful about the cluster's rules: a sentence each, without a full stop, and the position of the
/// rule in the cluster's.
pub fn doubts(cluster: &Cluster) -> Vec<(usize, String)> {
    let mut found = vec![];
    for (at, rule) in cluster.rules.iter().enumerate() {
        if rule.members.is_empty() {
            found.push((at, "it is about no instance that is there".to_owned()));
        }
        found.extend(alone(cluster, rule).map(|text| (at, text)));
        let others = cluster.rules[..at].iter();
        found.extend(
            others.filter_map(|other| between(cluster, rule, other)).map(|text| (at, text)),
        );
    }
    found
}

/// A rule by itself.
fn alone(cluster: &Cluster, rule: &Rule) -> Option<String> {
    match &rule.shape {
        Shape::Only(allowed) => {
            let nodes = allowed.iter().filter(|allowed| **allowed).count();
            let drbd = |member: &crate::model::InstanceIdx| {
                cluster.instances[member.at()].template == DiskTemplate::Drbd
            };
            match nodes {
                0 => Some("there is no such node".into()),
                1 if rule.members.iter().any(drbd) => {
                    Some("there is only one such node, and mirrored disks need two".into())
                }
                _ => None,
            }
        }
        Shape::Apart(domains) => {
            let (members, places) = (rule.members.len(), domains.count());
            (rule.is_hard() && members > places).then(|| match &rule.spec.domain {
                Domain::Node => format!("it is about {members} instances, but there are {places} nodes"),
                Domain::Group => {
                    format!("it is about {members} instances, but there are {places} node groups")
                }
                Domain::Tag(family) => format!(
                    "it is about {members} instances, but by the tags {family}:… there are {places} places"
                ),
            })
        }
        Shape::Together(_) => None,
    }
}

/// Two hard rules that contradict each other.
fn between(cluster: &Cluster, rule: &Rule, other: &Rule) -> Option<String> {
    if !rule.is_hard() || !other.is_hard() {
        return None;
    }
    let mut shared =
        rule.members.iter().filter(|member| other.members.binary_search(member).is_ok());
    match (&rule.shape, &other.shape) {
        (Shape::Only(one), Shape::Only(two)) => {
            let first = shared.next()?;
            if one.iter().zip(two).any(|(one, two)| *one && *two) {
                return None;
            }
            let name = &cluster.instances[first.at()].name;
            Some(format!("with rule '{}' there is no node left for {name}", other.spec.name))
        }
        (Shape::Together(together), Shape::Apart(apart))
        | (Shape::Apart(apart), Shape::Together(together)) => {
            let (first, second) = (shared.next()?, shared.next()?);
            // In one place of the one kind there may be several of the other.
            let nodes = || (0..cluster.nodes.len()).map(NodeIdx::of);
            let room = nodes().any(|one| {
                nodes().any(|two| {
                    together.of(one) == together.of(two) && apart.of(one) != apart.of(two)
                })
            });
            let name = |at: &crate::model::InstanceIdx| cluster.instances[at.at()].name.clone();
            (!room).then(|| {
                format!(
                    "it contradicts rule '{}': {} and {} cannot be together and apart",
                    other.spec.name,
                    name(first),
                    name(second)
                )
            })
        }
        _ => None,
    }
}
