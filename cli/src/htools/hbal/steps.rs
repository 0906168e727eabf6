//! Steps as they are printed, and why they are made.

use super::Group;
use roost_htools::balance::{Instead, Options, Step, explain};
use roost_htools::fail::FailMode;
use roost_htools::model::{Cluster, NodeIdx};
use roost_htools::names::ShortNames;
use roost_htools::state::{Outcome, Placement, Seat};
use roost_htools::tables::decimals;

/// Other nodes that are named as nearly as good.
const NEXT_BEST: usize = 3;

/// How steps are printed: columns as wide as the group's longest names.
pub struct StepLines<'a> {
    group: &'a Group,
    instance: usize,
    seat: usize,
}

impl StepLines<'_> {
    /// For the steps of a group's plan.
    pub fn of<'a>(cluster: &Cluster, group: &'a Group) -> StepLines<'a> {
        let names = &group.names;
        let width = |name: &str| names.show(name).chars().count();
        let instances = group.instances.iter();
        let instance = instances.map(|i| width(&cluster.instances[i.at()].name)).max().unwrap_or(0);
        let nodes = group.scope.nodes.iter();
        let node = nodes.map(|n| width(&cluster.nodes[n.at()].name)).max().unwrap_or(0);
        StepLines { group, instance, seat: 2 * node + 1 }
    }

    fn names(&self) -> &ShortNames {
        &self.group.names
    }

    /// A step in a line.
    pub fn line(&self, cluster: &Cluster, number: usize, step: &Step) -> String {
        let node = |node: NodeIdx| self.names().show(&cluster.nodes[node.at()].name).to_owned();
        let seat = |seat: Seat| match seat.secondary {
            Some(secondary) => format!("{}:{}", node(seat.primary), node(secondary)),
            None => node(seat.primary),
        };
        let name = self.names().show(&cluster.instances[step.what.instance.at()].name);
        let (wide, width) = (self.seat, self.instance);
        let (from, to, score) = (seat(step.from), seat(step.to), decimals(step.score, 8));
        let how = step.what.kind.steps(node);
        format!("  {number:3}. {name:width$} {from:wide$} => {to:wide$} {score:>12} a={how}")
    }

    /// Why a step is made, and why not to another node: a line for each thing. `before` becomes what it is
    /// after the step.
    pub fn explain(&self, before: &mut Placement, options: &Options, step: &Step) -> Vec<String> {
        let why = explain(before, &self.group.scope, options, step);
        let name =
            |node: NodeIdx| self.names().show(&before.cluster().nodes[node.at()].name).to_owned();
        let mut lines = vec![];
        let (better, worse): (Vec<_>, Vec<_>) = why
            .terms
            .iter()
            .map(|(term, was, is)| (term.as_str(), is - was))
            .partition(|t| t.1 < 0.0);
        for (word, terms) in [("better", better), ("worse", worse)] {
            let terms: Vec<String> =
                terms.iter().map(|(term, by)| format!("{term} {}", signed(*by))).collect();
            lines.extend((!terms.is_empty()).then(|| format!("{word}: {}", terms.join(", "))));
        }
        let mut possible: Vec<(f64, NodeIdx)> = vec![];
        let mut refused: Vec<(FailMode, Vec<String>)> = vec![];
        for (node, instead) in why.others {
            match instead {
                Instead::Possible(score) => possible.push((score, node)),
                Instead::Refused(check) => match refused.iter_mut().find(|r| r.0 == check) {
                    Some((_, nodes)) => nodes.push(name(node)),
                    None => refused.push((check, vec![name(node)])),
                },
            }
        }
        possible.sort_by(|one, other| one.0.total_cmp(&other.0));
        let next: Vec<String> = possible
            .iter()
            .take(NEXT_BEST)
            .map(|(score, node)| format!("{} {}", name(*node), decimals(*score, 8)))
            .collect();
        lines.extend((!next.is_empty()).then(|| format!("instead: {}", next.join(", "))));
        refused.sort_by_key(|(check, _)| *check);
        lines.extend(refused.iter().map(|(check, nodes)| format!("{check}: {}", nodes.join(", "))));
        self.make(before, options, step);
        lines.iter().map(|line| format!("         {line}")).collect()
    }

    fn make(&self, placement: &mut Placement, options: &Options, step: &Step) {
        let mut out = Outcome::default();
        let working = placement.begin(step.what.instance);
        if step.what.kind.attempt(&working, options.ignore_soft_errors, &mut out).is_ok() {
            placement.apply(step.what.instance, &out);
        }
    }
}

fn signed(number: f64) -> String {
    let digits = decimals(number, 8);
    if number > 0.0 { format!("+{digits}") } else { digits }
}
