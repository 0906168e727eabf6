//! `OP_PLACEMENT_RULE_MODIFY`.
//!
//! ```text
//!   before   nothing
//!   pivot    the rule, changed
//! ```

use crate::config::{Change, Config};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use crate::placement_rules::find;
use roost_proto::choices::RuleKind;
use roost_proto::error::{Error, Result};
use roost_proto::objects::PlacementRule;
use roost_proto::opcodes::PlacementRuleModify;
use roost_proto::placement::Domain;

impl Operate for PlacementRuleModify {
    // Of two changes at once the second is refused at its pivot: it was made from an older rule.
    fn locks(&self, config: &Config) -> Result<LockSet> {
        find(config, &self.rule_name).map(|_| LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let old = find(cx.config(), &self.rule_name)?;
        let mut rule: PlacementRule = (**old).clone();
        let spec = &mut rule.spec;
        if let Some(name) = &self.new_name {
            spec.name.clone_from(name);
        }
        if let Some(kind) = self.kind {
            spec.kind = kind;
            // What the new kind does not have goes.
            match kind {
                RuleKind::Together | RuleKind::Apart => spec.nodes = None,
                RuleKind::OnlyOn | RuleKind::Prefer => spec.domain = Domain::Node,
            }
            spec.mirrors &= kind == RuleKind::Apart;
        }
        if let Some(instances) = &self.instances {
            spec.instances.clone_from(instances);
        }
        if let Some(nodes) = &self.nodes {
            spec.nodes = Some(nodes.clone());
        }
        if let Some(domain) = &self.domain {
            spec.domain = domain.clone();
        }
        if let Some(mirrors) = self.mirrors {
            spec.mirrors = mirrors;
        }
        if let Some(strength) = self.strength {
            spec.set_strength(strength)?;
        }
        if let Some(comment) = &self.rule_comment {
            spec.comment.clone_from(comment);
        }
        if let Some(enabled) = self.enabled {
            spec.enabled = enabled;
        }
        spec.check()?;
        if rule.spec == old.spec {
            return Err(Error::wrong_input(format!(
                "Placement rule '{}' is like that already; say what is to be different",
                self.rule_name
            )));
        }
        super::check_name(cx.config(), &rule)?;
        let name = rule.spec.name.clone();
        let change = Change::Update(super::object(rule));
        super::say(cx, &change, &name);
        let mut plan = cx.start_plan();
        plan.pivot.changes.push(change);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::opcodes::PlacementRuleAdd;
    use roost_proto::placement::Strength;

    #[test]
    fn what_is_not_named_stays() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("db1", "node1", |_| {});
        site.run(PlacementRuleAdd {
            mirrors: true,
            rule_comment: "why".into(),
            ..PlacementRuleAdd::new("db", RuleKind::Apart, r#"name =* "db*""#)
        });
        site.run(PlacementRuleModify {
            new_name: Some("data".into()),
            strength: Some(Strength::Soft(3.0)),
            ..PlacementRuleModify::new("db")
        });
        let rule = find(&site.config, "data").expect("renamed");
        assert_eq!((rule.serial_no, rule.spec.comment.as_str()), (2, "why"));
        assert_eq!((rule.spec.mirrors, rule.spec.strength()), (true, Strength::Soft(3.0)));
        let plan = site.run(PlacementRuleModify {
            kind: Some(RuleKind::OnlyOn),
            nodes: Some(r#"name == "node2""#.into()),
            rule_comment: Some(String::new()),
            ..PlacementRuleModify::new("data")
        });
        assert_eq!(plan.say, [" - WARNING: wish 'data' is violated: db1 is on node1"]);
        let spec = &find(&site.config, "data").expect("it").spec;
        assert_eq!((spec.mirrors, spec.comment.as_str()), (false, ""));
    }

    #[test]
    fn refusals() {
        let mut site = Site::new(&["node1"]);
        for name in ["a", "b"] {
            site.run(PlacementRuleAdd::new(name, RuleKind::Apart, r#"name == "x""#));
        }
        let refused = |op: PlacementRuleModify| site.refusal(op).message;
        assert!(refused(PlacementRuleModify::new("c")).contains("'c' not known"));
        assert!(refused(PlacementRuleModify::new("a")).contains("is like that already"));
        let taken =
            PlacementRuleModify { new_name: Some("b".into()), ..PlacementRuleModify::new("a") };
        assert!(refused(taken).contains("There is a placement rule 'b' already"));
        let half =
            PlacementRuleModify { kind: Some(RuleKind::Prefer), ..PlacementRuleModify::new("a") };
        assert!(refused(half).contains("says on which nodes"));
    }
}
