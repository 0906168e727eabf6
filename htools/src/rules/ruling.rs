//! All rules of a placement, kept as instances move.

use super::tally::Tally;
use super::{Rule, Seat};
use crate::fail::FailMode;
use crate::model::{Cluster, InstanceIdx, NodeIdx};
use roost_proto::placement::Strength;

/// What each violation of a hard rule counts in the score: as much as an instance whose primary is offline.
pub const HARD_WEIGHT: f64 = 16.0;

/// In thousandths, so that sums are exact.
const UNIT: f64 = 1000.0;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ruling {
    tallies: Vec<Tally>,
    /// By rule: whether it is hard, and what each violation counts, in thousandths.
    weights: Vec<(bool, i64)>,
    /// By instance: the rules about it. Empty if there are no rules at all.
    of: Vec<Vec<u32>>,
    /// By node: what is there does not count.
    ignored: Vec<bool>,
    penalty: i64,
}

fn weight(rule: &Rule) -> (bool, i64) {
    let thousandths = |weight: f64| (weight * UNIT).round() as i64;
    match rule.spec.strength() {
        Strength::Hard => (true, thousandths(HARD_WEIGHT)),
        Strength::Soft(weight) => (false, thousandths(weight)),
    }
}

impl Ruling {
    /// Of a cluster whose instances are where `seat` says; on `ignored` nodes they do not count.
    pub(crate) fn new(
        cluster: &Cluster,
        seat: impl Fn(InstanceIdx) -> Seat,
        ignored: impl IntoIterator<Item = NodeIdx>,
    ) -> Ruling {
        if cluster.rules.is_empty() {
            return Ruling::default();
        }
        let mut ruling = Ruling {
            tallies: cluster.rules.iter().map(Tally::new).collect(),
            weights: cluster.rules.iter().map(weight).collect(),
            of: vec![vec![]; cluster.instances.len()],
            ignored: vec![false; cluster.nodes.len()],
            penalty: 0,
        };
        for node in ignored {
            ruling.ignored[node.at()] = true;
        }
        for (at, rule) in cluster.rules.iter().enumerate() {
            for member in &rule.members {
                ruling.of[member.at()].push(at as u32);
            }
        }
        for at in 0..cluster.instances.len() {
            let instance = InstanceIdx::of(at);
            ruling.apply(cluster, instance, (NodeIdx::NONE, None), seat(instance));
        }
        ruling
    }

    /// What all violations count, in thousandths of the score.
    pub fn penalty(&self) -> i64 {
        self.penalty
    }

    /// A penalty as part of the score.
    pub fn score(penalty: i64) -> f64 {
        penalty as f64 / UNIT
    }

    /// How badly a rule is broken; 0: it holds. `rule`: its position in the cluster's.
    pub fn broken(&self, rule: usize) -> i64 {
        self.tallies[rule].broken()
    }

    /// By how much the penalty grows if an instance changes its place. Errors: it would break a hard rule more
    /// than that is broken already.
    pub(crate) fn change(
        &self,
        cluster: &Cluster,
        instance: InstanceIdx,
        from: Seat,
        to: Seat,
    ) -> Result<i64, FailMode> {
        if self.tallies.is_empty() {
            return Ok(0);
        }
        let mut penalty = 0;
        for &rule in &self.of[instance.at()] {
            let at = rule as usize;
            let change = self.tallies[at].change(&cluster.rules[at], from, to, &self.ignored);
            let (hard, weight) = self.weights[at];
            if hard && change > 0 {
                return Err(FailMode::Rule);
            }
            penalty += change * weight;
        }
        Ok(penalty)
    }

    /// The hard rule that refuses a change, if one does: its position in the cluster's.
    pub(crate) fn refusing(
        &self,
        cluster: &Cluster,
        instance: InstanceIdx,
        from: Seat,
        to: Seat,
    ) -> Option<usize> {
        let mut rules = self.of.get(instance.at())?.iter().map(|rule| *rule as usize);
        rules.find(|&at| {
            let change = |rule| self.tallies[at].change(rule, from, to, &self.ignored);
            self.weights[at].0 && change(&cluster.rules[at]) > 0
        })
    }

    /// The instance does change its place.
    pub(crate) fn apply(&mut self, cluster: &Cluster, instance: InstanceIdx, from: Seat, to: Seat) {
        let Some(rules) = self.of.get(instance.at()) else { return };
        for &rule in rules {
            let at = rule as usize;
            let tally = &mut self.tallies[at];
            let before = tally.broken();
            tally.apply(&cluster.rules[at], from, to, &self.ignored);
            self.penalty += (tally.broken() - before) * self.weights[at].1;
        }
    }

    /// An instance without a place is a member of other rules from now on.
    pub(crate) fn change_member(&mut self, instance: InstanceIdx, rules: Vec<u32>) {
        for rule in rules.iter().filter(|rule| !self.of[instance.at()].contains(rule)) {
            self.tallies[*rule as usize].add_member();
        }
        self.of[instance.at()] = rules;
    }

    /// One more instance, without a place, which is a member of these rules.
    pub(crate) fn add(&mut self, rules: Vec<u32>) {
        if self.tallies.is_empty() {
            return;
        }
        for &rule in &rules {
            self.tallies[rule as usize].add_member();
        }
        self.of.push(rules);
    }

    /// The one that was added last goes again; it has no place.
    pub(crate) fn drop_last(&mut self) {
        if let Some(last) = self.of.len().checked_sub(1) {
            self.change_member(InstanceIdx::of(last), vec![]);
            self.of.pop();
        }
    }
}
