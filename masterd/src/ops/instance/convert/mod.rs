//! Conversion of an instance's disks to another template: `gnt-instance modify -t TEMPLATE`.
//!
//! ```text
//!   plain ─► drbd   the volumes stay and get a mirror        [`mirror`]
//!   drbd ─► plain   the mirror goes, the volumes stay        [`mirror`]
//!   the rest        new disks, a copy, the old ones go       [`copy`]
//!                   the same while its guest runs            [`online`]
//! ```
//!
//! What the instance has is not touched before the pivot: until then all can be taken back.

mod copy;
mod mirror;
mod online;
#[cfg(test)]
mod tests;

use super::check;
use super::set_devices::DevicePlan;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::ops::Context;
use crate::ops::disks::health;
use crate::ops::guest::filled_disks;
use crate::ops::placement::{self, Allocator};
use roost_proto::choices::{AdminState, DiskTemplate};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, BlockStatus, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceSetParams;
use serde_json::json;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub from: DiskTemplate,
    pub to: DiskTemplate,
    /// Where its mirror may go; the one that was named, or several to choose from.
    pub secondaries: Vec<NodeId>,
}

/// What is asked for, if a conversion is. Errors: it cannot be, whatever the nodes say.
pub fn wanted(op: &InstanceSetParams, config: &Config) -> Result<Option<Wanted>> {
    let Some(to) = op.disk_template else {
        if !op.ext_params.is_empty() {
            return Err(Error::wrong_input(
                "Parameters of a storage provider (--ext-params) are for conversions to template \
                 'ext' (-t ext); those of a disk are changed with --disk N:modify,KEY=VALUE",
            ));
        }
        return Ok(None);
    };
    let instance = config.instance(&op.instance_name)?;
    let name = &instance.name;
    if !op.disks.is_empty() {
        return Err(Error::wrong_input(
            "Disk template conversion and other disk changes can't be done at the same time; do one \
             after the other",
        ));
    }
    let Some(from) = config.disk_template(instance) else {
        return Err(Error::wrong_state(format!(
            "Instance {name} has disks of different templates, which can't be converted together"
        )));
    };
    if from == to && to != DiskTemplate::Ext {
        return Err(Error::wrong_state(format!("Instance already has disk template {to}")));
    }
    if !from.can_convert_from() || !to.can_convert_to() {
        return Err(Error::wrong_input(format!(
            "Unsupported disk template conversion from {from} to {to}"
        )));
    }
    if !config.cluster.enabled_disk_templates.contains(&to) {
        return Err(Error::wrong_input(format!(
            "Disk template '{to}' is not enabled in cluster; enable it with 'gnt-cluster modify \
             --enabled-disk-templates'"
        )));
    }
    check_provider(op, config, instance, to)?;
    Ok(Some(Wanted { from, to, secondaries: secondaries(op, config, instance, to)? }))
}

/// A conversion to `ext` names its provider, another one than before; nothing else does.
fn check_provider(
    op: &InstanceSetParams,
    config: &Config,
    instance: &Instance,
    to: DiskTemplate,
) -> Result<()> {
    if to != DiskTemplate::Ext {
        return match op.ext_params.is_empty() {
            true => Ok(()),
            false => Err(Error::wrong_input(format!(
                "Parameters of a storage provider (--ext-params) don't fit the template '{to}'"
            ))),
        };
    }
    let Some(provider) = copy::provider(op) else {
        return Err(Error::wrong_input(
            "Name the storage provider to convert to: --ext-params provider=NAME",
        ));
    };
    let has = |disk: &Disk| disk.dev_type == to && copy::provider_of(disk) == Some(provider);
    if config.disks_of(instance).iter().all(|disk| has(disk)) {
        return Err(Error::wrong_state(format!(
            "The disks of instance {} are with storage provider '{provider}' already",
            instance.name
        )));
    }
    Ok(())
}

/// Where the mirror may go; none if there is to be no mirror.
fn secondaries(
    op: &InstanceSetParams,
    config: &Config,
    instance: &Instance,
    to: DiskTemplate,
) -> Result<Vec<NodeId>> {
    let named = op.remote_node_uuid.as_deref().or(op.remote_node.as_deref());
    if to.required_nodes() < 2 {
        if named.is_some() || op.iallocator.is_some() {
            return Err(Error::wrong_input(format!(
                "The disk template '{to}' has no secondary node; leave out -n and -I"
            )));
        }
        return Ok(vec![]);
    }
    if named.is_some() && op.iallocator.is_some() {
        return Err(Error::wrong_input(
            "Give either a secondary node (-n) or an iallocator (-I), not both",
        ));
    }
    Allocator::of(config, op.iallocator.as_deref())?;
    if let Some(name) = named {
        let node = config.node(name)?;
        if node.uuid == instance.primary_node {
            return Err(Error::wrong_input(format!(
                "Given new secondary node {} is the same as the primary node of the instance",
                node.name
            )));
        }
        check::good_target(node)?;
        return Ok(vec![node.uuid]);
    }
    if op.iallocator.is_none() && config.cluster.default_iallocator.is_empty() {
        return Err(Error::wrong_input(format!(
            "The disk template '{to}' needs a secondary node: name it with -n, or have one chosen \
             with -I"
        )));
    }
    let group = config.node_by_id(instance.primary_node)?.group;
    let except = [instance.primary_node];
    let found: Vec<_> =
        placement::candidates(config, Some(group), &except).map(|node| node.uuid).collect();
    if found.is_empty() {
        return Err(Error::resources(format!(
            "There is no other node in group {} that could be the secondary of instance {}",
            config.group_name(group),
            instance.name
        )));
    }
    Ok(found)
}

/// Locks the nodes that the mirror may go to.
pub fn add_locks(op: &InstanceSetParams, config: &Config, locks: &mut LockSet) -> Result<()> {
    if let Some(wanted) = wanted(op, config)? {
        check::lock_nodes(locks, config, &wanted.secondaries);
    }
    Ok(())
}

/// What nodes are asked, but for what the primary is asked anyway.
pub fn questions(op: &InstanceSetParams, config: &Config) -> Result<Vec<(NodeId, Question)>> {
    let Some(wanted) = wanted(op, config)? else { return Ok(vec![]) };
    let instance = config.instance(&op.instance_name)?;
    let primary = check::online_primary(config, instance)?.uuid;
    let disks = filled_disks(config, primary, &health::stored(config, instance))?;
    let mut questions = vec![(primary, Question::Blocks { disks })];
    questions.extend(health::ask_secondaries(config, instance));
    questions.extend(wanted.secondaries.into_iter().map(|node| (node, Question::Node)));
    Ok(questions)
}

/// What must be asked of an allocator.
pub fn further(cx: &Context<'_, '_>, op: &InstanceSetParams) -> Result<Vec<(NodeId, Question)>> {
    let config = cx.config();
    let Some(wanted) = wanted(op, config)? else { return Ok(vec![]) };
    let instance = config.instance(&op.instance_name)?;
    let statuses = statuses(cx, instance.primary_node)?;
    let old = Old { disks: health::stored(config, instance), statuses };
    let asking = copy::asking(cx, op, instance, &wanted, &old)?;
    Ok(asking.map_or_else(Vec::new, |asking| asking.further(cx)))
}

/// Plans the conversion: `new` becomes the instance with its new disks. Nothing if none is wanted.
pub fn plan(
    cx: &mut Context<'_, '_>,
    op: &InstanceSetParams,
    new: &mut Instance,
    devices: &mut DevicePlan,
) -> Result<()> {
    let config = cx.config();
    let Some(wanted) = wanted(op, config)? else { return Ok(()) };
    let online = online::applies(cx, new, &wanted)?;
    match online {
        true => check::not_elsewhere(cx, new, new.primary_node)?,
        false => must_rest(cx, new)?,
    }
    let disks = health::stored(config, new);
    let statuses = statuses(cx, new.primary_node)?;
    for (disk, status) in disks.iter().zip(statuses) {
        must_be_there(config, new, disk, status)?;
    }
    let old = Old { disks, statuses };
    let made = match (wanted.from, wanted.to) {
        (DiskTemplate::Plain, DiskTemplate::Drbd) => {
            mirror::add(cx, op, new, &wanted, &old, devices)?
        }
        (DiskTemplate::Drbd, DiskTemplate::Plain) => mirror::drop_it(cx, new, &old, devices)?,
        _ if online => online::plan(cx, op, new, &wanted, &old, devices)?,
        _ => copy::plan(cx, op, new, &wanted, &old, devices)?,
    };
    check::access(config, new.hypervisor, config.node_by_id(new.primary_node)?, &made)?;
    new.disks = made.iter().map(|disk| disk.uuid).collect();
    devices.all_disks = made;
    devices.changes.push(("disk_template".into(), json!(wanted.to)));
    Ok(())
}

/// The disks as they are.
struct Old<'a> {
    disks: Vec<Disk>,
    statuses: &'a [BlockStatus],
}

/// Nobody uses the disks.
fn must_rest(cx: &Context<'_, '_>, instance: &Instance) -> Result<()> {
    if instance.admin_state == AdminState::Up || cx.runs_on(instance, instance.primary_node)? {
        return Err(Error::wrong_state(format!(
            "Instance {} is running, its disk template can't be changed; shut it down first",
            instance.name
        )));
    }
    if instance.disks_active {
        return Err(Error::wrong_state(format!(
            "The disks of instance {0} are active, their template can't be changed; use \
             'gnt-instance deactivate-disks {0}' first",
            instance.name
        )));
    }
    check::not_elsewhere(cx, instance, instance.primary_node)
}

/// How the disks are on the primary node.
fn statuses<'b>(cx: &Context<'_, 'b>, primary: NodeId) -> Result<&'b [BlockStatus]> {
    let asked = |q: &Question| matches!(q, Question::Blocks { .. });
    cx.answer(primary, asked, |a| match a {
        Answer::Blocks(all) => Some(all.as_slice()),
        _ => None,
    })
}

/// What is to be converted exists.
fn must_be_there(
    config: &Config,
    instance: &Instance,
    disk: &Disk,
    status: &BlockStatus,
) -> Result<()> {
    use roost_proto::node::BlockState;
    let why = match status.state {
        BlockState::Missing => "is missing".to_owned(),
        BlockState::Faulty => format!("is faulty ({})", status.detail),
        BlockState::Active | BlockState::Inactive => return Ok(()),
    };
    Err(Error::environment(format!(
        "Disk {} of instance {} {why} on node {}; it can't be converted",
        disk.iv_name,
        instance.name,
        config.node_name(instance.primary_node)
    )))
}

/// MiB a disk really has: volumes are rounded up, and a guest may have used all of it.
fn real_size(disk: &Disk, status: &BlockStatus) -> u64 {
    let children = status.children.iter().take(1).filter_map(|child| child.size);
    let known = status.size.into_iter().chain(children);
    known.chain([disk.size]).max().unwrap_or(disk.size)
}
