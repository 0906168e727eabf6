//! Disks of an instance that come, go and change.
//!
//! ```text
//!   add      make it on all its nodes, equal there, plug it in │ it is the instance's │
//!   attach   use it, plug it in                                │ it is the instance's │
//!   detach   unplug it │ it is nobody's, but kept              │ let it go
//!   remove   unplug it │ it is gone                            │ let it go, remove it everywhere
//!   modify             │ mode, name, provider's parameters     │
//! ```
//!
//! Plugging is for guests that run; what is not plugged is seen at the next start.

use super::check;
use super::devices;
use super::set_devices::{DevicePlan, find, guest_now, new_place, note_update};
use crate::config::{Change, Config, Object, ObjectKey};
use crate::jobs::plan::{Step, Task};
use crate::ops::Context;
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::make::{self, NewDisk};
use crate::ops::disks::{health, space};
use crate::ops::guest::{filled_disks, instance_ref};
use roost_proto::choices::{DeviceAction, DiskTemplate, FileDriver};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::node::{Action, Answer, BlockState, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::{DeviceChange, DeviceRef, DiskSpec, InstanceSetParams, MAX_DISKS};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The word that takes a setting back.
const DEFAULT: &str = "default";
/// The word that means "none" in a disk's settings.
const NONE: &str = "none";

/// The secondary node that is named for a first mirrored disk.
pub fn named_secondary(op: &InstanceSetParams, config: &Config) -> Result<Option<NodeId>> {
    let name = op.remote_node_uuid.as_deref().or(op.remote_node.as_deref());
    let named = name.filter(|_| op.disk_template.is_none());
    named.map(|name| config.node(name).map(|node| node.uuid)).transpose()
}

/// What nodes are asked because of changes of disks.
pub fn questions(op: &InstanceSetParams, config: &Config) -> Result<Vec<(NodeId, Question)>> {
    if op.disks.is_empty() {
        return Ok(vec![]);
    }
    let instance = config.instance(&op.instance_name)?;
    let mut questions = health::ask_secondaries(config, instance);
    if let Some(node) = named_secondary(op, config)? {
        questions.push((node, Question::Node));
    }
    for change in op.disks.iter().filter(|change| change.action == DeviceAction::Attach) {
        let disk = Disk::clone(to_attach(config, &change.spec)?);
        let disks = filled_disks(config, instance.primary_node, &[disk])?;
        questions.push((instance.primary_node, Question::Blocks { disks }));
    }
    Ok(questions)
}

/// Plans one change.
pub fn change(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    new: &mut Instance,
    change: &DeviceChange<DiskSpec>,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    if change.action != DeviceAction::Modify {
        check::online_primary(cx.config(), new)?;
    }
    match change.action {
        DeviceAction::Add => {
            let disk = make(cx, op, new, &change.device, &change.spec, plan)?;
            take_in(cx, new, disk, "add", hotplug, plan)
        }
        DeviceAction::Attach => {
            let disk = attach(cx, new, &change.device, &change.spec, plan)?;
            take_in(cx, new, disk, "attach", hotplug, plan)
        }
        DeviceAction::Detach => detach(cx, new, &change.device, hotplug, plan),
        DeviceAction::Remove => remove(cx, new, &change.device, hotplug, plan),
        DeviceAction::Modify => modify(&change.device, &change.spec, plan),
    }
}

fn find_disk(all: &[Disk], wanted: &DeviceRef) -> Result<usize> {
    find("disk", all, wanted, |d, name| {
        d.name.as_deref() == Some(name) || d.uuid.to_string() == name
    })
}

/// The template of a disk that comes: as the others, or as asked for.
fn template(config: &Config, spec: &DiskSpec, plan: &DevicePlan) -> Result<DiskTemplate> {
    if let Some(first) = plan.all_disks.first() {
        return match spec.dev_type.filter(|wanted| *wanted != first.dev_type) {
            None => Ok(first.dev_type),
            Some(other) => Err(Error::wrong_input(format!(
                "A disk of template '{other}' can't be added beside disks of template '{}'",
                first.dev_type
            ))),
        };
    }
    let first = || {
        let enabled = config.cluster.enabled_disk_templates.iter();
        enabled.copied().find(|t| *t != DiskTemplate::Diskless)
    };
    let wanted = spec.dev_type.filter(|t| *t != DiskTemplate::Diskless);
    wanted
        .or_else(first)
        .ok_or_else(|| Error::wrong_input("Name the template of the disk (dev_type=…)"))
}

/// The secondary node of mirrored disks.
fn secondary(
    op: &InstanceSetParams,
    config: &Config,
    new: &Instance,
    template: DiskTemplate,
) -> Result<Option<NodeId>> {
    if template.required_nodes() < 2 {
        return Ok(None);
    }
    let has = config.secondaries(new).first().copied();
    let node = match (has, named_secondary(op, config)?) {
        (Some(has), Some(named)) if has != named => {
            return Err(Error::wrong_input(format!(
                "The mirrors of instance {} are on node {}; all of its disks have the same \
                 secondary node",
                new.name,
                config.node_name(has)
            )));
        }
        (has, named) => has.or(named),
    };
    let node = node.ok_or_else(|| {
        Error::wrong_input(format!(
            "A first disk of template '{template}' needs a secondary node; name it with -n"
        ))
    })?;
    let found = config.node_by_id(node)?;
    if found.offline {
        return Err(Error::wrong_state(format!(
            "The secondary node {} is marked offline, no disk can be made there",
            found.name
        )));
    }
    Ok(Some(node))
}

/// Makes a new disk. Returns it with its place.
fn make(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    new: &Instance,
    place: &DeviceRef,
    spec: &DiskSpec,
    plan: &mut DevicePlan,
) -> Result<(usize, Disk)> {
    let config = cx.config();
    let place = new_place(plan.all_disks.len(), MAX_DISKS as usize, place, "disk")?;
    let template = template(config, spec, plan)?;
    if !config.cluster.enabled_disk_templates.contains(&template) {
        return Err(Error::wrong_input(format!(
            "Disk template '{template}' is not enabled in cluster"
        )));
    }
    if !op.wait_for_sync && !new.disks_active {
        return Err(Error::wrong_input(format!(
            "Can't add a disk to instance {}, whose disks are not active, without waiting until it \
             is in sync; leave out --no-wait-for-sync",
            new.name
        )));
    }
    let directory = match template {
        DiskTemplate::File | DiskTemplate::SharedFile => {
            let subdirectory = op.file_storage_dir.as_deref();
            devices::file_directory(config, template, subdirectory, &new.name)?
        }
        _ => String::new(),
    };
    let primary = new.primary_node;
    let secondary = secondary(op, config, new, template)?;
    let spec = DiskSpec { dev_type: None, ..spec.clone() };
    let mut disk = make::new_disk(
        cx,
        &NewDisk {
            template,
            spec: &spec,
            index: free_number(config, new, template, place),
            instance: new.uuid,
            primary,
            secondary,
            directory: &directory,
            driver: op.file_driver.unwrap_or(FileDriver::Loop),
        },
    )?;
    disk.iv_name = format!("disk/{place}");
    let disks = std::slice::from_ref(&disk);
    space::check(cx, &active::sides(primary, disks), disks)?;
    check::access(config, new.hypervisor, config.node_by_id(primary)?, disks)?;
    let who = instance_ref(new);
    plan.before.extend(active::create(config, &who, disks, primary)?);
    if config.cluster.prealloc_wipe_disks && spec.adopt.is_none() {
        let disks = active::on_node(config, primary, primary, disks)?;
        let wipe = Action::DisksWipe { instance: who.clone(), disks };
        plan.before.push(Step::new("wiping disk", Task::on(primary, wipe)));
    }
    if op.wait_for_sync {
        plan.before.extend(active::sync(config, &who, disks, primary)?);
    }
    if !new.disks_active {
        plan.after.extend(active::shutdown(config, &who, disks, primary, &[])?);
    }
    plan.disk_changes.push(Change::Add(Object::Disk(Box::new(disk.clone()))));
    Ok((place, disk))
}

/// The number that is part of a disk's name. Where names have nothing else that is unique
/// (gluster), one that no disk of the instance has or had.
fn free_number(config: &Config, new: &Instance, template: DiskTemplate, place: usize) -> usize {
    if template != DiskTemplate::Gluster {
        return place;
    }
    let taken: BTreeSet<&str> = config
        .disks
        .values()
        .filter(|disk| disk.dev_type == template)
        .filter_map(|disk| disk.path())
        .collect();
    let name = |number: &usize| format!("ganeti/{}.{number}", new.uuid);
    (place..).find(|number| !taken.contains(name(number).as_str())).unwrap_or(place)
}

/// The disk that is to be attached: one, by its name or its UUID, that no instance has.
fn to_attach<'a>(config: &'a Config, spec: &DiskSpec) -> Result<&'a Arc<Disk>> {
    let found: Vec<_> = match (&spec.uuid, &spec.name) {
        (Some(uuid), None) => {
            config.disks.values().filter(|disk| disk.uuid.to_string() == *uuid).collect()
        }
        (None, Some(name)) => {
            config.disks.values().filter(|disk| disk.name.as_ref() == Some(name)).collect()
        }
        _ => {
            return Err(Error::wrong_input(
                "To attach a disk give its name or its uuid, one of them (--disk attach:uuid=UUID)",
            ));
        }
    };
    let only = DiskSpec { uuid: spec.uuid.clone(), name: spec.name.clone(), ..DiskSpec::default() };
    if *spec != only {
        return Err(Error::wrong_input(
            "A disk is attached as it is: give nothing but its name or its uuid; change it \
             afterwards",
        ));
    }
    let word = spec.uuid.as_ref().or(spec.name.as_ref()).map_or("", String::as_str);
    let owner = |id: DiskId| config.instances.values().find(|i| i.disks.contains(&id));
    let free: Vec<_> = found.iter().filter(|disk| owner(disk.uuid).is_none()).collect();
    match (free.as_slice(), found.first()) {
        ([disk], _) => Ok(**disk),
        ([], Some(disk)) => Err(Error::wrong_state(format!(
            "Disk '{word}' is attached to instance {}; detach it there first",
            owner(disk.uuid).map_or("?", |instance| instance.name.as_str())
        ))),
        ([], None) => Err(Error::unknown(format!("There is no disk '{word}' to attach"))),
        _ => Err(Error::wrong_input(format!(
            "Several disks are called '{word}'; give the uuid of the one that is meant: {}",
            free.iter().map(|disk| disk.uuid.to_string()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Takes a disk that nobody has. Returns it with its place.
fn attach(
    cx: &mut Context<'_, '_>,
    new: &Instance,
    place: &DeviceRef,
    spec: &DiskSpec,
    plan: &mut DevicePlan,
) -> Result<(usize, Disk)> {
    let config = cx.config();
    let place = new_place(plan.all_disks.len(), MAX_DISKS as usize, place, "disk")?;
    let mut disk = Disk::clone(&**to_attach(config, spec)?);
    let id = disk.uuid;
    if plan.all_disks.iter().any(|known| known.uuid == id)
        || cx.coming_instances().any(|other| other.uuid != new.uuid && other.disks.contains(&id))
    {
        return Err(Error::wrong_state(format!("Disk {id} is being attached already")));
    }
    if let Some(other) = plan.all_disks.first().filter(|d| d.dev_type != disk.dev_type) {
        return Err(Error::wrong_input(format!(
            "Disk {id} has template '{}', the disks of instance {} have '{}'",
            disk.dev_type, new.name, other.dev_type
        )));
    }
    let mut nodes = config.secondaries(new);
    nodes.push(new.primary_node);
    if let Some(node) = nodes.iter().find(|n| !disk.nodes.is_empty() && !disk.nodes.contains(n)) {
        return Err(Error::wrong_state(format!(
            "Disk {id} is not on node {}, where instance {} is; it is on {}",
            config.node_name(*node),
            new.name,
            disk.nodes.iter().map(|n| config.node_name(*n)).collect::<Vec<_>>().join(", ")
        )));
    }
    must_be_there(cx, new.primary_node, &disk)?;
    disk.iv_name = format!("disk/{place}");
    if new.disks_active {
        let who = instance_ref(new);
        let away = health::offline(config, new);
        let how = Assembling { without: away, ..Assembling::default() };
        let disks = std::slice::from_ref(&disk);
        plan.before.extend(active::assemble(config, &who, disks, new.primary_node, &how)?);
    }
    note_update(&mut plan.disk_changes, disk.clone());
    Ok((place, disk))
}

/// A disk that is attached exists.
fn must_be_there(cx: &Context<'_, '_>, node: NodeId, disk: &Disk) -> Result<()> {
    let same = |q: &Question| match q {
        Question::Blocks { disks } => disks.iter().any(|known| known.uuid == disk.uuid),
        _ => false,
    };
    let state = cx.answer(node, same, |answer| match answer {
        Answer::Blocks(all) => all.first().map(|status| status.state),
        _ => None,
    })?;
    match state {
        BlockState::Active | BlockState::Inactive => Ok(()),
        BlockState::Missing | BlockState::Faulty => Err(Error::environment(format!(
            "Disk {} can't be attached: it is not usable on node {}",
            disk.uuid,
            cx.config().node_name(node)
        ))),
    }
}

/// Puts a disk into its place, and into the guest if that runs.
fn take_in(
    cx: &mut Context<'_, '_>,
    new: &Instance,
    (place, disk): (usize, Disk),
    word: &str,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let config = cx.config();
    let (size, mode) = (disk.size, disk.mode);
    plan.all_disks.insert(place, disk.clone());
    plan.changes.push((format!("disk/{place}"), json!(format!("{word}:size={size},mode={mode}"))));
    if !hotplug {
        return Ok(());
    }
    let node = new.primary_node;
    let mut after = new.clone();
    after.disks = plan.all_disks.iter().map(|d| d.uuid).collect();
    let guest = guest_now(cx, &after, &plan.all_disks)?;
    let disk = filled_disks(config, node, &[disk])?.remove(0);
    let plug = Action::DiskPlug { guest: guest.clone(), disk: disk.clone() };
    let unplug = Action::DiskUnplug { guest, disk };
    plan.before.push(
        Step::new("hotplugging disk", Task::on(node, plug))
            .saying("Trying to hotplug device...")
            .undone_by(Task::on(node, unplug)),
    );
    plan.changes.push((format!("disk/{place}"), json!("hotplug:done")));
    Ok(())
}

/// Takes a disk out of the instance, and out of the guest if that runs.
fn take_out(
    cx: &mut Context<'_, '_>,
    new: &Instance,
    wanted: &DeviceRef,
    word: &str,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<Disk> {
    let config = cx.config();
    let place = find_disk(&plan.all_disks, wanted)?;
    let node = new.primary_node;
    let guest = guest_now(cx, new, &plan.all_disks)?;
    let disk = plan.all_disks.remove(place);
    let running = cx.runs_on(new, node).unwrap_or(false);
    if running && !hotplug {
        return Err(Error::wrong_state(format!(
            "Instance {} is running and disk/{place} can't be unplugged from it; shut it down first",
            new.name
        )));
    }
    plan.changes.push((format!("disk/{place}"), json!(word)));
    if hotplug {
        let filled = filled_disks(config, node, std::slice::from_ref(&disk))?.remove(0);
        let unplug = Action::DiskUnplug { guest: guest.clone(), disk: filled.clone() };
        let plug = Action::DiskPlug { guest, disk: filled };
        plan.before.push(
            Step::new("unplugging disk", Task::on(node, unplug))
                .saying("Trying to hotplug device...")
                .undone_by(Task::on(node, plug)),
        );
        plan.changes.push((format!("disk/{place}"), json!("hotplug:done")));
    }
    Ok(disk)
}

/// The disk stays, and is nobody's.
fn detach(
    cx: &mut Context<'_, '_>,
    new: &Instance,
    wanted: &DeviceRef,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let config = cx.config();
    let mut disk = take_out(cx, new, wanted, "detach", hotplug, plan)?;
    cx.info(format!(
        "{} of instance {} is kept as disk {}; attach it again with 'gnt-instance modify --disk \
         attach:uuid={} INSTANCE'",
        disk.iv_name, new.name, disk.uuid, disk.uuid
    ));
    if new.disks_active {
        let (who, away) = (instance_ref(new), health::offline(config, new));
        let disks = std::slice::from_ref(&disk);
        plan.after.extend(active::shutdown(config, &who, disks, new.primary_node, &away)?);
    }
    disk.iv_name = String::new();
    note_update(&mut plan.disk_changes, disk);
    Ok(())
}

/// The disk goes with its data.
fn remove(
    cx: &mut Context<'_, '_>,
    new: &Instance,
    wanted: &DeviceRef,
    hotplug: bool,
    plan: &mut DevicePlan,
) -> Result<()> {
    let config = cx.config();
    let disk = take_out(cx, new, wanted, "remove", hotplug, plan)?;
    plan.removals.push(Change::Remove(ObjectKey::Disk(disk.uuid)));
    let (who, away) = (instance_ref(new), health::offline(config, new));
    let disks = std::slice::from_ref(&disk);
    plan.after.extend(active::shutdown(config, &who, disks, new.primary_node, &away)?);
    plan.after.extend(active::remove(config, &who, disks, new.primary_node, &away)?);
    Ok(())
}

/// Mode, name, and what its provider is told.
fn modify(wanted: &DeviceRef, spec: &DiskSpec, plan: &mut DevicePlan) -> Result<()> {
    let place = find_disk(&plan.all_disks, wanted)?;
    let disk = &mut plan.all_disks[place];
    if spec.size.is_some() {
        return Err(Error::wrong_input("Disk size change not possible, use grow-disk"));
    }
    let ext = disk.dev_type == DiskTemplate::Ext;
    let extra = if ext { spec.extra.clone() } else { Default::default() };
    let allowed =
        DiskSpec { mode: spec.mode, name: spec.name.clone(), extra, ..DiskSpec::default() };
    if *spec != allowed {
        return Err(Error::wrong_input(format!(
            "Only mode and name of disk/{place} can be changed{}",
            if ext { ", and the parameters for its provider" } else { "" }
        )));
    }
    if let Some(mode) = spec.mode {
        disk.mode = mode;
        plan.changes.push((format!("disk.mode/{place}"), json!(mode)));
    }
    if let Some(name) = &spec.name {
        disk.name = Some(name.clone()).filter(|name| name != NONE);
        plan.changes.push((format!("disk.name/{place}"), json!(disk.name)));
    }
    for (key, value) in &spec.extra {
        match value.as_str() {
            Some(DEFAULT) => drop(disk.params.remove(key)),
            _ => drop(disk.params.insert(key.clone(), as_text(value))),
        }
        plan.changes.push((format!("disk.params:{key}/{place}"), value.clone()));
    }
    let disk = disk.clone();
    note_update(&mut plan.disk_changes, disk);
    Ok(())
}

/// Providers are told texts.
fn as_text(value: &Value) -> Value {
    match value {
        Value::String(_) => value.clone(),
        other => Value::String(other.to_string()),
    }
}
