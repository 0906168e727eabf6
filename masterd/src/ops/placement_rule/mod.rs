//! Opcodes about placement rules.
//!
//! A rule is one document; nothing is moved by making or changing one. Whoever does so is told at once what
//! violates it and whether it can be kept at all.

mod add;
mod modify;
mod remove;

use crate::config::{Change, Config, Object};
use crate::jobs::plan::Plan;
use crate::ops::Context;
use crate::placement_rules::Judged;
use roost_htools::rules;
use roost_proto::error::{Error, Result};
use roost_proto::objects::PlacementRule;

/// Errors if another rule has the name.
fn check_name(config: &Config, rule: &PlacementRule) -> Result<()> {
    let mut others = config.rules.values().filter(|other| other.uuid != rule.uuid);
    match others.find(|other| other.spec.name == rule.spec.name) {
        None => Ok(()),
        Some(other) => Err(Error::exists(format!(
            "There is a placement rule '{}' already (UUID: {}); change it with 'gnt-rule modify'",
            other.spec.name, other.uuid
        ))),
    }
}

/// Says why a rule cannot be kept, if that is so.
fn say(cx: &mut Context<'_, '_>, change: &Change, name: &str) {
    let Ok((next, _)) = cx.config().apply(std::slice::from_ref(change), 0.0) else { return };
    let judged = Judged::new(&next);
    for (at, doubt) in rules::doubts(&judged.cluster) {
        if judged.cluster.rules[at].spec.name == name {
            cx.warn(format!("rule '{name}': {doubt}"));
        }
    }
}

/// Adds to a plan's log which rules it violates: whoever says where an instance is to be gets it, and is told.
/// What was violated before in the same way is not news.
pub fn tell(plan: &mut Plan, config: &Config) {
    let changes = &plan.pivot.changes;
    let concerns = |change: &Change| !matches!(change, Change::Update(Object::Cluster(_)));
    let makes_rules = |change: &Change| matches!(change, Change::Add(Object::Rule(_)));
    let has_rules = !config.rules.is_empty() || changes.iter().any(makes_rules);
    if !has_rules || !changes.iter().any(concerns) {
        return;
    }
    // One that does not fit is refused elsewhere.
    let Ok((next, _)) = config.apply(changes, 0.0) else { return };
    let before = problems(config);
    for problem in problems(&next).into_iter().filter(|problem| !before.contains(problem)) {
        plan.say.push(format!(" - WARNING: {problem}"));
    }
}

fn problems(config: &Config) -> Vec<String> {
    let judged = Judged::new(config);
    let rules = judged.cluster.rules.iter().zip(&judged.verdicts);
    let words = |(rule, verdict): (&rules::Rule, &rules::Verdict)| {
        let what = if rule.is_hard() { "placement rule" } else { "wish" };
        let name = rule.spec.name.clone();
        let texts = verdict.problems.iter().map(|problem| problem.text.clone());
        texts.map(|text| format!("{what} '{name}' is violated: {text}")).collect::<Vec<_>>()
    };
    rules.flat_map(words).collect()
}

fn object(rule: PlacementRule) -> Object {
    Object::Rule(Box::new(rule))
}
