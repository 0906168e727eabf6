//! Placement rules as rows.

use super::World;
use super::rows::Asked;
use crate::placement_rules::{Judged, all, find};
use roost_htools::rules::{Rule, Verdict};
use roost_proto::choices::RuleKind;
use roost_proto::error::Result;
use roost_proto::objects::PlacementRule;
use roost_proto::query::fields::RuleField as F;
use roost_proto::query::{Cell, Filter, QueryResponse, Row};
use std::cell::OnceCell;

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let config = &*world.config;
    let rules = asked.objects(|| all(config), |rule| &rule.spec.name, |name| find(config, name))?;
    let judged = OnceCell::new();
    let judge = || judged.get_or_init(|| Judged::new(config));
    asked.answer(rules.into_iter().map(|rule| RuleRow { judge: &judge, rule }))
}

struct RuleRow<'a, J> {
    /// Judges all rules, the first time.
    judge: &'a J,
    rule: &'a PlacementRule,
}

impl<'a, J: Fn() -> &'a Judged> RuleRow<'a, J> {
    /// None: it is disabled.
    fn judged(&self) -> Option<(&'a Judged, &'a Rule, &'a Verdict)> {
        if !self.rule.spec.enabled {
            return None;
        }
        let judged = (self.judge)();
        let (rule, verdict) = judged.of(&self.rule.spec.name)?;
        Some((judged, rule, verdict))
    }
}

impl<'a, J: Fn() -> &'a Judged> Row for RuleRow<'a, J> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let (rule, spec) = (self.rule, &self.rule.spec);
        let places = matches!(spec.kind, RuleKind::Together | RuleKind::Apart);
        match *field {
            F::Name => Cell::new(spec.name.as_str()),
            F::Uuid => Cell::new(rule.uuid.to_string()),
            F::Kind => Cell::new(spec.kind.as_str()),
            F::Instances => Cell::new(spec.instances.as_str()),
            F::Nodes => Cell::or_unavailable(spec.nodes.clone()),
            F::Domain => Cell::or_unavailable(places.then(|| spec.domain.to_string())),
            F::Mirrors => {
                Cell::or_unavailable((spec.kind == RuleKind::Apart).then_some(spec.mirrors))
            }
            F::Strength => Cell::new(spec.strength().to_string()),
            F::Enabled => Cell::new(spec.enabled),
            F::Comment => Cell::new(spec.comment.as_str()),
            F::Line => Cell::new(spec.to_line()),
            F::Status => Cell::new(match self.judged() {
                None => "disabled",
                Some((_, _, verdict)) if verdict.broken > 0 => "violated",
                Some(_) => "satisfied",
            }),
            F::Violations => Cell::or_unavailable(self.judged().map(|(_, _, v)| v.broken)),
            F::Violators => match self.judged() {
                Some((judged, _, verdict)) => Cell::list(judged.names(verdict.instances())),
                None => Cell::UNAVAILABLE,
            },
            F::Problems => match self.judged() {
                Some((_, _, v)) => Cell::list(v.problems.iter().map(|p| p.text.as_str())),
                None => Cell::UNAVAILABLE,
            },
            F::Members => match self.judged() {
                Some((judged, rule, _)) => Cell::list(judged.names(rule.members.iter().copied())),
                None => Cell::UNAVAILABLE,
            },
            F::MemberCount => Cell::or_unavailable(self.judged().map(|(_, r, _)| r.members.len())),
            F::Ctime => Cell::new(rule.ctime),
            F::Mtime => Cell::new(rule.mtime),
            F::SerialNo => Cell::new(rule.serial_no),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Change, Object};
    use crate::query::testing::{cells, change, error, world};
    use roost_proto::objects::PlacementRule;
    use roost_proto::placement::RuleSpec;
    use roost_proto::query::{Cell, Resource};
    use serde_json::json;
    use uuid::Uuid;

    fn rule(number: u128, line: &str) -> Change {
        let spec = RuleSpec::of_line(line).expect("a rule");
        let uuid = Uuid::from_u128(number).into();
        let rule = PlacementRule { uuid, spec, ctime: 5.0, mtime: 5.0, serial_no: 1 };
        Change::Add(Object::Rule(Box::new(rule)))
    }

    #[test]
    fn rules_say_who_violates_them() {
        let mut world = world();
        change(
            &mut world,
            &[
                rule(1, r#"r10 together --instances 'name =* "inst*"' --strength 2"#),
                rule(2, r#"r9 only-on --instances 'name == "inst1"' --nodes 'name == "node1"'"#),
                rule(3, r#"r8 apart --instances 'name == "inst1"' --disabled"#),
            ],
        );
        let fields = ["name", "domain", "strength", "status", "violations", "violators"];
        let rows = cells(&world, Resource::Rule, &fields, &[]);
        let (text, none) = (|text: &str| Cell::new(text), Cell::UNAVAILABLE);
        let disabled = [text("r8"), text("node"), text("hard"), text("disabled")];
        assert_eq!(rows[0], [&disabled[..], &[none.clone(), none.clone()]].concat());
        let satisfied = [text("r9"), none, text("hard"), text("satisfied")];
        assert_eq!(rows[1], [&satisfied[..], &[Cell::new(0), Cell::new(json!([]))]].concat());
        assert_eq!(rows[2][2..5], [Cell::new("2"), Cell::new("violated"), Cell::new(2)]);
        let problems = cells(&world, Resource::Rule, &["problems"], &["r10"]);
        assert_eq!(problems[0][0].value.as_array().map(Vec::len), Some(2), "{problems:?}");
        let error = error(&world, Resource::Rule, &["name"], &["nope"]);
        assert!(error.message.starts_with("Placement rule 'nope' not known"), "{error}");
    }
}
