//! Conversion while the guest runs: the hypervisor mirrors its disks into new ones.
//!
//! ```text
//!   make new disks, use them beside the old ones, │ the new ones │ wait for their mirrors,
//!   mirror, have the guest go on with the new     │              │ let go of the old, remove them
//! ```
//!
//! At the pivot the guest has gone on already. If that cannot be said for sure, the guest is had
//! back on its old disks, mirrored again, before the new ones are removed; and a node never removes
//! what a guest holds.

use super::copy::{leave_behind, new_disks, say_first, secondary};
use super::{Old, Wanted};
use crate::config::{Change, Object, ObjectKey};
use crate::jobs::plan::{Step, Task};
use crate::ops::Context;
use crate::ops::disks::{active, health, space};
use crate::ops::guest::{guest_with, instance_ref};
use crate::ops::instance::set_devices::DevicePlan;
use roost_proto::choices::{AdminState, DiskMode, DiskTemplate, Hypervisor};
use roost_proto::error::{Error, Result};
use roost_proto::node::Action;
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceSetParams;

/// Whether this conversion is done while the guest runs: it does, the data is copied anyway, and
/// its hypervisor can.
pub fn applies(cx: &Context<'_, '_>, instance: &Instance, wanted: &Wanted) -> Result<bool> {
    use DiskTemplate::{Drbd, Plain};
    let keeps_volumes = matches!((wanted.from, wanted.to), (Plain, Drbd) | (Drbd, Plain));
    let can = matches!(instance.hypervisor, Hypervisor::Kvm | Hypervisor::Fake);
    let is_up = instance.admin_state == AdminState::Up && instance.disks_active;
    Ok(!keeps_volumes && can && is_up && cx.runs_on(instance, instance.primary_node)?)
}

/// Plans it. Returns the new disks.
pub fn plan(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    instance: &Instance,
    wanted: &Wanted,
    old: &Old<'_>,
    devices: &mut DevicePlan,
) -> Result<Vec<Disk>> {
    let config = cx.config();
    let primary = instance.primary_node;
    if let Some(disk) = old.disks.iter().find(|disk| disk.mode == DiskMode::Ro) {
        return Err(Error::wrong_state(format!(
            "Disk {} of instance {} is read-only, and hypervisors mirror only what the guest may \
             write; shut the instance down first",
            disk.iv_name, instance.name
        )));
    }
    let secondary = secondary(cx, op, instance, wanted, old)?;
    let new = new_disks(cx, op, instance, wanted, old, secondary)?;
    space::check(cx, &active::sides(primary, &new), &new)?;
    let away = health::away(
        cx,
        instance,
        false,
        "bring it back, or mark it offline ('gnt-node modify --offline=yes') to convert without it",
    )?;

    let who = instance_ref(instance);
    let mut making = active::create(config, &who, &new, primary)?;
    say_first(&mut making, format!("Generating new '{}' disk template...", wanted.to));
    devices.before.extend(making);
    // As it runs now, whatever else is changed.
    let running = config.instance(&op.instance_name)?;
    let guest = Box::new(guest_with(config, running, &old.disks)?);
    let from = active::on_node(config, primary, primary, &old.disks)?;
    let to = active::on_node(config, primary, primary, &new)?;
    let mirror = |from: &Vec<Disk>, to: &Vec<Disk>| {
        let (guest, from, to) = (guest.clone(), from.clone(), to.clone());
        Task::on(primary, Action::DisksMirror { guest, from, to })
    };
    let mut moving = Step::new("mirroring instance disks", mirror(&from, &to))
        .saying(format!(
            "Converting disk template from '{}' to '{}' while the instance runs",
            wanted.from, wanted.to
        ))
        .undone_by(mirror(&to, &from));
    moving.no_return = true;
    devices.before.push(moving);

    let added = new.iter().map(|disk| Change::Add(Object::Disk(Box::new(disk.clone()))));
    devices.disk_changes.extend(added);
    let gone = old.disks.iter().map(|disk| Change::Remove(ObjectKey::Disk(disk.uuid)));
    devices.removals.extend(gone);
    if op.wait_for_sync {
        // If it fails, nothing after it removes the data that is whole.
        devices.after.extend(active::sync(config, &who, &new, primary)?);
    }
    devices.after.extend(active::shutdown(config, &who, &old.disks, primary, &away)?);
    let mut removal = active::remove(config, &who, &old.disks, primary, &away)?;
    say_first(&mut removal, "Removing the old disks".into());
    devices.after.extend(removal);
    leave_behind(cx, &away, &old.disks);
    Ok(new)
}
