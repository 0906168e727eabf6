//! Conversion by copying: between any two templates that are not a mirror and its volumes.
//!
//! ```text
//!   use the old disks, make new ones, copy, wait for their mirrors │ the new ones │ let go of both,
//!                                                                                   remove the old
//! ```

use super::{Old, Wanted, real_size};
use crate::config::{Change, Config, Object, ObjectKey};
use crate::jobs::plan::{Step, Task};
use crate::ops::Context;
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::make::{self, NewDisk};
use crate::ops::disks::{health, space};
use crate::ops::guest::instance_ref;
use crate::ops::instance::devices;
use crate::ops::instance::set_devices::DevicePlan;
use crate::ops::placement::{Asking, Request};
use roost_proto::choices::{DiskTemplate, FileDriver};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Action;
use roost_proto::objects::{Disk, Instance, LogicalId, Node};
use roost_proto::opcodes::{DiskSpec, InstanceSetParams};
use std::sync::Arc;

/// The provider that is asked for.
pub fn provider(op: &InstanceSetParams) -> Option<&str> {
    op.ext_params.get("provider").and_then(|name| name.as_str())
}

/// The provider a disk is with.
pub fn provider_of(disk: &Disk) -> Option<&str> {
    match &disk.logical_id {
        LogicalId::Pair(provider, _) => Some(provider),
        _ => None,
    }
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
    let how = Assembling { without: away.clone(), ..Assembling::default() };
    devices.before.extend(active::assemble(config, &who, &old.disks, primary, &how)?);
    let mut making = active::create(config, &who, &new, primary)?;
    say_first(&mut making, format!("Generating new '{}' disk template...", wanted.to));
    devices.before.extend(making);
    let copy = Action::DisksCopy {
        instance: who.clone(),
        from: active::on_node(config, primary, primary, &old.disks)?,
        to: active::on_node(config, primary, primary, &new)?,
        target: primary,
        address: config.node_by_id(primary)?.primary_ip.clone(),
        token: cx.uuid().to_string(),
        compress: String::new(),
    };
    devices.before.push(
        Step::new("copying instance disks", Task::on(primary, copy))
            .saying(format!("Converting disk template from '{}' to '{}'", wanted.from, wanted.to)),
    );
    if op.wait_for_sync {
        devices.before.extend(active::sync(config, &who, &new, primary)?);
    }
    for disk in &new {
        devices.disk_changes.push(Change::Add(Object::Disk(Box::new(disk.clone()))));
    }
    let gone = old.disks.iter().map(|disk| Change::Remove(ObjectKey::Disk(disk.uuid)));
    devices.removals.extend(gone);
    devices.after.extend(active::shutdown(config, &who, &old.disks, primary, &away)?);
    devices.after.extend(active::shutdown(config, &who, &new, primary, &[])?);
    let mut removal = active::remove(config, &who, &old.disks, primary, &away)?;
    say_first(&mut removal, "Removing the old disks".into());
    devices.after.extend(removal);
    leave_behind(cx, &away, &old.disks);
    Ok(new)
}

/// Says a line when the first of these steps starts.
pub fn say_first(steps: &mut [Step], line: String) {
    if let Some(first) = steps.first_mut() {
        first.say = Some(line);
    }
}

/// Nodes that cannot be told to remove what they have.
pub fn leave_behind(cx: &mut Context<'_, '_>, away: &[NodeId], disks: &[Disk]) {
    for node in away {
        let name = cx.config().node_name(*node);
        let left: Vec<_> = disks
            .iter()
            .filter(|disk| disk.nodes.contains(node))
            .flat_map(|disk| &disk.children)
            .filter_map(|child| match &child.logical_id {
                LogicalId::Pair(vg, name) => Some(format!("{vg}/{name}")),
                _ => None,
            })
            .collect();
        if !left.is_empty() {
            cx.warn(format!(
                "The volumes {} stay on node {name}, which is away; remove them with lvremove if it \
                 comes back",
                left.join(", ")
            ));
        }
    }
}

/// What an allocator is asked; nothing if the new secondary is named, or there is none.
pub fn asking(
    cx: &Context<'_, '_>,
    op: &InstanceSetParams,
    instance: &Instance,
    wanted: &Wanted,
    old: &Old<'_>,
) -> Result<Option<Asking>> {
    if op.remote_node.is_some() || op.remote_node_uuid.is_some() || wanted.secondaries.is_empty() {
        return Ok(None);
    }
    let sizes = old.disks.iter().zip(old.statuses);
    let specs: Vec<_> =
        sizes.map(|(disk, status)| DiskSpec::sized(real_size(disk, status))).collect();
    let request = Request::AllocateSecondary(Arc::new(instance.clone()));
    let asking = Asking::new(cx.config(), op.iallocator.as_deref(), request)?;
    let asking = asking.among(cx, wanted.secondaries.clone(), |node| {
        space::check_specs(cx, node, wanted.to, &specs)
    });
    Ok(Some(Asking { ignore_ipolicy: op.ignore_ipolicy, ..asking }))
}

/// The node of the new mirrors: as named, or the one an allocator chooses.
pub fn secondary(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    instance: &Instance,
    wanted: &Wanted,
    old: &Old<'_>,
) -> Result<Option<NodeId>> {
    let config = cx.config();
    let node = match (asking(cx, op, instance, wanted, old)?, wanted.secondaries.first()) {
        (_, None) => return Ok(None),
        (None, Some(named)) => *named,
        (Some(asking), _) => {
            let node = asking.node(cx)?;
            asking.say(cx, &instance.name, &[node]);
            node
        }
    };
    cx.report(node)?;
    let (here, there) = (config.node_by_id(instance.primary_node)?, config.node_by_id(node)?);
    if here.group != there.group {
        cx.warn(format!(
            "The primary node {} and the secondary node {} are in different node groups",
            here.name, there.name
        ));
    }
    Ok(Some(node))
}

/// As many disks of the new template, as large as the old ones really are.
pub fn new_disks(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    instance: &Instance,
    wanted: &Wanted,
    old: &Old<'_>,
    secondary: Option<NodeId>,
) -> Result<Vec<Disk>> {
    let template = wanted.to;
    let directory = match template {
        DiskTemplate::File | DiskTemplate::SharedFile => {
            let subdirectory = op.file_storage_dir.as_deref();
            devices::file_directory(cx.config(), template, subdirectory, &instance.name)?
        }
        _ => String::new(),
    };
    let mut new = Vec::new();
    for (index, (disk, status)) in old.disks.iter().zip(old.statuses).enumerate() {
        let primary = cx.config().node_by_id(instance.primary_node)?;
        let spec = spec(cx.config(), op, (template, primary), disk, real_size(disk, status))?;
        new.push(make::new_disk(
            cx,
            &NewDisk {
                template,
                spec: &spec,
                index,
                instance: instance.uuid,
                primary: instance.primary_node,
                secondary,
                directory: &directory,
                driver: op.file_driver.unwrap_or(FileDriver::Loop),
            },
        )?);
    }
    Ok(new)
}

/// What the new disk is asked to be: what the old one is, in the terms of the new template.
fn spec(
    config: &Config,
    op: &InstanceSetParams,
    (template, primary): (DiskTemplate, &Node),
    disk: &Disk,
    size: u64,
) -> Result<DiskSpec> {
    let mut spec = DiskSpec {
        mode: Some(disk.mode),
        name: disk.name.clone(),
        spindles: None,
        ..DiskSpec::sized(size)
    };
    let images = [DiskTemplate::File, DiskTemplate::SharedFile];
    if images.contains(&template) && images.contains(&disk.dev_type) && disk.format() != "raw" {
        spec.extra.insert("format".into(), disk.format().into());
    }
    if template == DiskTemplate::Ext {
        let mut params = op.ext_params.clone();
        params.remove("provider");
        spec.provider = provider(op).map(str::to_owned);
        if let Some(access) = params.remove("access") {
            spec.access = Some(serde_json::from_value(access).map_err(|why| {
                Error::wrong_input(format!("Access in --ext-params cannot be understood: {why}"))
            })?);
        }
        spec.extra = params;
    }
    if template == DiskTemplate::Plain && make::is_exclusive(config, primary) {
        spec.spindles = disk.spindles.map(u64::from);
    }
    Ok(spec)
}
