//! `OP_PLACEMENT_RULE_REMOVE`.

use crate::config::{Change, Config, ObjectKey};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use crate::placement_rules::find;
use roost_proto::error::Result;
use roost_proto::opcodes::PlacementRuleRemove;

impl Operate for PlacementRuleRemove {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        find(config, &self.rule_name).map(|_| LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let uuid = find(cx.config(), &self.rule_name)?.uuid;
        let mut plan = cx.start_plan();
        plan.pivot.changes.push(Change::Remove(ObjectKey::Rule(uuid)));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::RuleKind;
    use roost_proto::opcodes::PlacementRuleAdd;

    #[test]
    fn it_goes() {
        let mut site = Site::new(&["node1"]);
        site.run(PlacementRuleAdd::new("a", RuleKind::Apart, r#"name == "x""#));
        site.run(PlacementRuleRemove::new("a"));
        assert_eq!(site.config.rules.size(), 0);
        let refused = site.refusal(PlacementRuleRemove::new("a"));
        assert!(refused.message.contains("Placement rule 'a' not known"), "{refused}");
    }
}
