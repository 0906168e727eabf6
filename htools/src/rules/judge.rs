//! Which rules hold, and who breaks those that do not.

use super::{Rule, Seat, Shape};
use crate::model::{Cluster, InstanceIdx, NodeIdx};
use std::collections::BTreeMap;

/// What becomes of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How badly it is broken, in the units of the module above; 0: it holds.
    pub broken: i64,
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// The instances that break it, in order, each once.
    pub fn instances(&self) -> Vec<InstanceIdx> {
        let mut all: Vec<_> =
            self.problems.iter().flat_map(|problem| &problem.instances).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Instances that break a rule together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub instances: Vec<InstanceIdx>,
    /// A sentence without a full stop.
    pub text: String,
}

/// Each of the cluster's rules. Slow and simple: what counters keep is held against it.
pub fn judge(cluster: &Cluster) -> Vec<Verdict> {
    cluster.rules.iter().map(|rule| Bench { cluster, rule }.verdict()).collect()
}

struct Bench<'a> {
    cluster: &'a Cluster,
    rule: &'a Rule,
}

impl Bench<'_> {
    fn counts(&self, node: NodeIdx) -> bool {
        node != NodeIdx::NONE && !self.cluster.nodes[node.at()].offline
    }

    fn seat(&self, member: InstanceIdx) -> Seat {
        let instance = &self.cluster.instances[member.at()];
        let secondary = instance.secondary.filter(|node| self.counts(*node));
        match self.counts(instance.primary) {
            true => (instance.primary, secondary),
            false => (NodeIdx::NONE, secondary),
        }
    }

    fn name(&self, member: InstanceIdx) -> &str {
        &self.cluster.instances[member.at()].name
    }

    fn node(&self, node: NodeIdx) -> &str {
        &self.cluster.nodes[node.at()].name
    }

    fn verdict(&self) -> Verdict {
        match &self.rule.shape {
            Shape::Together(domains) => self.together(&domains.of, &domains.names),
            Shape::Apart(domains) => self.apart(&domains.of, &domains.names),
            Shape::Only(allowed) => self.only(allowed),
        }
    }

    /// Members with a place, by the place of their primary.
    fn by_place(&self, places: &[u32]) -> BTreeMap<u32, Vec<InstanceIdx>> {
        let mut found: BTreeMap<u32, Vec<InstanceIdx>> = BTreeMap::new();
        for &member in &self.rule.members {
            let (primary, _) = self.seat(member);
            if primary != NodeIdx::NONE {
                found.entry(places[primary.at()]).or_default().push(member);
            }
        }
        found
    }

    /// `on node1`, `in rack:a`.
    fn place(&self, name: &str) -> String {
        let node = self.cluster.nodes.iter().any(|node| node.name == name);
        format!("{} {name}", if node { "on" } else { "in" })
    }

    fn together(&self, places: &[u32], names: &[String]) -> Verdict {
        let found = self.by_place(places);
        let most = found.values().map(Vec::len).max().unwrap_or(0);
        let Some((home, _)) = found.iter().find(|(_, members)| members.len() == most) else {
            return Verdict { broken: 0, problems: vec![] };
        };
        let strays = found.iter().filter(|(place, _)| *place != home);
        let problems: Vec<Problem> = strays
            .flat_map(|(place, members)| members.iter().map(move |member| (*place, *member)))
            .map(|(place, member)| Problem {
                instances: vec![member],
                text: format!(
                    "{} is {}, {} {}",
                    self.name(member),
                    self.place(&names[place as usize]),
                    match most {
                        1 => format!("but {} is", self.name(found[home][0])),
                        _ => format!("but {most} others are"),
                    },
                    self.place(&names[*home as usize]),
                ),
            })
            .collect();
        Verdict { broken: problems.len() as i64, problems }
    }

    fn apart(&self, places: &[u32], names: &[String]) -> Verdict {
        let found = self.by_place(places);
        let mut verdict = Verdict { broken: 0, problems: vec![] };
        for (place, members) in found.iter().filter(|(_, members)| members.len() > 1) {
            let all: Vec<_> = members.iter().map(|member| self.name(*member)).collect();
            let place = self.place(&names[*place as usize]);
            verdict.broken += (members.len() * (members.len() - 1) / 2) as i64;
            verdict.problems.push(Problem {
                instances: members.clone(),
                text: format!("{} are {place}", all.join(", ")),
            });
        }
        if !self.rule.spec.mirrors {
            return verdict;
        }
        for &member in &self.rule.members {
            let (_, Some(mirror)) = self.seat(member) else { continue };
            let place = places[mirror.at()];
            let there = found.get(&place).map_or(&[][..], Vec::as_slice);
            let others: Vec<_> = there.iter().copied().filter(|other| *other != member).collect();
            let Some(first) = others.first() else { continue };
            verdict.broken += others.len() as i64;
            let rest = match others.len() {
                1 => format!("{} is", self.name(*first)),
                count => format!("{} and {} more are", self.name(*first), count - 1),
            };
            verdict.problems.push(Problem {
                instances: [&[member], others.as_slice()].concat(),
                text: format!(
                    "the mirror of {} is {}, where {rest}",
                    self.name(member),
                    self.place(&names[place as usize]),
                ),
            });
        }
        verdict
    }

    fn only(&self, allowed: &[bool]) -> Verdict {
        let mut problems = vec![];
        for &member in &self.rule.members {
            let (primary, secondary) = self.seat(member);
            let wrong = |node: NodeIdx| node != NodeIdx::NONE && !allowed[node.at()];
            if wrong(primary) {
                let text = format!("{} is on {}", self.name(member), self.node(primary));
                problems.push(Problem { instances: vec![member], text });
            }
            if let Some(node) = secondary.filter(|node| wrong(*node)) {
                let text = format!("the mirror of {} is on {}", self.name(member), self.node(node));
                problems.push(Problem { instances: vec![member], text });
            }
        }
        Verdict { broken: problems.len() as i64, problems }
    }
}
