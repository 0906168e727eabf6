//! Another node becomes the secondary.
//!
//! ```text
//!   new:      volumes ─ mirror set up, waits ─────────────┐
//!   old:                                 parted, outdated │        │        remove
//!   primary:                     turns from old to new ───┘ nodes, │ sync
//!                                                           minors │
//! ```
//!
//! The primary's data is what counts. The old secondary keeps what it has, marked as not the
//! newest, until the new one is equal. If it is away it is left alone: its volumes are debris.

use super::sides::{must_be_good, set_up, statuses};
use super::{Replacing, headed, heading};
use crate::config::{Change, Config, Object};
use crate::jobs::plan::{Leftover, OnFailure, Plan, Step, Task};
use crate::ops::Context;
use crate::ops::disks::{active, make, minors, space};
use crate::ops::guest::instance_ref;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, BlockStatus, DiskRole, InstanceRef};
use roost_proto::objects::{Disk, LogicalId};

/// Moves the mirrors from the secondary to `target`.
pub fn plan(cx: &mut Context<'_, '_>, replacing: &Replacing, target: NodeId) -> Result<Plan> {
    let config = cx.config();
    let Replacing { instance, primary, disks, .. } = replacing;
    let primary = *primary;
    let target_name = config.node_name(target);
    if config.node_by_id(primary)?.offline {
        return Err(Error::wrong_state(format!(
            "Primary node {} of instance {} is marked offline; fail it over first, then the node \
             that is gone is its secondary",
            config.node_name(primary),
            instance.name
        )));
    }
    if make::is_exclusive(config, config.node_by_id(target)?) {
        return Err(Error::wrong_state(format!(
            "Node {target_name} has exclusive storage, mirrors can't be there"
        )));
    }
    replacing.introduce(cx);
    let old = old_secondary(cx, replacing)?;
    let early_release = replacing.early_release || old.is_offline;
    cx.say(heading(1, "Check device existence"));
    for disk in disks {
        cx.info(format!("Checking {} on {}", disk.iv_name, config.node_name(primary)));
    }
    cx.say(heading(2, "Check peer consistency"));
    cx.info(format!("Checking disk consistency on node {}", config.node_name(primary)));
    must_be_good(cx, replacing, primary, old.statuses.as_deref())?;
    let new = moved(cx, disks, primary, target)?;
    space::check(cx, &[target], &new)?;

    let (who, used) = (instance_ref(instance), instance.disks_active);
    let mut plan = cx.start_plan();
    let there = active::on_node(config, target, primary, &new)?;
    let on_target = |action| Task::on(target, action);
    let create = Action::DisksCreate { instance: who.clone(), disks: there.clone() };
    let unmake = Action::DisksRemove { instance: who.clone(), disks: there.clone() };
    plan.before.push(
        Step::new(format!("creating new volumes on {target_name}"), on_target(create))
            .saying(heading(3, "Allocate new storage"))
            .undone_by(on_target(unmake)),
    );
    let shutdown = Action::DisksShutdown { instance: who.clone(), disks: there.clone() };
    let mut change = vec![
        Step::new(
            format!("setting up the mirrors on {target_name}"),
            on_target(assemble(&who, there, DiskRole::Secondary, false)),
        )
        .undone_by(on_target(shutdown)),
    ];
    if old.is_up(used) {
        change.push(part(config, &who, replacing)?);
    }
    change.push(turn(config, &who, replacing, &new)?);
    plan.before.extend(headed(change, 4, "Changing drbd configuration"));
    for disk in &new {
        plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(disk.clone()))));
    }
    let sync: Vec<Step> = active::sync(config, &who, &new, primary)?.into_iter().collect();
    let remove = removal(config, &who, replacing)?;
    let remove = match old.away {
        None => vec![remove],
        Some(why) => {
            plan.pivot.leaves.push(Leftover { step: remove, why });
            vec![]
        }
    };
    super::finish(&mut plan, &Replacing { early_release, ..replacing.clone() }, sync, remove);
    if !used {
        plan.after.extend(active::shutdown(config, &who, &new, primary, &[])?);
    }
    Ok(plan)
}

/// What is known of the node that is the secondary so far.
struct Old<'b> {
    /// Why nothing is done there, if so.
    away: Option<String>,
    is_offline: bool,
    statuses: Option<Vec<&'b BlockStatus>>,
}

impl Old<'_> {
    /// Its mirrors are set up, so they must be parted.
    fn is_up(&self, used: bool) -> bool {
        let up = |all: &Vec<&BlockStatus>| used || all.iter().any(|s| set_up(s).is_some());
        self.away.is_none() && self.statuses.as_ref().is_some_and(up)
    }
}

fn old_secondary<'b>(cx: &mut Context<'_, 'b>, replacing: &Replacing) -> Result<Old<'b>> {
    let node = cx.config().node_by_id(replacing.secondary)?;
    if node.offline {
        cx.info(format!(
            "Old secondary node {} is marked offline: early release is switched on, and its \
             volumes stay there until it is back and 'gnt-cluster repair-debris' removes them",
            node.name
        ));
        let away = Some(format!("node {} is marked offline", node.name));
        return Ok(Old { away, is_offline: true, statuses: None });
    }
    match statuses(cx, replacing.secondary, &replacing.disks) {
        Ok(all) => Ok(Old { away: None, is_offline: false, statuses: Some(all) }),
        // It is there, only this once it said nothing.
        Err(error) if cx.seen().get(&node.uuid).is_some_and(|view| view.up) => Err(error),
        Err(error) => {
            cx.warn(format!(
                "Old secondary node {} does not answer: its mirrors are not taken down, its \
                 volumes stay there until it is back and 'gnt-cluster repair-debris' removes \
                 them: {error}",
                node.name
            ));
            let away = Some(format!("node {} does not answer: {error}", node.name));
            Ok(Old { away, is_offline: false, statuses: None })
        }
    }
}

/// The disks with their mirror on another node: another minor there, another port and secret, so
/// that the old secondary cannot be taken for the new one.
fn moved(
    cx: &mut Context<'_, '_>,
    disks: &[Disk],
    primary: NodeId,
    target: NodeId,
) -> Result<Vec<Disk>> {
    let mut all = Vec::new();
    for disk in disks {
        let here = minors::minor_of(disk, primary).ok_or_else(|| {
            Error::internal(format!("{} has no minor on its primary node", disk.iv_name))
        })?;
        let (port, there) = (cx.new_port()?, minors::new_minor(cx, target)?);
        let secret = minors::new_secret(cx);
        let mut new = disk.clone();
        new.logical_id = LogicalId::Drbd(primary, target, port, here, there, secret);
        new.nodes = vec![primary, target];
        for child in &mut new.children {
            child.nodes.clone_from(&new.nodes);
        }
        all.push(new);
    }
    Ok(all)
}

fn assemble(who: &InstanceRef, disks: Vec<Disk>, role: DiskRole, alone: bool) -> Action {
    Action::DisksAssemble {
        instance: who.clone(),
        disks,
        role,
        force: false,
        ignore_size: false,
        alone,
    }
}

/// Parts the old secondary. Its failure only means that it finds out by itself.
fn part(config: &Config, who: &InstanceRef, replacing: &Replacing) -> Result<Step> {
    let Replacing { primary, secondary, disks, .. } = replacing;
    let old = active::on_node(config, *secondary, *primary, disks)?;
    let again = assemble(who, old.clone(), DiskRole::Secondary, false);
    let action = Action::MirrorsDisconnect { instance: who.clone(), disks: old, outdate: true };
    let name = format!("parting old secondary node {}", config.node_name(*secondary));
    Ok(Step::new(name, Task::on(*secondary, action))
        .undone_by(Task::on(*secondary, again))
        .on_failure(OnFailure::Warn))
}

/// The primary turns to the new secondary.
fn turn(config: &Config, who: &InstanceRef, replacing: &Replacing, new: &[Disk]) -> Result<Step> {
    let primary = replacing.primary;
    let here = active::on_node(config, primary, primary, new)?;
    let back = match replacing.instance.disks_active {
        // The old secondary comes back behind it.
        true => {
            let old = active::on_node(config, primary, primary, &replacing.disks)?;
            assemble(who, old, DiskRole::Primary, true)
        }
        false => Action::DisksShutdown { instance: who.clone(), disks: here.clone() },
    };
    let name = format!("connecting {} to the new mirrors", config.node_name(primary));
    let action = assemble(who, here, DiskRole::Primary, false);
    Ok(Step::new(name, Task::on(primary, action)).undone_by(Task::on(primary, back)))
}

/// Takes the old mirrors down and removes their volumes.
fn removal(config: &Config, who: &InstanceRef, replacing: &Replacing) -> Result<Step> {
    let Replacing { primary, secondary, disks, .. } = replacing;
    let disks = active::on_node(config, *secondary, *primary, disks)?;
    let action = Action::DisksRemove { instance: who.clone(), disks };
    let name = format!("removing the old volumes on {}", config.node_name(*secondary));
    Ok(Step::new(name, Task::on(*secondary, action)).on_failure(OnFailure::Debris))
}
