//! `OP_GROUP_ADD`.

use super::settings::Settings;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use roost_proto::choices::AllocPolicy;
use roost_proto::error::{Error, Result};
use roost_proto::ids::GroupId;
use roost_proto::names::GroupName;
use roost_proto::objects::NodeGroup;
use roost_proto::opcodes::GroupAdd;
use serde_json::Value;

impl Operate for GroupAdd {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        let name = GroupName::new(&*self.group_name)?;
        Ok(LockSet::new().with(LockName::new(Level::NodeGroup, name), Mode::Exclusive))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let name = GroupName::new(&*self.group_name)?;
        if let Some(id) = config.index.group_by_name.get(name.as_str()) {
            return Err(Error::exists(format!(
                "Desired group name '{name}' already exists as a node group (UUID: {id})"
            )));
        }
        let now = cx.now();
        let mut group = NodeGroup {
            uuid: GroupId(cx.uuid()),
            name,
            members: vec![],
            ndparams: Default::default(),
            alloc_policy: AllocPolicy::Preferred,
            ipolicy: Default::default(),
            diskparams: Default::default(),
            networks: Default::default(),
            hv_state_static: Value::Object(Default::default()),
            disk_state_static: Value::Object(Default::default()),
            ctime: now,
            mtime: now,
            serial_no: 1,
            tags: vec![],
            extra: Default::default(),
        };
        let settings = Settings {
            alloc_policy: self.alloc_policy,
            ndparams: self.ndparams.as_ref(),
            diskparams: self.diskparams.as_ref(),
            hv_state: self.hv_state.as_ref(),
            disk_state: self.disk_state.as_ref(),
            ipolicy: self.ipolicy.as_ref(),
        };
        settings.put_into(config, &mut group)?;
        let mut plan = cx.start_plan();
        plan.pivot.changes.push(Change::Add(Object::Group(group)));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::DiskTemplate;
    use serde_json::json;

    fn map<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("settings")
    }

    #[test]
    fn a_group_has_what_was_given() {
        let mut site = Site::new(&["node1"]);
        site.run(GroupAdd {
            alloc_policy: Some(AllocPolicy::LastResort),
            ndparams: map(json!({"ssh_port": "2222", "spindle_count": "default"})),
            diskparams: map(json!({"plain": {"stripes": "2"}})),
            hv_state: map(json!({"kvm": {"mem_node": "1g"}})),
            ipolicy: map(json!({"vcpu-ratio": 2})),
            ..GroupAdd::new("rack2")
        });
        let group = site.config.group("rack2").expect("it was made");
        assert_eq!(group.alloc_policy, AllocPolicy::LastResort);
        assert_eq!(json!(group.ndparams), json!({"ssh_port": 2222}));
        assert_eq!(json!(group.diskparams), json!({"plain": {"stripes": 2}}));
        assert_eq!(group.hv_state_static, json!({"kvm": {"mem_node": 1024}}));
        assert_eq!(json!(group.ipolicy), json!({"vcpu-ratio": 2.0}));
        assert_eq!(group.disk_state_static, json!({}));
    }

    #[test]
    fn refusals() {
        let site = Site::new(&["node1"]);
        let id = site.config.group("default").expect("the first group").uuid;
        assert_eq!(
            site.refusal(GroupAdd::new("default")),
            Error::exists(format!(
                "Desired group name 'default' already exists as a node group (UUID: {id})"
            ))
        );
        let odd = GroupAdd {
            diskparams: Some([(DiskTemplate::File, map(json!({"stripes": 1})))].into()),
            ..GroupAdd::new("rack2")
        };
        assert!(site.refusal(odd).message.contains("file disk parameter 'stripes'"));
        assert!(site.refusal(GroupAdd::new("a b")).message.contains("Invalid node group name"));
    }
}
