//! `OP_GROUP_VERIFY_DISKS`: which disks of a group's instances are missing, and which should be
//! active and are not.

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, guest, locking};
use roost_proto::error::Result;
use roost_proto::ids::{DiskId, GroupId, NodeId};
use roost_proto::nicesort;
use roost_proto::node::{Answer, BlockState, Question};
use roost_proto::objects::{Disk, Instance, LogicalId};
use roost_proto::opcodes::GroupVerifyDisks;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Operate for GroupVerifyDisks {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let group = config.group(&self.group_name)?;
        let mut locks = LockSet::new().with(locking::group(group.uuid), Mode::Shared);
        for node in config.members(group.uuid) {
            locks.add(locking::node(node.uuid), Mode::Shared);
        }
        if self.is_strict {
            for instance in with_active_disks(config, group.uuid) {
                locks.add(LockName::new(Level::Instance, &instance.name), Mode::Shared);
            }
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let group = config.group(&self.group_name)?;
        let mut by_node: BTreeMap<NodeId, Vec<Disk>> = BTreeMap::new();
        for instance in with_active_disks(config, group.uuid) {
            if !config.node_by_id(instance.primary_node)?.offline {
                let disks = guest::disks(config, instance)?;
                by_node.entry(instance.primary_node).or_default().extend(disks);
            }
        }
        Ok(by_node.into_iter().map(|(node, disks)| (node, Question::Blocks { disks })).collect())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let group = config.group(&self.group_name)?;
        let mut errors = BTreeMap::new();
        let mut states: BTreeMap<DiskId, BlockState> = BTreeMap::new();
        for (node, question, answer) in cx.answers() {
            match (question, answer) {
                (Question::Blocks { disks }, Ok(Answer::Blocks(all))) => {
                    states.extend(disks.iter().zip(all).map(|(disk, s)| (disk.uuid, s.state)));
                }
                (_, Err(error)) => {
                    errors.insert(node.to_string(), error.message.clone());
                }
                _ => {}
            }
        }
        let mut activate = Vec::new();
        let mut missing: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for instance in with_active_disks(config, group.uuid) {
            // A job may be about to activate or to make them.
            if cx.coming_instances().any(|coming| coming.uuid == instance.uuid) {
                continue;
            }
            let disks = config.disks_of(instance);
            let is = |disk: &Disk, wanted| states.get(&disk.uuid) == Some(&wanted);
            let node = config.node_name(instance.primary_node);
            let gone: Vec<_> = disks
                .iter()
                .filter(|disk| is(disk, BlockState::Missing))
                .map(|disk| (node.clone(), place(disk)))
                .collect();
            if !gone.is_empty() {
                missing.insert(instance.name.to_string(), gone);
            } else if disks.iter().any(|disk| is(disk, BlockState::Inactive)) {
                activate.push(instance.name.to_string());
            }
        }
        let mut plan = cx.start_plan();
        plan.result = json!([errors, activate, missing]);
        Ok(plan)
    }
}

/// Instances of a group whose disks should be usable, by name.
fn with_active_disks(config: &Config, group: GroupId) -> Vec<&Arc<Instance>> {
    let on = config.members(group).flat_map(|node| config.instances_on(node.uuid));
    let mut all: Vec<_> = on.filter(|i| i.disks_active && !i.disks.is_empty()).collect();
    nicesort::sort_by_key(&mut all, |i| i.name.to_string());
    all
}

/// Where a disk is, for people.
fn place(disk: &Disk) -> String {
    match (&disk.logical_id, disk.path()) {
        (_, Some(path)) => path.to_owned(),
        (LogicalId::Pair(first, second), None) => format!("{first}/{second}"),
        _ => disk.uuid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id, status};
    use roost_proto::choices::DiskTemplate;
    use roost_proto::error::Error;

    #[test]
    fn missing_and_inactive_disks() {
        let mut site = Site::new(&["node1", "node2"]);
        for (name, node) in
            [("gone", "node1"), ("idle", "node1"), ("good", "node1"), ("far", "node2")]
        {
            site.instance(name, node, |i| i.disks_active = true);
            site.disk(name, DiskTemplate::File, &format!("/srv/file/{name}/0"));
        }
        site.instance("off", "node1", |_| {});
        site.disk("off", DiskTemplate::File, "/srv/file/off/0");
        let op = || GroupVerifyDisks::new("default");
        for (node, question) in site.questions(op()) {
            let answer = match &question {
                Question::Blocks { .. } if node == "node2" => Err(Error::exec("silent")),
                Question::Blocks { disks } => {
                    let state = |disk: &Disk| match disk.path() {
                        Some("/srv/file/gone/0") => BlockState::Missing,
                        Some("/srv/file/idle/0") => BlockState::Inactive,
                        Some("/srv/file/good/0") => BlockState::Active,
                        other => panic!("not asked for: {other:?}"),
                    };
                    Ok(Answer::Blocks(disks.iter().map(|d| status(state(d))).collect()))
                }
                other => panic!("{other:?}"),
            };
            site.answer(&node, question, answer);
        }
        let plan = site.plan(op()).expect("a plan");
        assert_eq!(
            plan.result,
            json!([
                {node_id("node2").to_string(): "silent"},
                ["idle"],
                {"gone": [["node1", "/srv/file/gone/0"]]},
            ])
        );
    }
}
