//! `OP_PLACEMENT_RULE_ADD`.
//!
//! ```text
//!   before   nothing
//!   pivot    the rule
//! ```

use crate::config::{Change, Config};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use roost_proto::error::Result;
use roost_proto::ids::RuleId;
use roost_proto::objects::PlacementRule;
use roost_proto::opcodes::PlacementRuleAdd;
use roost_proto::placement::RuleSpec;
use serde_json::json;

impl Operate for PlacementRuleAdd {
    // Two rules of one name do not get past the pivot.
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let mut spec = RuleSpec {
            nodes: self.nodes.clone(),
            domain: self.domain.clone(),
            mirrors: self.mirrors,
            comment: self.rule_comment.clone(),
            enabled: self.enabled,
            ..RuleSpec::new(&*self.rule_name, self.kind, &*self.instances)
        };
        if let Some(strength) = self.strength {
            spec.set_strength(strength)?;
        }
        spec.check()?;
        let now = cx.now();
        let uuid = RuleId(cx.uuid());
        let rule = PlacementRule { uuid, spec, ctime: now, mtime: now, serial_no: 1 };
        super::check_name(cx.config(), &rule)?;
        let change = Change::Add(super::object(rule));
        super::say(cx, &change, &self.rule_name);
        let mut plan = cx.start_plan();
        plan.result = json!(uuid);
        plan.pivot.changes.push(change);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use crate::placement_rules::find;
    use roost_proto::choices::RuleKind;
    use roost_proto::placement::{Domain, Strength};

    #[test]
    fn a_rule_is_stored_and_judged() {
        let mut site = Site::new(&["node1", "node2"]);
        for name in ["db1", "db2", "db3"] {
            site.instance(name, "node1", |_| {});
        }
        let op = PlacementRuleAdd::new("db", RuleKind::Apart, r#"name =* "db*""#);
        let plan = site.run(op.clone());
        assert_eq!(
            plan.say,
            [
                " - WARNING: rule 'db': it is about 3 instances, but there are 2 nodes",
                " - WARNING: placement rule 'db' is violated: db1, db2, db3 are on node1",
            ]
        );
        let rule = find(&site.config, "db").expect("made");
        assert_eq!(plan.result, json!(rule.uuid));
        assert_eq!(rule.spec.strength(), Strength::Hard);
        assert!(site.refusal(op).message.starts_with("There is a placement rule 'db' already"));
        let soft = PlacementRuleAdd {
            strength: Some(Strength::Soft(2.0)),
            domain: Domain::Tag("rack".into()),
            enabled: false,
            ..PlacementRuleAdd::new("soft", RuleKind::Together, r#""x" in tags"#)
        };
        assert_eq!(site.run(soft).say, [] as [&str; 0], "nobody asks a disabled one");
    }

    #[test]
    fn nonsense_is_refused() {
        let site = Site::new(&["node1"]);
        let refused = |op: PlacementRuleAdd| site.refusal(op).message;
        let only = PlacementRuleAdd::new("a", RuleKind::OnlyOn, r#"name == "x""#);
        assert!(refused(only).contains("nodes: a rule of kind only-on says on which nodes"));
        let prefer = PlacementRuleAdd {
            nodes: Some(r#"name == "node1""#.into()),
            strength: Some(Strength::Hard),
            ..PlacementRuleAdd::new("a", RuleKind::Prefer, r#"name == "x""#)
        };
        assert!(refused(prefer).contains("a rule of kind prefer is a wish"));
    }
}
