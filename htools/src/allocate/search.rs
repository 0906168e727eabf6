//! Trying every candidate for one instance.

use super::dedicated::{fitting, smallest};
use super::{Failures, Rules};
use crate::fail::FailMode;
use crate::model::{Cluster, DiskTemplate, GroupIdx, InstanceIdx, NodeIdx};
use crate::score::Scorer;
use crate::state::{Outcome, Placement, Working};
use std::cmp::Ordering;

/// Scores closer than this are compared as the reference computes them.
const CLOSE: f64 = 1e-9;

/// How good a place is; less is better.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// The score of the cluster with it.
    Score(f64),
    /// Instances of the policy's smallest sizes that no longer fit, and the disk that is left, MiB.
    Lost(Vec<i64>, i64),
}

impl Metric {
    /// The score, where it counts.
    pub fn score(&self) -> Option<f64> {
        match self {
            Metric::Score(score) => Some(*score),
            Metric::Lost(..) => None,
        }
    }

    /// As it is shown.
    pub fn show(&self) -> String {
        match self {
            Metric::Score(score) => format!("{score:.8}"),
            Metric::Lost(lost, disk) => {
                let lost: Vec<String> = lost.iter().map(i64::to_string).collect();
                format!("([{}],{disk})", lost.join(","))
            }
        }
    }
}

impl PartialOrd for Metric {
    fn partial_cmp(&self, other: &Metric) -> Option<Ordering> {
        match (self, other) {
            (Metric::Score(one), Metric::Score(other)) => one.partial_cmp(other),
            (Metric::Lost(one, disk), Metric::Lost(other, left)) => {
                Some((one, disk).cmp(&(other, left)))
            }
            _ => None,
        }
    }
}

/// What became of the candidates of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Tried {
    pub failures: Failures,
    pub successes: u64,
    pub best: Option<(Metric, Outcome)>,
}

impl Tried {
    pub fn metric(&self) -> Option<&Metric> {
        self.best.as_ref().map(|(metric, _)| metric)
    }

    /// For people.
    pub fn describe(&self, cluster: &Cluster) -> String {
        let Tried { failures, successes, best } = self;
        let Some((metric, outcome)) = best else {
            let why = match failures.total() {
                0 => "unknown reasons".to_owned(),
                _ => failures.to_string(),
            };
            return format!("No valid allocation solutions, failure reasons: {why}");
        };
        let nodes = std::iter::once(outcome.primary).chain(outcome.secondary);
        let names: Vec<&str> = nodes.map(|node| cluster.nodes[node.at()].name.as_str()).collect();
        format!(
            "score: {}, successes {successes}, failures {} ({failures}) for node(s) {}",
            metric.show(),
            failures.total(),
            names.join("/")
        )
    }
}

/// An instance, and what its candidates are judged by.
pub(super) struct Search<'p> {
    placement: &'p Placement,
    instance: InstanceIdx,
    working: Working<'p>,
    scorer: Scorer,
    /// Whether what can be placed afterwards counts instead of the score.
    dedicated: bool,
    force: bool,
}

impl<'p> Search<'p> {
    /// `scope`: the nodes whose score counts; those of `group`, if it is one.
    pub fn new(
        placement: &'p Placement,
        instance: InstanceIdx,
        scope: Vec<NodeIdx>,
        group: Option<GroupIdx>,
        dedicated: bool,
        rules: &Rules,
    ) -> Search<'p> {
        let _ = group;
        Search {
            placement,
            instance,
            working: placement.begin(instance),
            scorer: Scorer::new(placement, scope),
            dedicated,
            force: rules.ignore_soft_errors,
        }
    }

    /// Where everything is.
    pub fn placement(&self) -> &'p Placement {
        self.placement
    }

    fn admits(&self, node: NodeIdx) -> Result<(), FailMode> {
        let cluster = self.placement.cluster();
        let exclusive = cluster.nodes[node.at()].exclusive_storage;
        cluster.group_of(node).policy.admits(self.placement.instance(self.instance), exclusive)
    }

    /// Every node alone.
    pub fn single(&self, nodes: &[NodeIdx]) -> Tried {
        let mut best = Best::new(self);
        let mut outcome = Outcome::default();
        for &node in nodes {
            let checked = self
                .admits(node)
                .and_then(|()| self.working.place(node, None, (self.force, false), &mut outcome));
            best.offer(checked, &outcome);
        }
        best.ends()
    }

    /// Every pair of nodes.
    pub fn pair(&self, nodes: &[NodeIdx]) -> Tried {
        let mut best = Best::new(self);
        let mut outcome = Outcome::default();
        let mirrored = self.placement.instance(self.instance).template == DiskTemplate::Drbd;
        for &primary in nodes {
            let admitted = self.admits(primary);
            for &secondary in nodes.iter().filter(|node| **node != primary) {
                let checked = admitted.and_then(|()| {
                    let force = (self.force, false);
                    self.working.place(primary, Some(secondary), force, &mut outcome)
                });
                // Checks of the secondary come last.
                let checked = checked.and(if mirrored { Ok(()) } else { Err(FailMode::Disk) });
                best.offer(checked, &outcome);
            }
        }
        best.ends()
    }

    fn lost(&self, outcome: &Outcome) -> Metric {
        let cluster = self.placement.cluster();
        let specs = smallest(&cluster.group_of(outcome.primary).policy);
        let (mut lost, mut disk) = (vec![0; specs.len()], 0);
        for changed in outcome.changed() {
            let (node, limits) =
                (&cluster.nodes[changed.node.at()], self.placement.limits(changed.node));
            let before = fitting(&specs, node, limits, self.placement.node(changed.node));
            let after = fitting(&specs, node, limits, &changed.state);
            for (lost, (before, after)) in lost.iter_mut().zip(before.into_iter().zip(after)) {
                *lost += before - after;
            }
            disk += changed.state.free_disk;
        }
        Metric::Lost(lost, disk)
    }
}

/// The best so far.
struct Best<'s, 'p> {
    search: &'s Search<'p>,
    tried: Tried,
    /// Those about as good as the best, in order.
    close: Vec<(f64, Outcome)>,
    least: f64,
}

impl<'s, 'p> Best<'s, 'p> {
    fn new(search: &'s Search<'p>) -> Best<'s, 'p> {
        Best { search, tried: Tried::default(), close: vec![], least: f64::INFINITY }
    }

    fn offer(&mut self, checked: Result<(), FailMode>, outcome: &Outcome) {
        if let Err(mode) = checked {
            self.tried.failures.add(mode, 1);
            return;
        }
        self.tried.successes += 1;
        let search = self.search;
        if search.dedicated {
            let metric = search.lost(outcome);
            if self.tried.metric().is_none_or(|best| metric <= *best) {
                self.tried.best = Some((metric, *outcome));
            }
            return;
        }
        let score = search.scorer.after(search.placement, outcome);
        if score <= self.least + CLOSE {
            if score < self.least {
                self.least = score;
                self.close.retain(|(other, _)| *other <= score + CLOSE);
            }
            self.close.push((score, *outcome));
        }
    }

    fn ends(self) -> Tried {
        let mut tried = self.tried;
        for (_, outcome) in self.close.iter().filter(|(score, _)| *score <= self.least + CLOSE) {
            let score = self.search.scorer.exact_after(self.search.placement, outcome).total;
            let metric = Metric::Score(score);
            if tried.metric().is_none_or(|best| metric <= *best) {
                tried.best = Some((metric, *outcome));
            }
        }
        tried
    }
}
