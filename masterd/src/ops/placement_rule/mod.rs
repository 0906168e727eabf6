//! Opcodes about placement rules.
//!
//! A rule is one document; nothing is moved by making or changing one. Whoever does so is told at once what
//! violates it and whether it can be kept at all.

mod add;
mod modify;
mod remove;

use crate::config::{Change, Config, Object};
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

/// Says what a change means for the cluster as it is.
fn say(cx: &mut Context<'_, '_>, change: &Change, name: &str) {
    let Ok((next, _)) = cx.config().apply(std::slice::from_ref(change), 0.0) else { return };
    let judged = Judged::new(&next);
    for (at, doubt) in rules::doubts(&judged.cluster) {
        if judged.cluster.rules[at].spec.name == name {
            cx.warn(format!("rule '{name}': {doubt}"));
        }
    }
    let Some((_, verdict)) = judged.of(name) else { return };
    for problem in &verdict.problems {
        cx.info(format!("rule '{name}' is violated: {}", problem.text));
    }
}

fn object(rule: PlacementRule) -> Object {
    Object::Rule(Box::new(rule))
}
