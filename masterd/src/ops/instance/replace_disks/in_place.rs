//! New volumes on the same node, under the old names.
//!
//! ```text
//!   node:  make new ─ let go of old ─ old away ─ new in their place ─ attach │ │ sync ─ remove old
//!   other:            goes on alone ────────────────────────────────► is what is synced from
//! ```
//!
//! Disks of a stopped instance are active meanwhile; there nobody waits, so they are equal before
//! the pivot. If the old volumes are gone, so is what could be activated with them: then the other
//! side is, alone.

use super::sides::{has_storage, must_be_good, statuses, volumes_there};
use super::{Replacing, headed, heading};
use crate::config::{Change, Object};
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::Context;
use crate::ops::disks::{active, space};
use crate::ops::guest::instance_ref;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, BlockStatus, DiskRole};
use roost_proto::objects::{Disk, LogicalId};

/// What is done to one node, all volumes of all disks at once.
struct Volumes {
    /// The mirrors as they are recorded, filled.
    disks: Vec<Disk>,
    /// The same on new volumes, under names of their own.
    clones: Vec<Disk>,
    /// The volumes of the clones, as disks.
    new: Vec<Disk>,
    /// Where they go.
    place: Vec<Disk>,
    /// The old volumes that are there.
    old: Vec<Disk>,
    /// Where those go.
    away: Vec<Disk>,
}

/// Replaces the side on `node`.
pub fn plan(cx: &mut Context<'_, '_>, replacing: &Replacing, node: NodeId) -> Result<Plan> {
    let config = cx.config();
    let other = replacing.other(node);
    let (here_name, other_name) = (config.node_name(node), config.node_name(other));
    for (id, way_out) in [(node, "move the mirror with -n"), (other, "it has the other side")] {
        if config.node_by_id(id)?.offline {
            return Err(Error::wrong_state(format!(
                "Node {} is marked offline, disks of instance {} can't be replaced in place; \
                 {way_out}",
                config.node_name(id),
                replacing.instance.name
            )));
        }
    }
    replacing.introduce(cx);
    cx.say(heading(1, "Check device existence"));
    let here = statuses(cx, node, &replacing.disks)?;
    for (disk, status) in replacing.disks.iter().zip(&here) {
        let there = if has_storage(status) { "" } else { ": its volumes are missing" };
        cx.info(format!("Checking {} on {here_name}{there}", disk.iv_name));
    }
    cx.say(heading(2, "Check peer consistency"));
    cx.info(format!("Checking disk consistency on node {other_name}"));
    must_be_good(cx, replacing, other, Some(&here))?;
    let lost = is_lost(replacing, &here)?;
    let volumes = volumes(cx, replacing, node, &here)?;
    space::check(cx, &[node], &volumes.clones)?;

    let (who, used) = (instance_ref(&replacing.instance), replacing.instance.disks_active);
    let primary = replacing.primary;
    let mut plan = cx.start_plan();
    if !used && lost {
        // The other side alone: whatever it has is all there is.
        let how = active::Assembling { without: vec![node], ..active::Assembling::default() };
        let alone = active::assemble(config, &who, &replacing.disks, other, &how)?;
        plan.before.extend(alone);
    } else if !used {
        let how = active::Assembling::default();
        plan.before.extend(active::assemble(config, &who, &replacing.disks, primary, &how)?);
        // What is let go of must not be newer than what stays. If all is undone, what was let go of
        // must catch up before nobody uses it any more.
        let sync = active::sync(config, &who, &replacing.disks, primary)?;
        plan.before.extend(sync.map(|step| {
            let again = step.task.clone();
            step.undone_by(again)
        }));
    }
    let role = match node == primary && (used || !lost) {
        true => DiskRole::Primary,
        false => DiskRole::Secondary,
    };
    let on = |action| Task::on(node, action);
    let create = Action::DisksCreate { instance: who.clone(), disks: volumes.clones };
    let unmake = Action::DisksRemove { instance: who.clone(), disks: volumes.new.clone() };
    plan.before.push(
        Step::new(format!("creating new volumes on {here_name}"), on(create))
            .saying(heading(3, "Allocate new storage"))
            .undone_by(on(unmake)),
    );
    let mut change = Vec::new();
    let assemble = || Action::DisksAssemble {
        instance: who.clone(),
        disks: volumes.disks.clone(),
        role,
        force: false,
        ignore_size: false,
        alone: false,
    };
    let detach = || Action::MirrorsDetach { instance: who.clone(), disks: volumes.disks.clone() };
    let is_up = used || !lost;
    if is_up {
        let mut step =
            Step::new(format!("letting go of the old volumes on {here_name}"), on(detach()));
        if !lost {
            step = step.undone_by(on(assemble()));
        }
        change.push(step);
    }
    let rename = |from: &[Disk], to: &[Disk]| {
        on(Action::DisksRename { instance: who.clone(), from: from.to_vec(), to: to.to_vec() })
    };
    if !volumes.old.is_empty() {
        let (old, away) = (&volumes.old, &volumes.away);
        change.push(
            Step::new(format!("renaming the old volumes on {here_name}"), rename(old, away))
                .undone_by(rename(away, old)),
        );
    }
    let (new, place) = (&volumes.new, &volumes.place);
    change.push(
        Step::new(format!("renaming the new volumes on {here_name}"), rename(new, place))
            .undone_by(rename(place, new)),
    );
    let shutdown = || Action::DisksShutdown { instance: who.clone(), disks: volumes.disks.clone() };
    change.push(
        Step::new(format!("attaching the new volumes on {here_name}"), on(assemble()))
            .undone_by(on(if is_up { detach() } else { shutdown() })),
    );
    plan.before.extend(headed(change, 4, "Changing drbd configuration"));

    // Nothing but the time of the change: the names are those there were.
    for disk in &replacing.disks {
        plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(disk.clone()))));
    }
    let sync: Vec<Step> =
        active::sync(config, &who, &replacing.disks, primary)?.into_iter().collect();
    let remove: Vec<Step> = if volumes.away.is_empty() {
        vec![]
    } else {
        let gone = Action::DisksRemove { instance: who.clone(), disks: volumes.away };
        let name = format!("removing the old volumes on {here_name}");
        vec![Step::new(name, on(gone)).on_failure(OnFailure::Debris)]
    };
    super::finish(&mut plan, replacing, sync, remove);
    if !used {
        // Whoever is in charge of it meanwhile goes first.
        let leads = if lost { other } else { primary };
        plan.after.extend(active::shutdown(config, &who, &replacing.disks, leads, &[])?);
    }
    Ok(plan)
}

/// The old volumes are gone. Errors: only those of some disks, which takes two ways at once.
fn is_lost(replacing: &Replacing, here: &[&BlockStatus]) -> Result<bool> {
    let lost = here.iter().filter(|status| !has_storage(status)).count();
    if lost == 0 || lost == here.len() {
        return Ok(lost > 0);
    }
    let which = replacing.disks.iter().zip(here).filter(|(_, status)| !has_storage(status));
    let names: Vec<_> =
        which.map(|(disk, _)| disk.iv_name.trim_start_matches("disk/").to_owned()).collect();
    Err(Error::wrong_state(format!(
        "Volumes of some disks of instance {} are missing, those of others are there: replace the \
         missing ones first, with --disks={}",
        replacing.instance.name,
        names.join(",")
    )))
}

/// All names, old and new.
fn volumes(
    cx: &mut Context<'_, '_>,
    replacing: &Replacing,
    node: NodeId,
    here: &[&BlockStatus],
) -> Result<Volumes> {
    let disks = active::on_node(cx.config(), node, replacing.primary, &replacing.disks)?;
    // Whole seconds tell it apart from any other replacement of the disk.
    let stamp = cx.now() as u64;
    let mut all = Volumes {
        clones: vec![],
        new: vec![],
        place: vec![],
        old: vec![],
        away: vec![],
        disks: disks.clone(),
    };
    for (disk, status) in disks.iter().zip(here) {
        let unique = cx.uuid();
        let mut clone = disk.clone();
        for (number, volume) in clone.children.iter_mut().enumerate() {
            let LogicalId::Pair(vg, name) = volume.logical_id.clone() else {
                return Err(Error::internal(format!(
                    "{} of instance {} stands on something that is no volume",
                    disk.iv_name, replacing.instance.name
                )));
            };
            let called = |volume: &Disk, name: String| Disk {
                logical_id: LogicalId::Pair(vg.clone(), name),
                iv_name: disk.iv_name.clone(),
                nodes: vec![node],
                ..volume.clone()
            };
            let rest = name.split_once('.').map_or(name.as_str(), |(_, rest)| rest);
            let new = format!("{unique}.{rest}");
            if volumes_there(status, number) {
                all.away.push(called(volume, format!("{name}_replaced-{stamp}")));
                all.old.push(called(volume, name.clone()));
            }
            all.new.push(called(volume, new.clone()));
            all.place.push(called(volume, name));
            volume.logical_id = LogicalId::Pair(vg.clone(), new);
        }
        all.clones.push(clone);
    }
    Ok(all)
}
