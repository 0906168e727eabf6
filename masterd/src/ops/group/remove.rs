//! `OP_GROUP_REMOVE`.

use crate::config::{Change, Config, ObjectKey};
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, Result};
use roost_proto::nicesort;
use roost_proto::opcodes::GroupRemove;

impl Operate for GroupRemove {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let group = config.group(&self.group_name)?;
        Ok(LockSet::new().with(locking::group(group.uuid), Mode::Exclusive))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let group = config.group(&self.group_name)?;
        let mut members: Vec<_> =
            config.members(group.uuid).map(|node| node.name.to_string()).collect();
        nicesort::sort(&mut members);
        if !members.is_empty() {
            return Err(Error::wrong_state(format!(
                "Group '{}' not empty, has the following nodes: {}; move them with 'gnt-group \
                 assign-nodes'",
                group.name,
                members.join(", ")
            )));
        }
        if config.groups.size() == 1 {
            return Err(Error::wrong_state(format!(
                "Group '{}' is the only group, cannot be removed",
                group.name
            )));
        }
        let mut plan = cx.start_plan();
        plan.pivot.changes.push(Change::Remove(ObjectKey::Group(group.uuid)));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;

    #[test]
    fn an_empty_group_goes() {
        let mut site = Site::new(&["node1", "node10", "node2"]);
        site.group("spare");
        site.run(GroupRemove::new("spare"));
        assert!(site.config.group("spare").is_err());
        let error = site.refusal(GroupRemove::new("default"));
        assert_eq!(
            error,
            Error::wrong_state(
                "Group 'default' not empty, has the following nodes: node1, node2, node10; move \
                 them with 'gnt-group assign-nodes'"
            )
        );
    }
}
