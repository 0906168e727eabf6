//! `OP_INSTANCE_REPAIR_MIRROR`: mirrors whose two sides were both written while they did not see
//! each other (split brain) are joined again, and somebody says whose data is given up.
//!
//! ```text
//!   │ │ victim: nobody writes ─ gives up its data ─ survivor: connects ─ sync ─ (use again)
//! ```
//!
//! Data that is given up cannot be brought back, so nothing is done before the pivot: whatever
//! happens behind it, what was begun is finished. The pivot itself changes nothing.

use super::check;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::disks::{active, health};
use crate::ops::guest::instance_ref;
use crate::ops::{Context, Operate};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, BlockStatus, DiskRole, Question, SyncStatus};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceRepairMirror;
use std::collections::BTreeSet;

/// Whose data is given up, and whose is kept.
#[derive(Clone, Copy, Debug)]
struct Sides {
    victim: NodeId,
    survivor: NodeId,
}

impl Operate for InstanceRepairMirror {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let Sides { victim, survivor } = sides(self, config, instance)?;
        let mut questions = vec![(victim, Question::Guests)];
        for node in [victim, survivor] {
            let question = health::question(config, instance, node)?;
            questions.extend(question.map(|question| (node, question)));
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let both = sides(self, config, instance)?;
        let Sides { victim, survivor } = both;
        let (victim_name, survivor_name) = (config.node_name(victim), config.node_name(survivor));
        if cx.runs_on(instance, victim)? {
            return Err(Error::wrong_state(format!(
                "Instance {} runs on node {victim_name}: the data it works with can't be given \
                 up; to keep what is on node {survivor_name} shut it down first, otherwise \
                 discard that",
                instance.name
            )));
        }
        let disks = parted(self, cx, instance, both)?;
        let names: Vec<_> = disks.iter().map(|disk| disk.iv_name.clone()).collect();
        cx.say(format!(
            "Joining {} of instance {}: what was written on node {victim_name} since the sides \
             parted is given up, the data of node {survivor_name} is kept",
            names.join(", "),
            instance.name
        ));
        let primary = instance.primary_node;
        let there = active::on_node(config, victim, primary, &disks)?;
        let here = active::on_node(config, survivor, primary, &disks)?;
        let who = instance_ref(instance);
        let assemble = |disks: &[Disk], role| Action::DisksAssemble {
            instance: who.clone(),
            disks: disks.to_vec(),
            role,
            force: false,
            ignore_size: false,
            alone: false,
        };
        let mut plan = cx.start_plan();
        let close = Action::DisksClose { instance: who.clone(), disks: there.clone() };
        let discard = Action::MirrorsDiscard { instance: who.clone(), disks: there.clone() };
        plan.after.push(Step::new(
            format!("forbidding to write on {victim_name}"),
            Task::on(victim, close),
        ));
        plan.after.push(
            Step::new(format!("giving up the data of {victim_name}"), Task::on(victim, discard))
                .saying(format!("* giving up the data of node {victim_name}")),
        );
        let used = instance.disks_active;
        let role = |node| match used && node == primary {
            true => DiskRole::Primary,
            false => DiskRole::Secondary,
        };
        // One that is in use stays so; otherwise it becomes that when both are equal.
        let connect = assemble(&here, role(survivor));
        plan.after.push(
            Step::new(format!("connecting {survivor_name}"), Task::on(survivor, connect))
                .saying(format!("* connecting node {survivor_name}")),
        );
        plan.after.extend(
            active::sync(config, &who, &disks, primary)?
                .map(|step| step.saying("* wait until both sides are equal")),
        );
        if used && victim == primary {
            let open = assemble(&there, DiskRole::Primary);
            plan.after
                .push(Step::new(format!("using them on {victim_name}"), Task::on(victim, open)));
        }
        if !used {
            plan.after.extend(active::shutdown(config, &who, &disks, primary, &[])?);
        }
        Ok(plan)
    }
}

/// The two nodes. Errors: the one that is named is neither, or one is away.
fn sides(op: &InstanceRepairMirror, config: &Config, instance: &Instance) -> Result<Sides> {
    let secondaries = config.secondaries(instance);
    let [secondary] = secondaries.as_slice() else {
        return Err(Error::wrong_state(format!(
            "Instance {} has no mirrored disks, so they can't have parted",
            instance.name
        )));
    };
    let (primary, secondary) = (instance.primary_node, *secondary);
    let named = config.node(op.discard_node_uuid.as_deref().unwrap_or(&op.discard_node))?;
    let survivor = match named.uuid {
        id if id == primary => secondary,
        id if id == secondary => primary,
        _ => {
            return Err(Error::wrong_input(format!(
                "Node {} has nothing of the disks of instance {}; its nodes are {} and {}",
                named.name,
                instance.name,
                config.node_name(primary),
                config.node_name(secondary)
            )));
        }
    };
    for node in [named.uuid, survivor] {
        let node = config.node_by_id(node)?;
        if node.offline {
            return Err(Error::wrong_state(format!(
                "Node {} is marked offline: mirrors can be joined only where both nodes are \
                 there; to give its data up for good move the mirror with 'gnt-instance \
                 replace-disks -n'",
                node.name
            )));
        }
    }
    Ok(Sides { victim: named.uuid, survivor })
}

/// The mirrors that have parted, of those that are meant. Errors: there are none, or one that was
/// named has not; then how it is.
fn parted(
    op: &InstanceRepairMirror,
    cx: &Context<'_, '_>,
    instance: &Instance,
    both: Sides,
) -> Result<Vec<Disk>> {
    let config = cx.config();
    let stored = health::stored(config, instance);
    let wanted: BTreeSet<u32> = op.disks.iter().copied().collect();
    if let Some(number) = wanted.iter().find(|number| **number as usize >= stored.len()) {
        return Err(Error::wrong_input(format!(
            "Instance {} has no disk {number}; it has {} disks, numbered from 0",
            instance.name,
            stored.len()
        )));
    }
    let (victim, survivor) =
        (health::answers(cx, both.victim)?, health::answers(cx, both.survivor)?);
    let mut found = Vec::new();
    let mut fine = Vec::new();
    for (number, disk) in (0_u32..).zip(stored) {
        if !wanted.is_empty() && !wanted.contains(&number) {
            continue;
        }
        let of = |all: &[(&Disk, &BlockStatus)]| {
            let same = all.iter().find(|(known, _)| known.uuid == disk.uuid);
            same.and_then(|(_, status)| status.sync.clone())
        };
        let how = match (of(&victim), of(&survivor)) {
            _ if !active::is_mirror(&disk) => format!("is of template '{}'", disk.dev_type),
            (None, _) | (_, None) => format!(
                "does not tell on both nodes what it is made of; run 'gnt-instance \
                 activate-disks {}'",
                instance.name
            ),
            (Some(a), Some(b)) if health::have_parted(&a, &b) => {
                found.push(disk);
                continue;
            }
            (Some(a), Some(b)) => how(config, both, &a, &b),
        };
        fine.push(format!("{} {how}", disk.iv_name));
    }
    if found.is_empty() || (!wanted.is_empty() && !fine.is_empty()) {
        return Err(Error::wrong_state(format!(
            "There is no split brain to repair, no data is given up: {}",
            fine.join("; ")
        )));
    }
    Ok(found)
}

/// How two sides that have not parted are.
fn how(config: &Config, both: Sides, victim: &SyncStatus, survivor: &SyncStatus) -> String {
    let one = |node, sync: &SyncStatus| {
        format!("{} {} on {}", sync.connection, sync.disk, config.node_name(node))
    };
    format!("is {} and {}", one(both.victim, victim), one(both.survivor, survivor))
}

#[cfg(test)]
#[path = "repair_mirror_tests.rs"]
mod tests;
