//! `OP_GROUP_ASSIGN_NODES`: moves nodes into a group.
//!
//! A mirrored instance is *split* when its nodes are in different groups: it cannot move between
//! them any more.

use crate::config::{Change, Config, Object};
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking, node};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::nicesort;
use roost_proto::objects::Instance;
use roost_proto::opcodes::GroupAssignNodes;

impl Operate for GroupAssignNodes {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let target = config.group(&self.group_name)?;
        let mut locks = LockSet::new().with(locking::group(target.uuid), Mode::Exclusive);
        for id in given(self, config)? {
            locks.add(locking::node(id), Mode::Exclusive);
            locks.add(locking::group(config.node_by_id(id)?.group), Mode::Exclusive);
        }
        Ok(locks)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let target = config.group(&self.group_name)?;
        let nodes = given(self, config)?;
        let now = |id: NodeId| config.nodes.get(&id).map(|n| n.group);
        let then = |id: NodeId| if nodes.contains(&id) { Some(target.uuid) } else { now(id) };
        let mut new = Vec::new();
        let mut old = Vec::new();
        for instance in config.instances.values() {
            if is_split(config, instance, then) {
                let list = if is_split(config, instance, now) { &mut old } else { &mut new };
                list.push(instance.name.to_string());
            }
        }
        nicesort::sort(&mut new);
        nicesort::sort(&mut old);
        if !new.is_empty() {
            let names = new.join(", ");
            if !self.force {
                return Err(Error::wrong_state(format!(
                    "The following instances get split by this change and --force was not given: \
                     {names}"
                )));
            }
            cx.warn(format!("This operation will split the following instances: {names}"));
            if !old.is_empty() {
                cx.warn(format!(
                    "In addition, these already-split instances continue to be split across \
                     groups: {}",
                    old.join(", ")
                ));
            }
        }
        let mut plan = cx.start_plan();
        for id in nodes {
            let mut node = (**config.node_by_id(id)?).clone();
            if node.group != target.uuid {
                node.group = target.uuid;
                plan.pivot.changes.push(Change::Update(Object::Node(Box::new(node))));
            }
        }
        Ok(plan)
    }
}

fn given(op: &GroupAssignNodes, config: &Config) -> Result<Vec<NodeId>> {
    let names = op.node_uuids.as_ref().unwrap_or(&op.nodes);
    match names.is_empty() {
        true => Ok(vec![]),
        false => node::named(config, names),
    }
}

fn is_split(
    config: &Config,
    instance: &Instance,
    group_of: impl Fn(NodeId) -> Option<GroupId>,
) -> bool {
    let home = group_of(instance.primary_node);
    config.secondaries(instance).into_iter().any(|node| group_of(node) != home)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;

    fn assign(nodes: &[&str]) -> GroupAssignNodes {
        let nodes: Vec<String> = nodes.iter().map(|n| (*n).to_owned()).collect();
        GroupAssignNodes::new("rack2", nodes)
    }

    #[test]
    fn nodes_change_their_group() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.group("rack2");
        let plan = site.run(assign(&["node2", "node3"]));
        assert_eq!(plan.pivot.changes.len(), 2);
        let target = site.config.group("rack2").expect("made").uuid;
        assert_eq!(site.config.members(target).count(), 2);
        let again = site.plan(assign(&["node2"])).expect("a plan");
        assert_eq!(again, Plan::default());
    }

    #[test]
    fn mirrors_are_torn_apart_only_by_force() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.group("rack2");
        site.instance("db", "node1", |_| {});
        site.drbd("db", "node2");
        assert_eq!(
            site.refusal(assign(&["node2"])),
            Error::wrong_state(
                "The following instances get split by this change and --force was not given: db"
            )
        );
        let forced = GroupAssignNodes { force: true, ..assign(&["node2"]) };
        let plan = site.run(forced);
        assert_eq!(plan.say, [" - WARNING: This operation will split the following instances: db"]);
        site.run(assign(&["node1"]));
        assert!(site.plan(assign(&["node2"])).expect("both are there").say.is_empty());
    }
}
