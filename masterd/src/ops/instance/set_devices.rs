//! Changing the disks and network cards of an instance.
//!
//! New devices are made, and plugged into a running guest, before the pivot; devices that go are
//! unplugged before it and destroyed after it.

use super::check;
use super::devices;
use super::set_params::Changes;
use crate::config::{Change, Config, Object, ObjectKey};
use crate::jobs::plan::{OnFailure, Step, Task};
use crate::ops::Context;
use crate::ops::guest::{filled_disks, guest_nic, guest_with, instance_ref};
use roost_proto::choices::{DeviceAction, DiskTemplate, FileDriver};
use roost_proto::error::{Error, Result};
use roost_proto::node::{Action, DiskRole, GuestSpec};
use roost_proto::objects::{Disk, Instance, Nic};
use roost_proto::opcodes::{DeviceRef, DiskSpec, InstanceSetParams, MAX_DISKS, MAX_NICS, NicSpec};
use roost_proto::params::{ParamMap, fill};
use serde_json::json;
use std::collections::BTreeSet;

/// What changing the devices takes.
#[derive(Debug, Default)]
pub struct DevicePlan {
    pub changes: Changes,
    pub before: Vec<Step>,
    /// New and changed disks.
    pub disk_changes: Vec<Change>,
    /// Disks that go: after the instance no longer names them.
    pub removals: Vec<Change>,
    pub after: Vec<Step>,
    /// All disks it will have.
    pub all_disks: Vec<Disk>,
}

/// The bridges that new and changed cards will need.
pub fn wanted_bridges(op: &InstanceSetParams, config: &Config) -> Vec<String> {
    let default = fill::nicparams(&config.cluster, &ParamMap::new());
    let bridges: BTreeSet<_> = op
        .nics
        .iter()
        .filter(|change| matches!(change.action, DeviceAction::Add | DeviceAction::Modify))
        .filter(|change| change.spec.mode.as_deref().unwrap_or(default.mode.as_str()) == "bridged")
        .filter_map(|change| change.spec.link.clone().or_else(|| change.spec.bridge.clone()))
        .filter(|link| link != "default")
        .collect();
    bridges.into_iter().collect()
}

/// Plans all device changes; `new` becomes the instance with them.
pub fn plan(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    new: &mut Instance,
    hotplug: bool,
) -> Result<DevicePlan> {
    let config = cx.config();
    let mut plan = DevicePlan {
        all_disks: config.disks_of(new).iter().map(|d| (**d).clone()).collect(),
        ..DevicePlan::default()
    };
    for change in &op.disks {
        match change.action {
            DeviceAction::Add => {
                add_disk(cx, op, new, &change.device, &change.spec, hotplug, &mut plan)?
            }
            DeviceAction::Remove => remove_disk(cx, new, &change.device, hotplug, &mut plan)?,
            DeviceAction::Modify => modify_disk(new, &change.device, &change.spec, &mut plan)?,
            DeviceAction::Attach | DeviceAction::Detach => {
                return Err(Error::wrong_input(format!(
                    "Disks can't be changed by '{}' in this version",
                    change.action
                )));
            }
        }
    }
    let nic_bridges = !op.nics.is_empty();
    for change in &op.nics {
        match change.action {
            DeviceAction::Add => {
                add_nic(cx, new, &change.device, &change.spec, hotplug, &mut plan)?
            }
            DeviceAction::Remove => remove_nic(cx, new, &change.device, hotplug, &mut plan)?,
            DeviceAction::Modify => {
                modify_nic(cx, new, &change.device, &change.spec, hotplug, &mut plan)?;
            }
            DeviceAction::Attach | DeviceAction::Detach => {
                return Err(Error::wrong_input(format!(
                    "NICs can't be changed by '{}'",
                    change.action
                )));
            }
        }
    }
    if nic_bridges && !op.force {
        check::bridges(cx, new.primary_node)?;
    }
    for (index, disk) in plan.all_disks.iter_mut().enumerate() {
        let place = format!("disk/{index}");
        if disk.iv_name != place {
            disk.iv_name = place;
            if config.disks.contains_key(&disk.uuid) {
                note_update(&mut plan.disk_changes, disk.clone());
            }
        }
    }
    new.disks = plan.all_disks.iter().map(|d| d.uuid).collect();
    Ok(plan)
}

/// One update a disk: the last.
fn note_update(changes: &mut Vec<Change>, disk: Disk) {
    changes
        .retain(|change| !matches!(change, Change::Update(Object::Disk(d)) if d.uuid == disk.uuid));
    changes.push(Change::Update(Object::Disk(Box::new(disk))));
}

/// The place of an existing device.
fn find<'d, T: 'd>(
    kind: &str,
    all: &'d [T],
    wanted: &DeviceRef,
    matches: impl Fn(&'d T, &str) -> bool,
) -> Result<usize> {
    let found = match wanted {
        DeviceRef::Index(-1) => all.len().checked_sub(1),
        DeviceRef::Index(index) => usize::try_from(*index).ok().filter(|i| *i < all.len()),
        DeviceRef::Name(name) => all.iter().position(|device| matches(device, name)),
    };
    found.ok_or_else(|| Error::unknown(format!("There is no {kind} '{wanted}'")))
}

fn find_disk(all: &[Disk], wanted: &DeviceRef) -> Result<usize> {
    find("disk", all, wanted, |d, name| {
        d.name.as_deref() == Some(name) || d.uuid.to_string() == name
    })
}

fn find_nic(all: &[Nic], wanted: &DeviceRef) -> Result<usize> {
    find("NIC", all, wanted, |n, name| {
        n.name.as_deref() == Some(name) || n.uuid.to_string() == name
    })
}

/// The place of a new device: at the end unless said otherwise.
fn new_place(count: usize, limit: usize, wanted: &DeviceRef, kind: &str) -> Result<usize> {
    if count >= limit {
        return Err(Error::wrong_state(format!(
            "An instance has at most {limit} {kind}s, this one has {count}"
        )));
    }
    match wanted {
        DeviceRef::Index(-1) => Ok(count),
        DeviceRef::Index(index) => match usize::try_from(*index) {
            Ok(place) if place <= count => Ok(place),
            _ => Err(Error::wrong_input(format!(
                "Invalid place {index} for a new {kind}: 0 to {count}, or -1 for the end"
            ))),
        },
        DeviceRef::Name(name) => {
            Err(Error::wrong_input(format!("A new {kind} has a place, not the name '{name}'")))
        }
    }
}

fn guest_now(cx: &Context<'_, '_>, new: &Instance, disks: &[Disk]) -> Result<Box<GuestSpec>> {
    Ok(Box::new(guest_with(cx.config(), new, disks)?))
}

fn add_disk(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    new: &mut Instance,
    place: &DeviceRef,
    spec: &DiskSpec,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let config = cx.config();
    let place = new_place(plan.all_disks.len(), MAX_DISKS as usize, place, "disk")?;
    let template = match plan.all_disks.first() {
        Some(first) => first.dev_type,
        None => spec
            .dev_type
            .filter(|t| *t != DiskTemplate::Diskless)
            .or_else(|| {
                let enabled = config.cluster.enabled_disk_templates.iter();
                enabled.copied().find(|t| *t != DiskTemplate::Diskless)
            })
            .ok_or_else(|| Error::wrong_input("Name the template of the disk (dev_type=…)"))?,
    };
    if !config.cluster.enabled_disk_templates.contains(&template) {
        return Err(Error::wrong_input(format!(
            "Disk template '{template}' is not enabled in cluster"
        )));
    }
    let driver = op.file_driver.unwrap_or(FileDriver::Loop);
    let subdirectory = op.file_storage_dir.as_deref();
    let directory = devices::file_directory(config, template, subdirectory, &new.name)?;
    let node = new.primary_node;
    let spec = DiskSpec { dev_type: None, ..spec.clone() };
    let disk = devices::new_disk(cx, template, &spec, place, node, &directory, driver)?;
    let filled = filled_disks(config, node, std::slice::from_ref(&disk))?;
    let who = instance_ref(new);
    let on = |action| Task::on(node, action);
    let create = Action::DisksCreate { instance: who.clone(), disks: filled.clone() };
    let remove = Action::DisksRemove { instance: who.clone(), disks: filled.clone() };
    plan.before.push(Step::new("creating disk", on(create)).undone_by(on(remove)));
    if config.cluster.prealloc_wipe_disks {
        let wipe = Action::DisksWipe { instance: who.clone(), disks: filled.clone() };
        plan.before.push(Step::new("wiping disk", on(wipe)));
    }
    let size = disk.size;
    let mode = disk.mode;
    plan.disk_changes.push(Change::Add(Object::Disk(Box::new(disk.clone()))));
    plan.all_disks.insert(place, disk);
    plan.changes.push((format!("disk/{place}"), json!(format!("add:size={size},mode={mode}"))));
    if hotplug {
        let role = DiskRole::Primary;
        let assemble = Action::DisksAssemble {
            instance: who.clone(),
            disks: filled.clone(),
            role,
            force: false,
            ignore_size: false,
            alone: false,
        };
        let shutdown = Action::DisksShutdown { instance: who, disks: filled.clone() };
        plan.before.push(Step::new("activating disk", on(assemble)).undone_by(on(shutdown)));
        let mut after = new.clone();
        after.disks = plan.all_disks.iter().map(|d| d.uuid).collect();
        let guest = guest_now(cx, &after, &plan.all_disks)?;
        let disk = filled[0].clone();
        let plug = Action::DiskPlug { guest: guest.clone(), disk: disk.clone() };
        let unplug = Action::DiskUnplug { guest, disk };
        plan.before.push(
            Step::new("hotplugging disk", on(plug))
                .saying("Trying to hotplug device...")
                .undone_by(on(unplug)),
        );
        plan.changes.push((format!("disk/{place}"), json!("hotplug:done")));
    }
    Ok(())
}

fn remove_disk(
    cx: &mut Context<'_, '_>,
    new: &mut Instance,
    wanted: &DeviceRef,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let config = cx.config();
    let place = find_disk(&plan.all_disks, wanted)?;
    let node = new.primary_node;
    let guest = guest_now(cx, new, &plan.all_disks)?;
    let disk = plan.all_disks.remove(place);
    let filled = filled_disks(config, node, std::slice::from_ref(&disk))?;
    let on = |action| Task::on(node, action);
    let running = cx.runs_on(new, node).unwrap_or(false);
    if running && !hotplug {
        return Err(Error::wrong_state(format!(
            "Instance {} is running and disk/{place} can't be unplugged from it; shut it down first",
            new.name
        )));
    }
    if hotplug {
        let unplug = Action::DiskUnplug { guest: guest.clone(), disk: filled[0].clone() };
        let plug = Action::DiskPlug { guest, disk: filled[0].clone() };
        plan.before.push(
            Step::new("unplugging disk", on(unplug))
                .saying("Trying to hotplug device...")
                .undone_by(on(plug)),
        );
    }
    plan.changes.push((format!("disk/{place}"), json!("remove")));
    if hotplug {
        plan.changes.push((format!("disk/{place}"), json!("hotplug:done")));
    }
    plan.removals.push(Change::Remove(ObjectKey::Disk(disk.uuid)));
    let who = instance_ref(new);
    let shutdown = Action::DisksShutdown { instance: who.clone(), disks: filled.clone() };
    let warn = OnFailure::Warn;
    plan.after.push(Step::new("deactivating disk", on(shutdown)).on_failure(warn));
    let remove = Action::DisksRemove { instance: who, disks: filled };
    plan.after.push(Step::new("removing disk", on(remove)).on_failure(OnFailure::Debris));
    Ok(())
}

fn modify_disk(
    _new: &Instance,
    wanted: &DeviceRef,
    spec: &DiskSpec,
    plan: &mut DevicePlan,
) -> Result<()> {
    let place = find_disk(&plan.all_disks, wanted)?;
    let disk = &mut plan.all_disks[place];
    if spec.size.is_some() {
        return Err(Error::wrong_input("Disk size change not possible, use grow-disk"));
    }
    let allowed = DiskSpec { mode: spec.mode, name: spec.name.clone(), ..DiskSpec::default() };
    if *spec != allowed {
        return Err(Error::wrong_input(format!(
            "Only mode and name of disk/{place} can be changed"
        )));
    }
    if let Some(mode) = spec.mode {
        disk.mode = mode;
        plan.changes.push((format!("disk.mode/{place}"), json!(mode)));
    }
    if let Some(name) = &spec.name {
        disk.name = Some(name.clone()).filter(|name| name != "none");
        plan.changes.push((format!("disk.name/{place}"), json!(disk.name)));
    }
    let disk = disk.clone();
    note_update(&mut plan.disk_changes, disk);
    Ok(())
}

fn add_nic(
    cx: &mut Context<'_, '_>,
    new: &mut Instance,
    place: &DeviceRef,
    spec: &NicSpec,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let place = new_place(new.nics.len(), MAX_NICS, place, "NIC")?;
    let nic = devices::new_nic(cx, spec, place)?;
    if new.nics.iter().any(|other| other.mac == nic.mac) {
        return Err(Error::wrong_input(format!("MAC address {} is used twice", nic.mac)));
    }
    let filled = fill::nic_params(&cx.config().cluster, &nic);
    let (mac, ip) = (nic.mac.clone(), nic.ip.clone().unwrap_or_else(|| "None".into()));
    let network = nic.network.map_or_else(|| "None".into(), |n| n.to_string());
    let text = format!(
        "add:mac={mac},ip={ip},mode={},link={},network={network}",
        filled.mode, filled.link
    );
    plan.changes.push((format!("nic.{place}"), json!(text)));
    new.nics.insert(place, nic.clone());
    if hotplug {
        let guest = guest_now(cx, new, &plan.all_disks)?;
        let nic = guest_nic(cx.config(), &nic, place)?;
        let node = new.primary_node;
        let plug = Action::NicPlug { guest: guest.clone(), nic: nic.clone() };
        let unplug = Action::NicUnplug { guest, nic };
        plan.before.push(
            Step::new("hotplugging NIC", Task::on(node, plug))
                .saying("Trying to hotplug device...")
                .undone_by(Task::on(node, unplug)),
        );
        plan.changes.push((format!("nic.{place}"), json!("hotplug:done")));
    }
    Ok(())
}

fn remove_nic(
    cx: &mut Context<'_, '_>,
    new: &mut Instance,
    wanted: &DeviceRef,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let place = find_nic(&new.nics, wanted)?;
    let guest = guest_now(cx, new, &plan.all_disks)?;
    let nic = new.nics.remove(place);
    plan.changes.push((format!("nic.{place}"), json!("remove")));
    if hotplug {
        let nic = guest_nic(cx.config(), &nic, place)?;
        let node = new.primary_node;
        let unplug = Action::NicUnplug { guest: guest.clone(), nic: nic.clone() };
        let plug = Action::NicPlug { guest, nic };
        plan.before.push(
            Step::new("unplugging NIC", Task::on(node, unplug))
                .saying("Trying to hotplug device...")
                .undone_by(Task::on(node, plug)),
        );
        plan.changes.push((format!("nic.{place}"), json!("hotplug:done")));
    }
    Ok(())
}

fn modify_nic(
    cx: &mut Context<'_, '_>,
    new: &mut Instance,
    wanted: &DeviceRef,
    spec: &NicSpec,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let place = find_nic(&new.nics, wanted)?;
    let old = new.nics[place].clone();
    let mut nic = old.clone();
    devices::change_nic(cx, &mut nic, spec, place)?;
    let shown = fill::nic_params(&cx.config().cluster, &nic);
    for (given, key, value) in [
        (spec.mac.is_some(), "mac", json!(nic.mac)),
        (spec.ip.is_some(), "ip", json!(nic.ip)),
        (spec.mode.is_some(), "mode", json!(shown.mode)),
        (spec.link.is_some() || spec.bridge.is_some(), "link", json!(shown.link)),
        (spec.vlan.is_some(), "vlan", json!(shown.vlan)),
        (spec.network.is_some(), "network", json!(nic.network)),
        (spec.name.is_some(), "name", json!(nic.name)),
    ] {
        if given {
            plan.changes.push((format!("nic.{key}/{place}"), value));
        }
    }
    new.nics[place] = nic.clone();
    // A new name or address alone is nothing the guest's card would notice.
    let card = |n: &Nic| (n.mac.clone(), n.nicparams.clone(), n.network);
    if hotplug && card(&old) != card(&nic) {
        let guest = guest_now(cx, new, &plan.all_disks)?;
        let node = new.primary_node;
        let (now, before) =
            (guest_nic(cx.config(), &nic, place)?, guest_nic(cx.config(), &old, place)?);
        let change = Action::NicReplug { guest: guest.clone(), nic: now };
        let back = Action::NicReplug { guest, nic: before };
        plan.before.push(
            Step::new("changing NIC", Task::on(node, change))
                .saying("Trying to hotplug device...")
                .undone_by(Task::on(node, back)),
        );
        plan.changes.push((format!("nic.{place}"), json!("hotplug:done")));
    }
    Ok(())
}
