//! `OP_GROUP_VERIFY_DISKS`: which disks of a group's instances are missing, and which should be
//! active and are not: on every node that has a side of them.

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::disks::health;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::Result;
use roost_proto::ids::{DiskId, GroupId, NodeId};
use roost_proto::nicesort;
use roost_proto::node::{Answer, BlockState, BlockStatus, Question, SyncStatus};
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
        for instance in with_active_disks(config, group.uuid) {
            for node in config.secondaries(instance) {
                locks.add(locking::node(node), Mode::Shared);
            }
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let group = config.group(&self.group_name)?;
        health::ask_all(config, with_active_disks(config, group.uuid).into_iter())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let group = config.group(&self.group_name)?;
        let mut errors = BTreeMap::new();
        let mut states: BTreeMap<(DiskId, NodeId), &BlockStatus> = BTreeMap::new();
        for (node, question, answer) in cx.answers() {
            match (question, answer) {
                (Question::Blocks { disks }, Ok(Answer::Blocks(all))) => {
                    states.extend(disks.iter().zip(all).map(|(disk, s)| ((disk.uuid, *node), s)));
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
            let mut gone = Vec::new();
            let mut idle = false;
            let primary = instance.primary_node;
            let nodes = config.secondaries(instance).into_iter().chain([primary]);
            for (node, disk) in
                nodes.flat_map(|node| config.disks_of(instance).into_iter().map(move |d| (node, d)))
            {
                let Some(status) = states.get(&(disk.uuid, node)) else { continue };
                match status.state {
                    BlockState::Missing => gone.push((config.node_name(node), place(&disk))),
                    BlockState::Inactive => idle = true,
                    BlockState::Active => idle |= status.sync.as_ref().is_some_and(is_idle),
                    BlockState::Faulty => {}
                }
            }
            if !gone.is_empty() {
                missing.insert(instance.name.to_string(), gone);
            } else if idle {
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

/// A mirror that activating helps: it gave up its other side, or has lost its storage. Not one whose
/// sides were both written: whose data counts somebody must say.
fn is_idle(sync: &SyncStatus) -> bool {
    !sync.split_brain && (sync.connection == "StandAlone" || sync.disk == "Diskless")
}

/// Where a disk is, for people.
fn place(disk: &Disk) -> String {
    if let Some(volume) = disk.children.first() {
        return place(volume);
    }
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

    #[test]
    fn both_sides_of_mirrors() {
        let told = |one: BlockState, two: BlockState, sync: SyncStatus| {
            let mut site = Site::new(&["node1", "node2"]);
            site.instance("web", "node1", |i| i.disks_active = true);
            site.drbd("web", "node2");
            for (node, question) in site.questions(GroupVerifyDisks::new("default")) {
                let mut found = status(if node == "node1" { one } else { two });
                found.sync = Some(sync.clone());
                site.answer(&node, question, Ok(Answer::Blocks(vec![found])));
            }
            site.plan(GroupVerifyDisks::new("default")).expect("a plan").result
        };
        let good = || SyncStatus { connection: "Connected".into(), ..SyncStatus::default() };
        let (active, inactive) = (BlockState::Active, BlockState::Inactive);
        assert_eq!(told(active, active, good()), json!([{}, [], {}]));
        assert_eq!(told(active, inactive, good()), json!([{}, ["web"], {}]));
        let parted = SyncStatus { connection: "StandAlone".into(), ..good() };
        assert_eq!(told(active, active, parted.clone()), json!([{}, ["web"], {}]));
        let split = SyncStatus { split_brain: true, ..parted };
        assert_eq!(told(active, active, split), json!([{}, [], {}]));
        let missing = told(active, BlockState::Missing, good());
        assert_eq!(missing[2]["web"][0][0], "node2");
    }
}
