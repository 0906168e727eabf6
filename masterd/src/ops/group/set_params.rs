//! `OP_GROUP_SET_PARAMS`.

use super::settings::Settings;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking, policy};
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::GroupSetParams;
use roost_proto::params::fill;
use serde_json::json;

impl Operate for GroupSetParams {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let group = config.group(&self.group_name)?;
        Ok(LockSet::new().with(locking::group(group.uuid), Mode::Exclusive))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let settings = Settings {
            alloc_policy: self.alloc_policy,
            ndparams: self.ndparams.as_ref(),
            diskparams: self.diskparams.as_ref(),
            hv_state: self.hv_state.as_ref(),
            disk_state: self.disk_state.as_ref(),
            ipolicy: self.ipolicy.as_ref(),
        };
        if settings.is_empty() {
            return Err(Error::wrong_input("Please pass at least one modification"));
        }
        let old = config.group(&self.group_name)?;
        let mut new = (**old).clone();
        settings.put_into(config, &mut new)?;
        if self.ipolicy.is_some() {
            let before = fill::group_ipolicy(&config.cluster, old);
            let after = fill::group_ipolicy(&config.cluster, &new);
            let broken = policy::newly_broken(config, old.uuid, &before, &after);
            if let Some(warning) = policy::warning(&broken) {
                cx.warn(warning);
            }
        }
        // As in Ganeti, the new values of these two as text, and nothing of the others.
        let mut result = Vec::new();
        if self.ndparams.is_some() {
            result.push(("ndparams", json!(new.ndparams).to_string()));
        }
        if self.diskparams.is_some() {
            result.push(("diskparams", json!(new.diskparams).to_string()));
        }
        let mut plan = cx.start_plan();
        if new != **old {
            plan.pivot.changes.push(Change::Update(Object::Group(new)));
        }
        plan.result = json!(result);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::AllocPolicy;

    #[test]
    fn settings_change_and_others_stay() {
        let mut site = Site::new(&["node1"]);
        let first = GroupSetParams {
            alloc_policy: Some(AllocPolicy::Unallocable),
            ndparams: serde_json::from_value(json!({"ssh_port": 2222, "cpu_speed": 2})).ok(),
            ..GroupSetParams::new("default")
        };
        let plan = site.run(first);
        assert_eq!(plan.result, json!([["ndparams", "{\"cpu_speed\":2.0,\"ssh_port\":2222}"]]));
        site.run(GroupSetParams {
            ndparams: serde_json::from_value(json!({"ssh_port": "default"})).ok(),
            ..GroupSetParams::new("default")
        });
        let group = site.config.group("default").expect("it");
        assert_eq!(group.alloc_policy, AllocPolicy::Unallocable);
        assert_eq!(json!(group.ndparams), json!({"cpu_speed": 2.0}));
    }

    #[test]
    fn a_stricter_policy_names_who_breaks_it() {
        let mut site = Site::new(&["node1"]);
        for name in ["web10", "web2"] {
            site.instance(name, "node1", |_| {});
        }
        let op = GroupSetParams {
            ipolicy: serde_json::from_value(json!({"disk-templates": ["drbd"]})).ok(),
            ..GroupSetParams::new("default")
        };
        let plan = site.plan(op).expect("a plan");
        assert_eq!(
            plan.say,
            [" - WARNING: After the ipolicy change the following instances violate them: \
              web2, web10"]
        );
        assert_eq!(plan.pivot.changes.len(), 1);
    }

    #[test]
    fn nothing_to_change() {
        let site = Site::new(&["node1"]);
        assert_eq!(
            site.refusal(GroupSetParams::new("default")),
            Error::wrong_input("Please pass at least one modification")
        );
        assert_eq!(
            site.refusal(GroupSetParams::new("other")),
            Error::unknown("Node group 'other' not known")
        );
    }
}
