//! `OP_CLUSTER_REPAIR_DISK_SIZES`: records the sizes that disks really have.
//!
//! What the primary node says counts. A mirror that is not set up there is as large as the smaller
//! of its two volumes; one that is smaller on its secondary is told of.

use crate::config::{Change, Config, Object};
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::disks::health;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::Result;
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::nicesort;
use roost_proto::node::{Answer, BlockStatus, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::ClusterRepairDiskSizes;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Operate for ClusterRepairDiskSizes {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        for instance in chosen(self, config)? {
            locks.add(LockName::new(Level::Instance, &instance.name), Mode::Exclusive);
            locks.add(locking::node(instance.primary_node), Mode::Shared);
            for node in config.secondaries(instance) {
                locks.add(locking::node(node), Mode::Shared);
            }
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        health::ask_all(config, chosen(self, config)?.into_iter())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut sizes = BTreeMap::new();
        for (node, question, answer) in cx.answers() {
            match (question, answer) {
                (Question::Blocks { disks }, Ok(Answer::Blocks(statuses))) => {
                    let found = disks.iter().zip(statuses);
                    sizes.extend(found.map(|(disk, status)| ((disk.uuid, *node), status)));
                }
                (_, Err(error)) => cx.warn(format!(
                    "Failure in blockdev_getdimensions call to node {}, ignoring: {error}",
                    config.node_name(*node)
                )),
                _ => {}
            }
        }
        let mut result = Vec::new();
        let mut changes = Vec::new();
        for instance in chosen(self, config)? {
            for (index, disk) in config.disks_of(instance).iter().enumerate() {
                let Some(size) = size(instance.primary_node, disk, &sizes) else {
                    cx.warn(format!(
                        "Disk {index} of instance {} did not return size information, ignoring",
                        instance.name
                    ));
                    continue;
                };
                for (node, smaller) in smaller(disk, size, &sizes) {
                    cx.warn(format!(
                        "Disk {index} of instance {} has only {smaller} MiB on node {}, {size} \
                         where it is used; make that side again with 'gnt-instance replace-disks'",
                        instance.name,
                        config.node_name(node)
                    ));
                }
                if size == disk.size {
                    continue;
                }
                cx.info(format!(
                    "Disk {index} of instance {} has mismatched size, correcting: recorded {}, \
                     actual {size}",
                    instance.name, disk.size
                ));
                let mut disk = (**disk).clone();
                disk.size = size;
                if let Some(child) = disk.children.first_mut() {
                    child.size = child.size.max(size);
                }
                changes.push(Change::Update(Object::Disk(Box::new(disk))));
                result.push(json!([instance.name, index, "size", size]));
            }
        }
        let mut plan = cx.start_plan();
        plan.pivot.changes = changes;
        plan.result = result.into();
        Ok(plan)
    }
}

/// What nodes said of disks.
type Told<'a> = BTreeMap<(DiskId, NodeId), &'a BlockStatus>;

/// What the volume below a mirror has on a node, MiB.
fn below(disk: &Disk, node: NodeId, told: &Told<'_>) -> Option<u64> {
    told.get(&(disk.uuid, node))?.children.first()?.size
}

/// MiB a disk has.
fn size(primary: NodeId, disk: &Disk, told: &Told<'_>) -> Option<u64> {
    let own = told.get(&(disk.uuid, primary)).and_then(|status| status.size);
    own.or_else(|| disk.nodes.iter().map(|node| below(disk, *node, told)).min().flatten())
}

/// Nodes where a mirror cannot have that size.
fn smaller(disk: &Disk, size: u64, told: &Told<'_>) -> Vec<(NodeId, u64)> {
    let sides = disk.nodes.iter().filter_map(|node| Some((*node, below(disk, *node, told)?)));
    sides.filter(|(_, found)| *found < size).collect()
}

/// The instances that are named; all, if none is.
fn chosen<'a>(op: &ClusterRepairDiskSizes, config: &'a Config) -> Result<Vec<&'a Arc<Instance>>> {
    let mut all: Vec<_> = match op.instances.is_empty() {
        true => config.instances.values().collect(),
        false => op.instances.iter().map(|name| config.instance(name)).collect::<Result<_>>()?,
    };
    nicesort::sort_by_key(&mut all, |i| i.name.to_string());
    all.dedup_by_key(|i| i.uuid);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, status};
    use roost_proto::choices::DiskTemplate;
    use roost_proto::node::BlockState;

    #[test]
    fn recorded_sizes_are_corrected() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node2", |_| {});
        site.disk("web", DiskTemplate::File, "/srv/file/web/0");
        site.disk("web", DiskTemplate::File, "/srv/file/web/1");
        let op = ClusterRepairDiskSizes::new;
        let (node, question) = site.questions(op()).remove(0);
        assert_eq!(node, "node2");
        let sized = |size| {
            let mut status = status(BlockState::Active);
            status.size = size;
            status
        };
        let answer = Answer::Blocks(vec![sized(Some(2048)), sized(None)]);
        site.answer("node2", question, Ok(answer));
        let plan = site.run(op());
        assert_eq!(plan.result, json!([["web", 0, "size", 2048]]));
        assert_eq!(
            plan.say,
            [
                " - INFO: Disk 0 of instance web has mismatched size, correcting: recorded 1024, \
                 actual 2048",
                " - WARNING: Disk 1 of instance web did not return size information, ignoring",
            ]
        );
        let web = site.config.instance("web").expect("it").clone();
        let now: Vec<_> = site.config.disks_of(&web).iter().map(|d| d.size).collect();
        assert_eq!(now, [2048, 1024]);
    }

    #[test]
    fn mirrors_are_as_large_as_their_smaller_side() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        site.drbd("web", "node2");
        for (node, question) in site.questions(ClusterRepairDiskSizes::new()) {
            let mut found = status(BlockState::Inactive);
            let mut child = status(BlockState::Inactive);
            child.size = Some(if node == "node1" { 2048 } else { 1536 });
            (found.size, found.children) = (None, vec![child]);
            site.answer(&node, question, Ok(Answer::Blocks(vec![found])));
        }
        let plan = site.plan(ClusterRepairDiskSizes::new()).expect("a plan");
        assert_eq!(plan.result, json!([["web", 0, "size", 1536]]));
        for (_, _, answer) in &mut site.facts.answers {
            let Ok(Answer::Blocks(all)) = answer else { panic!("not asked") };
            all[0].size = Some(2048);
        }
        let plan = site.plan(ClusterRepairDiskSizes::new()).expect("a plan");
        assert!(plan.say[0].contains("has only 1536 MiB on node node2"), "{:?}", plan.say);
    }
}
