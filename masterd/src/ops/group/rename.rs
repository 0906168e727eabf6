//! `OP_GROUP_RENAME`.

use crate::config::{Change, Config, Object};
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, Result};
use roost_proto::names::GroupName;
use roost_proto::opcodes::GroupRename;
use serde_json::json;

impl Operate for GroupRename {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let group = config.group(&self.group_name)?;
        Ok(LockSet::new().with(locking::group(group.uuid), Mode::Exclusive))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut group = (**config.group(&self.group_name)?).clone();
        let name = GroupName::new(&*self.new_name)?;
        if let Some(id) = config.index.group_by_name.get(name.as_str()) {
            return Err(Error::exists(format!(
                "Desired new name '{name}' clashes with existing node group (UUID: {id})"
            )));
        }
        group.name = name;
        let mut plan = cx.start_plan();
        plan.result = json!(group.name);
        plan.pivot.changes.push(Change::Update(Object::Group(group)));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;

    #[test]
    fn a_group_gets_a_free_name() {
        let mut site = Site::new(&["node1"]);
        site.group("rack2");
        let id = site.config.group("rack2").expect("made").uuid;
        assert_eq!(
            site.refusal(GroupRename::new("default", "rack2")),
            Error::exists(format!(
                "Desired new name 'rack2' clashes with existing node group (UUID: {id})"
            ))
        );
        let plan = site.run(GroupRename::new("rack2", "rack3"));
        assert_eq!(plan.result, "rack3");
        assert_eq!(site.config.group("rack3").expect("renamed").uuid, id);
    }
}
