//! `OP_INSTANCE_GROW_DISK`.
//!
//! ```text
//!   use the disk, grow it on the secondary, then on the primary │ its size │ wait for sync
//!                                         └─ with prealloc_wipe_disks: storage, zeros, tell guest
//! ```
//!
//! What has grown does not shrink. If anything fails the recorded size stays the old one, which is
//! what the disk has at least; growing it again goes on from there, and takes no more room for
//! what is there already. All steps may be repeated: one that finds the size reached does nothing,
//! and zeros are written only while no guest knows of the new part.

use super::check;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::{active, space};
use crate::ops::guest::instance_ref;
use crate::ops::{Context, Operate, policy};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, GrowStage, InstanceRef, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceGrowDisk;
use roost_proto::params::fill;
use roost_proto::units::{SizeUnit, format_unit};
use std::sync::Arc;

impl Operate for InstanceGrowDisk {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let disk = disk(config, instance, self.disk)?;
        let sides = online_sides(config, instance, &disk)?;
        let asks = disk.dev_type.uses_lvm();
        Ok(sides.into_iter().filter(|_| asks).map(|node| (node, Question::Node)).collect())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let old = disk(config, instance, self.disk)?;
        let sides = online_sides(config, instance, &old)?;
        let size = new_size(self, &old)?;
        let delta = size - old.size;
        let new = grown(&old, size);
        for (vg, mib) in more_room(&old, delta) {
            for node in &sides {
                space::check_group(cx, *node, vg, mib)?;
            }
        }
        check_policy(self, cx, instance, &new)?;
        cx.say(format!(
            "Growing disk {} of instance '{}' by {} to {}",
            self.disk,
            instance.name,
            format_unit(delta as f64, SizeUnit::Human),
            format_unit(size as f64, SizeUnit::Human)
        ));
        let one = std::slice::from_ref(&old);
        let (who, primary) = (instance_ref(instance), instance.primary_node);
        let mut plan = cx.start_plan();
        if !instance.disks_active {
            let how = active::Assembling::default();
            plan.before.extend(active::assemble(config, &who, one, primary, &how)?);
        }
        plan.before.extend(steps(config, &who, &old, primary, size)?);
        plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(new.clone()))));
        let new = std::slice::from_ref(&new);
        let sync = active::sync(config, &who, new, primary)?;
        match sync {
            Some(sync) if self.wait_for_sync => {
                plan.after.push(sync.on_failure(OnFailure::Warn));
            }
            Some(_) => plan.pivot.say.push(format!(
                " - WARNING: Not waiting for the new part of disk {} to be in sync; see \
                 'gnt-instance info {}'",
                self.disk, instance.name
            )),
            None => {}
        }
        if !instance.disks_active {
            plan.after.extend(active::shutdown(config, &who, new, primary, &[])?);
        }
        Ok(plan)
    }
}

/// The stored disk of that number, if it can grow.
fn disk(config: &Config, instance: &Instance, number: u32) -> Result<Disk> {
    let disks: Vec<Arc<Disk>> = config.disks_of(instance);
    let found = disks.get(number as usize).ok_or_else(|| {
        Error::wrong_input(format!(
            "Instance {} has no disk {number}; it has {} disks, numbered from 0",
            instance.name,
            disks.len()
        ))
    })?;
    if !found.dev_type.can_grow() {
        return Err(Error::wrong_state(format!(
            "Disk {number} of instance {} is of template '{}', which can't grow",
            instance.name, found.dev_type
        )));
    }
    Ok((**found).clone())
}

/// The nodes that must do something, the primary last. All must be there.
fn online_sides(config: &Config, instance: &Instance, disk: &Disk) -> Result<Vec<NodeId>> {
    let sides = active::sides(instance.primary_node, std::slice::from_ref(disk));
    for node in &sides {
        let node = config.node_by_id(*node)?;
        if node.offline {
            return Err(Error::wrong_state(format!(
                "Node {} is marked offline: {} of instance {} can grow only where all its nodes \
                 are there; bring it back, or replace it with 'gnt-instance replace-disks'",
                node.name, disk.iv_name, instance.name
            )));
        }
    }
    Ok(sides)
}

/// MiB it will have.
fn new_size(op: &InstanceGrowDisk, disk: &Disk) -> Result<u64> {
    if !op.absolute {
        return disk.size.checked_add(op.amount).ok_or_else(|| {
            Error::wrong_input(format!("Disk {} can't grow by {} MiB", op.disk, op.amount))
        });
    }
    if op.amount < disk.size {
        return Err(Error::wrong_state(format!(
            "Requested size ({}) is smaller than current disk size ({}); disks can't shrink",
            format_unit(op.amount as f64, SizeUnit::Human),
            format_unit(disk.size as f64, SizeUnit::Human)
        )));
    }
    Ok(op.amount)
}

/// The disk with its new size: of a mirror the data below it grows too.
fn grown(disk: &Disk, size: u64) -> Disk {
    let mut new = disk.clone();
    new.size = size;
    if let (true, Some(data)) = (active::is_mirror(disk), new.children.first_mut()) {
        data.size = size;
    }
    new
}

/// MiB that each of its nodes needs, by volume group.
fn more_room(disk: &Disk, delta: u64) -> Vec<(&str, u64)> {
    let data = disk.children.first().unwrap_or(disk);
    let groups = space::needed(std::slice::from_ref(data));
    groups.into_keys().map(|vg| (vg, delta)).filter(|(_, mib)| *mib > 0).collect()
}

/// The instance fits its group's policy, or breaks it no more than before.
fn check_policy(
    op: &InstanceGrowDisk,
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    new: &Disk,
) -> Result<()> {
    let config = cx.config();
    let node = config.node_by_id(instance.primary_node)?;
    let group = config
        .groups
        .get(&node.group)
        .ok_or_else(|| Error::internal(format!("Node {} is in no group", node.name)))?;
    let policy = fill::group_ipolicy(&config.cluster, group);
    let mut spec = policy::spec(config, instance);
    let known = policy.violations(&spec);
    if let Some(disk) = spec.disks.get_mut(op.disk as usize) {
        disk.1 = new.size;
    }
    let broken: Vec<_> =
        policy.violations(&spec).into_iter().filter(|v| !known.contains(v)).collect();
    if !broken.is_empty() && !op.ignore_ipolicy {
        return Err(Error::wrong_input(format!(
            "Growing disk {} violates the policy of group {}: {} (use --ignore-ipolicy to do it \
             anyway)",
            op.disk,
            group.name,
            broken.join(", ")
        )));
    }
    broken.into_iter().for_each(|violation| cx.warn(violation));
    Ok(())
}

/// Growing itself: the secondary first, because a mirror is as large as its smaller side.
fn steps(
    config: &Config,
    who: &InstanceRef,
    disk: &Disk,
    primary: NodeId,
    size: u64,
) -> Result<Vec<Step>> {
    let one = std::slice::from_ref(disk);
    let wipe = config.cluster.prealloc_wipe_disks && !disk.dev_type.is_file_based();
    let mut steps = Vec::new();
    for node in active::sides(primary, one) {
        let name = config.node_name(node);
        let stages: &[(GrowStage, &str)] = match (node == primary, wipe && size > disk.size) {
            (false, _) => &[(GrowStage::Storage, "growing storage")],
            (true, false) => &[(GrowStage::Whole, "growing disk")],
            (true, true) => &[
                (GrowStage::Storage, "growing storage"),
                (GrowStage::Zero, "wiping the new part of the disk"),
                (GrowStage::Whole, "telling the guest"),
            ],
        };
        for disk in active::on_node(config, node, primary, one)? {
            for (stage, what) in stages {
                let action = Action::DiskGrow {
                    instance: who.clone(),
                    disk: disk.clone(),
                    size,
                    stage: *stage,
                };
                let mut step = Step::new(format!("{what} on {name}"), Task::on(node, action));
                if *stage != GrowStage::Zero {
                    step.stays = Some(format!(
                        "{} may have grown on node {name} and can't shrink: it is recorded as \
                         {} still; growing it again goes on from there",
                        disk.iv_name,
                        format_unit(disk.size as f64, SizeUnit::Human)
                    ));
                }
                steps.push(step);
            }
        }
    }
    Ok(steps)
}

#[cfg(test)]
#[path = "grow_disk_tests.rs"]
mod tests;
