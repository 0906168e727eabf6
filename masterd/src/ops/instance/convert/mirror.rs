//! A mirror for volumes that have none, and volumes that lose theirs: no data is copied on the
//! primary node.
//!
//! ```text
//!   plain ─► drbd   rename the volumes, make the other side, meta data, │ mirrors │ let go
//!                   connect, start to mirror, wait until it is equal    │
//!   drbd ─► plain   use the mirrors, wait until they are equal │ volumes │ let go, remove meta data
//!                                                                         and the other side
//! ```
//!
//! The data volume keeps its identity: it is the same disk object, once by itself and once as what
//! the mirror stands on. So a node never takes it for a stranger's, and nothing but the meta data
//! is ever removed from the primary node.

use super::copy::{leave_behind, secondary};
use super::{Old, Wanted, real_size};
use crate::config::{Change, Config, Object, ObjectKey};
use crate::jobs::plan::{OnFailure, Step, Task};
use crate::ops::Context;
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::make::{self, NewDisk};
use crate::ops::disks::{health, space};
use crate::ops::guest::{filled_disks, instance_ref};
use crate::ops::instance::set_devices::DevicePlan;
use roost_proto::choices::{DiskTemplate, FileDriver};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Action;
use roost_proto::objects::{Disk, Instance, LogicalId};
use roost_proto::opcodes::{DiskSpec, InstanceSetParams};

/// Gives plain disks a mirror. Returns the mirrored disks.
pub fn add(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    instance: &Instance,
    wanted: &Wanted,
    old: &Old<'_>,
    devices: &mut DevicePlan,
) -> Result<Vec<Disk>> {
    let config = cx.config();
    let primary = instance.primary_node;
    let other = secondary(cx, op, instance, wanted, old)?
        .ok_or_else(|| Error::internal("a mirror without a secondary node"))?;
    let mut new = Vec::new();
    for (index, (disk, status)) in old.disks.iter().zip(old.statuses).enumerate() {
        new.push(mirrored(cx, instance, disk, index, other, real_size(disk, status))?);
    }
    space::check(cx, &[other], &new)?;
    let metas = children(&new, 1);
    space::check(cx, &[primary], &metas)?;

    let who = instance_ref(instance);
    let (here, there) = (config.node_name(primary), config.node_name(other));
    let on = Task::on;
    let from = filled_disks(config, primary, &old.disks)?;
    let to = filled_disks(config, primary, &children(&new, 0))?;
    let rename = |from: &[Disk], to: &[Disk]| {
        let (from, to) = (from.to_vec(), to.to_vec());
        on(primary, Action::DisksRename { instance: who.clone(), from, to })
    };
    devices.before.push(
        Step::new("renaming the volumes", rename(&from, &to))
            .saying("Converting disk template from 'plain' to 'drbd'")
            .undone_by(rename(&to, &from)),
    );
    let create = |disks| Action::DisksCreate { instance: who.clone(), disks };
    let remove = |disks| Action::DisksRemove { instance: who.clone(), disks };
    let far = active::on_node(config, other, primary, &new)?;
    devices.before.push(
        Step::new(format!("creating volumes on {there}"), on(other, create(far.clone())))
            .saying("Creating additional volumes...")
            .undone_by(on(other, remove(far))),
    );
    // Undone: only the meta data goes, never the data.
    let near = active::on_node(config, primary, primary, &new)?;
    let metas = filled_disks(config, primary, &metas)?;
    devices.before.push(
        Step::new(format!("creating meta data on {here}"), on(primary, create(near)))
            .undone_by(on(primary, remove(metas))),
    );
    let mut connect = active::connect(config, &who, &new, primary)?;
    if let Some(first) = connect.first_mut() {
        first.say = Some("Initializing DRBD devices...".into());
    }
    devices.before.extend(connect);
    if op.wait_for_sync {
        devices.before.extend(active::sync(config, &who, &new, primary)?);
    } else {
        cx.info(format!(
            "The new mirrors are made equal while the disks are active; until then node {there} has \
             no good copy"
        ));
    }
    swap(&old.disks, &new, devices);
    devices.after.extend(active::shutdown(config, &who, &new, primary, &[])?);
    Ok(new)
}

/// A mirror on a volume that exists.
fn mirrored(
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    disk: &Disk,
    index: usize,
    secondary: NodeId,
    size: u64,
) -> Result<Disk> {
    let LogicalId::Pair(vg, _) = &disk.logical_id else {
        return Err(Error::internal(format!("disk {} is on no volume group", disk.uuid)));
    };
    let spec = DiskSpec {
        mode: Some(disk.mode),
        name: disk.name.clone(),
        vg: Some(vg.clone()),
        ..DiskSpec::sized(size)
    };
    let mut new = make::new_disk(
        cx,
        &NewDisk {
            template: DiskTemplate::Drbd,
            spec: &spec,
            index,
            instance: instance.uuid,
            primary: instance.primary_node,
            secondary: Some(secondary),
            directory: "",
            driver: FileDriver::Loop,
        },
    )?;
    let data = new.children.first_mut().ok_or_else(|| Error::internal("a mirror of nothing"))?;
    data.uuid = disk.uuid;
    data.params.clone_from(&disk.params);
    Ok(new)
}

/// The volumes that mirrors stand on: 0 the data, 1 the meta data.
fn children(disks: &[Disk], which: usize) -> Vec<Disk> {
    disks.iter().filter_map(|disk| disk.children.get(which).cloned()).collect()
}

/// The new disks instead of the old ones.
fn swap(old: &[Disk], new: &[Disk], devices: &mut DevicePlan) {
    for disk in new {
        devices.disk_changes.push(Change::Add(Object::Disk(Box::new(disk.clone()))));
    }
    devices.removals.extend(old.iter().map(|disk| Change::Remove(ObjectKey::Disk(disk.uuid))));
}

/// Takes the mirror away. Returns the plain disks.
pub fn drop_it(
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    old: &Old<'_>,
    devices: &mut DevicePlan,
) -> Result<Vec<Disk>> {
    let config = cx.config();
    let primary = instance.primary_node;
    let away = health::away(
        cx,
        instance,
        false,
        "bring it back, or mark it offline ('gnt-node modify --offline=yes') to convert without it",
    )?;
    let new: Vec<Disk> = old
        .disks
        .iter()
        .zip(old.statuses)
        .map(|(d, s)| alone(d, real_size(d, s), primary))
        .collect();
    let who = instance_ref(instance);
    // Used once more as a mirror, to be sure that what stays is what counts.
    let how = Assembling { without: away.clone(), ..Assembling::default() };
    let mut using = active::assemble(config, &who, &old.disks, primary, &how)?;
    if let Some(first) = using.first_mut() {
        first.say = Some("Converting disk template from 'drbd' to 'plain'".into());
    }
    devices.before.extend(using);
    if away.is_empty() {
        devices.before.extend(active::sync(config, &who, &old.disks, primary)?);
    }
    swap(&old.disks, &new, devices);
    devices.after.extend(active::shutdown(config, &who, &old.disks, primary, &away)?);
    devices.after.extend(remove_rest(config, instance, &old.disks, &away)?);
    leave_behind(cx, &away, &old.disks);
    Ok(new)
}

/// The data volume of a mirror as a disk of its own.
fn alone(disk: &Disk, size: u64, primary: NodeId) -> Disk {
    let data = disk.children.first().cloned().unwrap_or_else(|| disk.clone());
    Disk {
        nodes: vec![primary],
        iv_name: disk.iv_name.clone(),
        size,
        mode: disk.mode,
        name: disk.name.clone(),
        serial_no: 1,
        ..data
    }
}

/// The meta data on the primary, and all of the other side.
fn remove_rest(
    config: &Config,
    instance: &Instance,
    old: &[Disk],
    away: &[NodeId],
) -> Result<Vec<Step>> {
    let primary = instance.primary_node;
    let remove = |name: &str, node, disks| {
        let action = Action::DisksRemove { instance: instance_ref(instance), disks };
        Step::new(name, Task::on(node, action)).on_failure(OnFailure::Debris)
    };
    let metas = filled_disks(config, primary, &children(old, 1))?;
    let mut steps = vec![
        remove("removing the meta data", primary, metas)
            .saying("Removing unneeded volumes on the primary node..."),
    ];
    for node in active::sides(primary, old) {
        if node == primary || away.contains(&node) {
            continue;
        }
        let disks = active::on_node(config, node, primary, old)?;
        steps.push(
            remove("removing the other side", node, disks)
                .saying("Removing volumes on the secondary node..."),
        );
    }
    Ok(steps)
}
