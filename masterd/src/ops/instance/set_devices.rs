//! Changing the disks and network cards of an instance. Disks are in [`super::set_disks`].
//!
//! New devices are made, and plugged into a running guest, before the pivot; devices that go are
//! unplugged before it and destroyed after it.

use super::check;
use super::devices;
use super::set_disks;
use super::set_params::Changes;
use crate::config::{Change, Config, Object};
use crate::jobs::plan::{Step, Task};
use crate::ops::Context;
use crate::ops::guest::{guest_nic, guest_with};
use roost_proto::choices::DeviceAction;
use roost_proto::error::{Error, Result};
use roost_proto::node::{Action, GuestSpec};
use roost_proto::objects::{Disk, Instance, Nic};
use roost_proto::opcodes::{DeviceRef, InstanceSetParams, MAX_NICS, NicSpec};
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
        set_disks::change(cx, op, new, change, hotplug, &mut plan)?;
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
pub fn note_update(changes: &mut Vec<Change>, disk: Disk) {
    changes
        .retain(|change| !matches!(change, Change::Update(Object::Disk(d)) if d.uuid == disk.uuid));
    changes.push(Change::Update(Object::Disk(Box::new(disk))));
}

/// The place of an existing device.
pub fn find<'d, T: 'd>(
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

fn find_nic(all: &[Nic], wanted: &DeviceRef) -> Result<usize> {
    find("NIC", all, wanted, |n, name| {
        n.name.as_deref() == Some(name) || n.uuid.to_string() == name
    })
}

/// The place of a new device: at the end unless said otherwise.
pub fn new_place(count: usize, limit: usize, wanted: &DeviceRef, kind: &str) -> Result<usize> {
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

/// The instance as its node is told of it, with these disks.
pub fn guest_now(cx: &Context<'_, '_>, new: &Instance, disks: &[Disk]) -> Result<Box<GuestSpec>> {
    Ok(Box::new(guest_with(cx.config(), new, disks)?))
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
