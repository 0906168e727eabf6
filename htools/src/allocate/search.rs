//! Trying every candidate for one instance.

use super::choose::{Chosen, Rows, choose};
use super::dedicated::{fitting, smallest};
use super::pairs::{Pairs, TriedPairs};
use super::singles::Singles;
use super::statistics::{Change, Statistics};
use super::{Allocation, Failures, Metric, NoAllocation, Rules};
use crate::fail::FailMode;
use crate::model::{Cluster, DiskTemplate, GroupIdx, InstanceIdx, NodeIdx};
use crate::redundancy::Redundancy;
use crate::score::Scorer;
use crate::state::{Outcome, Placement, Working};

/// What became of the candidates of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried {
    pub failures: Failures,
    pub successes: u64,
    pub best: Option<(Metric, Outcome)>,
}

impl Tried {
    pub fn metric(&self) -> Option<&Metric> {
        self.best.as_ref().map(|(metric, _)| metric)
    }

    /// With what became of further candidates; of equal ones the later primary.
    pub fn join(mut self, other: Tried) -> Tried {
        self.failures.add_all(&other.failures);
        self.successes += other.successes;
        let rank = |tried: &Tried| {
            let (metric, outcome) = tried.best.as_ref()?;
            Some((metric.clone(), std::cmp::Reverse(outcome.primary)))
        };
        let better = match (rank(&self), rank(&other)) {
            (Some(mine), Some(others)) => others < mine,
            (mine, _) => mine.is_none(),
        };
        if better {
            self.best = other.best;
        }
        self
    }

    /// The place that was found, or that there is none.
    pub fn found(self, group: GroupIdx, messages: Vec<String>) -> Result<Allocation, NoAllocation> {
        let Tried { failures, successes, best } = self;
        let Some((metric, outcome)) = best else {
            return Err(NoAllocation { failures, messages, tried: true });
        };
        let (primary, secondary) = (outcome.primary, outcome.secondary);
        Ok(Allocation { group, primary, secondary, metric, successes, failures, messages, outcome })
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

impl From<Chosen> for Tried {
    fn from(chosen: Chosen) -> Tried {
        let best = chosen.best.map(|(score, outcome)| (Metric::Score(score), outcome));
        Tried { failures: chosen.failures, successes: chosen.successes, best }
    }
}

/// An instance, and what its candidates are judged by.
pub(crate) struct Search<'p> {
    placement: &'p Placement,
    instance: InstanceIdx,
    working: Working<'p>,
    scope: &'p [NodeIdx],
    scorer: Scorer,
    /// Whether what can be placed afterwards counts instead of the score.
    dedicated: bool,
    rules: &'p Rules,
}

impl<'p> Search<'p> {
    /// `scope`: the nodes whose score counts, and that have to stay able to fail.
    pub fn new(
        placement: &'p Placement,
        instance: InstanceIdx,
        scope: &'p [NodeIdx],
        dedicated: bool,
        rules: &'p Rules,
    ) -> Search<'p> {
        Search {
            placement,
            instance,
            working: placement.begin(instance),
            scope,
            scorer: Scorer::new(placement, scope.to_vec()),
            dedicated,
            rules,
        }
    }

    /// Where everything is.
    pub fn placement(&self) -> &'p Placement {
        self.placement
    }

    /// Whether what an instance is as primary has nothing to do with where its secondary is.
    pub fn sides_are_apart(&self) -> bool {
        let tags = self.placement.rules();
        let located = tags.has_locations || !tags.desired[self.instance.at()].is_empty();
        !located && self.placement.cluster().rules.is_empty()
    }

    /// What comes of a candidate. Errors: the check that fails.
    pub fn place(
        &self,
        primary: NodeIdx,
        secondary: Option<NodeIdx>,
        outcome: &mut Outcome,
    ) -> Result<(), FailMode> {
        let cluster = self.placement.cluster();
        let instance = self.placement.instance(self.instance);
        let exclusive = cluster.nodes[primary.at()].exclusive_storage;
        cluster.group_of(primary).policy.admits(instance, exclusive)?;
        // Soft errors of a secondary count always, as in the reference.
        let force = (self.rules.ignore_soft_errors, false);
        if secondary.is_some() && instance.template != DiskTemplate::Drbd {
            self.working.place(primary, None, force, outcome)?;
            return Err(FailMode::Disk);
        }
        self.working.place(primary, secondary, force, outcome)
    }

    /// The score after it.
    pub fn score(&self, outcome: &Outcome) -> f64 {
        self.scorer.after(self.placement, outcome)
    }

    /// The score after it as the reference computes it for one node.
    pub fn exact(&self, outcome: &Outcome) -> f64 {
        self.scorer.exact_after(self.placement, outcome).total
    }

    /// The score after it as the reference computes it for two nodes.
    pub(super) fn exact_pair(&self, statistics: &Statistics, outcome: &Outcome) -> f64 {
        let change = |at: usize| {
            let changed = &outcome.changed()[at];
            Change::of(self.placement, changed.node, &changed.state)
        };
        if outcome.changed().len() != 2 || !self.placement.cluster().rules.is_empty() {
            return self.exact(outcome);
        }
        statistics.after([&change(0), &change(1)], outcome.location_conflicts)
    }

    /// Every node alone.
    pub fn single(&self, nodes: &[NodeIdx]) -> Tried {
        match self.dedicated {
            true => self.least_lost(nodes.iter().map(|node| (*node, None))),
            false => self.choose(Singles { search: self, beside: None, nodes }),
        }
    }

    /// This node with every one of the others.
    pub fn secondary(&self, primary: NodeIdx, others: &[NodeIdx]) -> Tried {
        let beside = Some((primary, self.statistics()));
        self.choose(Singles { search: self, beside, nodes: others })
    }

    fn statistics(&self) -> Statistics {
        Statistics::of(self.placement, self.scope)
    }

    /// Every pair of nodes.
    pub fn pair(&self, nodes: &[NodeIdx]) -> Tried {
        if self.dedicated {
            let others = |node: &NodeIdx| {
                let primary = *node;
                let others = nodes.iter().filter(move |other| **other != primary);
                others.map(move |other| (primary, Some(*other)))
            };
            return self.least_lost(nodes.iter().flat_map(others));
        }
        match Pairs::new(self, nodes, self.statistics()) {
            Some(pairs) => self.choose(pairs),
            None => self.choose(TriedPairs::new(self, nodes, self.statistics())),
        }
    }

    fn choose(&self, mut rows: impl Rows) -> Tried {
        let mut redundancy = self
            .rules
            .capacity_checks
            .then(|| Redundancy::new(self.placement, self.scope, &self.rules.redundancy));
        choose(&mut rows, redundancy.as_mut(), self.instance).into()
    }

    /// The best where storage belongs to one instance each; whether nodes can fail is not asked there.
    fn least_lost(&self, candidates: impl Iterator<Item = (NodeIdx, Option<NodeIdx>)>) -> Tried {
        let mut tried = Tried::default();
        let mut outcome = Outcome::default();
        for (primary, secondary) in candidates {
            if let Err(mode) = self.place(primary, secondary, &mut outcome) {
                tried.failures.add(mode, 1);
                continue;
            }
            tried.successes += 1;
            let metric = self.lost(&outcome);
            if tried.metric().is_none_or(|best| metric <= *best) {
                tried.best = Some((metric, outcome));
            }
        }
        tried
    }

    fn lost(&self, outcome: &Outcome) -> Metric {
        let cluster = self.placement.cluster();
        let specs = smallest(&cluster.group_of(outcome.primary).policy);
        let (mut lost, mut disk) = (vec![0_i64; specs.len()], 0);
        for changed in outcome.changed() {
            let (node, limits) =
                (&cluster.nodes[changed.node.at()], self.placement.limits(changed.node));
            let before = fitting(&specs, node, limits, self.placement.node(changed.node));
            let after = fitting(&specs, node, limits, &changed.state);
            for (lost, (before, after)) in lost.iter_mut().zip(before.into_iter().zip(after)) {
                *lost = lost.saturating_add(before.saturating_sub(after));
            }
            disk += changed.state.free_disk;
        }
        Metric::Lost(lost, disk)
    }
}
