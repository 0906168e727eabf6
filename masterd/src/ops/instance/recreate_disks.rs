//! `OP_INSTANCE_RECREATE_DISKS`: disks that are lost are made again, empty.
//!
//! ```text
//!   make new ones (wipe) │ their size, names, nodes; what is left of the old: debris │ let go
//! ```
//!
//! Nothing that is whole is replaced: a disk that is there on one of its nodes is refused, and what
//! is left of an incomplete one is not removed but remembered, so that an administrator may look
//! at it before `gnt-cluster repair-debris` takes it away.

use super::check;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{Leftover, OnFailure, Plan, Step, Task};
use crate::ops::disks::{active, health, make, minors, space};
use crate::ops::guest::instance_ref;
use crate::ops::placement::{self, Allocator, Asking, NewInstance, Request};
use crate::ops::{Context, Operate};
use roost_proto::capabilities::{Adoption, Mirroring};
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, BlockState, BlockStatus, InstanceRef, Question};
use roost_proto::objects::{Disk, Instance, LogicalId};
use roost_proto::opcodes::{DiskSpec, InstanceRecreateDisks};
use std::collections::BTreeSet;

impl Operate for InstanceRecreateDisks {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = check::locks(config, &self.instance_name)?;
        check::lock_nodes(&mut locks, config, &possible_nodes(self, config)?);
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        check_request(self, config, instance)?;
        let primary = instance.primary_node;
        let disks = chosen(self, config, instance)?;
        let mut questions = Vec::new();
        for node in holders(primary, &disks) {
            if config.node_by_id(node)?.offline {
                continue;
            }
            if node == primary {
                questions.push((node, Question::Guests));
            }
            let disks = active::on_node(config, node, primary, &disks)?;
            questions.push((node, Question::Blocks { disks }));
        }
        for node in possible_nodes(self, config)? {
            questions.push((node, Question::Node));
        }
        Ok(questions)
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        if self.iallocator.is_none() {
            return Ok(vec![]);
        }
        check_request(self, config, instance)?;
        let disks = chosen(self, config, instance)?;
        Ok(asking(self, cx, instance, &disks)?.further(cx))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        check_request(self, config, instance)?;
        check_stopped(self, cx, instance)?;
        let old = chosen(self, config, instance)?;
        let leaves = leftovers(cx, instance, &old)?;
        let nodes = new_nodes(self, cx, instance, &old)?;
        let new = renewed(self, cx, &old, &nodes)?;
        let primary = nodes[0];
        space::check(cx, &active::sides(primary, &new), &new)?;
        for node in &nodes {
            check_exclusive(config, *node, &new)?;
        }
        let mut changed = Instance::clone(instance);
        changed.primary_node = primary;
        if changed.admin_state == AdminState::Up {
            changed.admin_state = AdminState::Down;
            cx.info(format!(
                "Instance {} is marked as stopped: its new disks are empty",
                instance.name
            ));
        }
        changed.disks_active = false;
        let who = instance_ref(instance);
        let mut plan = cx.start_plan();
        plan.before.extend(active::create(config, &who, &new, primary)?);
        if let Some(first) = plan.before.first_mut() {
            first.say = Some("* creating instance disks...".into());
        }
        if config.cluster.prealloc_wipe_disks {
            let disks = active::on_node(config, primary, primary, &new)?;
            let wipe = Action::DisksWipe { instance: who.clone(), disks };
            plan.before.push(
                Step::new("wiping instance disks", Task::on(primary, wipe))
                    .saying("* wiping instance disks..."),
            );
        }
        for disk in &new {
            plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(disk.clone()))));
        }
        if changed != **instance {
            plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(changed))));
        }
        plan.pivot.leaves = leaves;
        plan.after.extend(active::shutdown(config, &who, &new, primary, &[])?);
        Ok(plan)
    }
}

/// What can be refused without asking anybody.
fn check_request(op: &InstanceRecreateDisks, config: &Config, instance: &Instance) -> Result<()> {
    Allocator::of(config, op.iallocator.as_deref())?;
    let disks = health::stored(config, instance);
    if disks.is_empty() {
        return Err(Error::wrong_state(format!("Instance {} has no disks", instance.name)));
    }
    if let Some(disk) = disks.iter().find(|d| d.dev_type.adoption() == Adoption::Must) {
        return Err(Error::wrong_state(format!(
            "{} of instance {} is of template '{}': it is a device that was there before, so it \
             can't be made again",
            disk.iv_name, instance.name, disk.dev_type
        )));
    }
    let named = named_nodes(op);
    if !named.is_empty() && op.iallocator.is_some() {
        return Err(Error::wrong_input("Give either nodes (-n) or an iallocator (-I), not both"));
    }
    let moves = !named.is_empty() || op.iallocator.is_some();
    let all: BTreeSet<_> = op.disks.iter().map(|disk| disk.index).collect();
    if moves && !all.is_empty() && all.len() < disks.len() {
        return Err(Error::wrong_input(
            "Can't recreate disks partially and change the nodes at the same time",
        ));
    }
    let current = 1 + config.secondaries(instance).len();
    if !named.is_empty() && named.len() != current {
        return Err(Error::wrong_input(format!(
            "The instance currently has {current} nodes, but {} replacement nodes have been \
             specified",
            named.len()
        )));
    }
    Ok(())
}

fn named_nodes(op: &InstanceRecreateDisks) -> &[String] {
    op.node_uuids.as_deref().unwrap_or(&op.nodes)
}

/// The disks that are made again, as they are stored.
fn chosen(op: &InstanceRecreateDisks, config: &Config, instance: &Instance) -> Result<Vec<Disk>> {
    let all = health::stored(config, instance);
    if op.disks.is_empty() {
        return Ok(all);
    }
    let mut disks = Vec::new();
    for wanted in &op.disks {
        let disk = all.get(wanted.index as usize).ok_or_else(|| {
            Error::wrong_input(format!(
                "Instance {} has no disk {}; it has {} disks, numbered from 0",
                instance.name,
                wanted.index,
                all.len()
            ))
        })?;
        if disks.contains(disk) {
            return Err(Error::wrong_input(format!("{} is given twice", disk.iv_name)));
        }
        let DiskSpec { size, mode, spindles, .. } = wanted.spec;
        if wanted.spec != (DiskSpec { size, mode, spindles, ..DiskSpec::default() }) {
            return Err(Error::wrong_input(format!(
                "Only size, mode and spindles of {} can be another when it is recreated",
                disk.iv_name
            )));
        }
        disks.push(disk.clone());
    }
    Ok(disks)
}

/// The nodes on which something of the disks may be: where they are recorded, and for those that
/// any node reaches the primary.
fn holders(primary: NodeId, disks: &[Disk]) -> Vec<NodeId> {
    let mut nodes = active::sides(primary, disks);
    for node in disks.iter().flat_map(|disk| &disk.nodes) {
        if !nodes.contains(node) {
            nodes.push(*node);
        }
    }
    nodes
}

/// Nodes on which they may be made: those named, those that might be chosen, or where they were.
fn possible_nodes(op: &InstanceRecreateDisks, config: &Config) -> Result<Vec<NodeId>> {
    let instance = config.instance(&op.instance_name)?;
    let named = named_nodes(op);
    if !named.is_empty() {
        return named.iter().map(|name| config.node(name).map(|node| node.uuid)).collect();
    }
    if op.iallocator.is_some() {
        let group = config.node_by_id(instance.primary_node)?.group;
        return Ok(placement::candidates(config, Some(group), &[]).map(|n| n.uuid).collect());
    }
    let mut nodes = vec![instance.primary_node];
    nodes.extend(config.secondaries(instance));
    Ok(nodes.into_iter().filter(|id| config.nodes.get(id).is_some_and(|n| !n.offline)).collect())
}

/// It does not run, or nobody can tell because its node is dead and it leaves that node.
fn check_stopped(
    op: &InstanceRecreateDisks,
    cx: &Context<'_, '_>,
    instance: &Instance,
) -> Result<()> {
    let config = cx.config();
    let primary = config.node_by_id(instance.primary_node)?;
    if primary.offline {
        if op.iallocator.is_some() || !named_nodes(op).is_empty() {
            return Ok(());
        }
        return Err(Error::wrong_state(format!(
            "Primary node {} of instance {} is marked offline: name nodes on which the disks \
             shall be made (-n)",
            primary.name, instance.name
        )));
    }
    if instance.admin_state == AdminState::Up || cx.runs_on(instance, primary.uuid)? {
        return Err(Error::wrong_state(format!(
            "Instance {} is running or shall be, its disks can't be made anew; shut it down first",
            instance.name
        )));
    }
    if instance.disks_active {
        return Err(Error::wrong_state(format!(
            "Disks of instance {0} are active; let go of them first with 'gnt-instance \
             deactivate-disks {0}'",
            instance.name
        )));
    }
    Ok(())
}

/// What an allocator is asked: as for a new instance in the same group.
fn asking(
    op: &InstanceRecreateDisks,
    cx: &Context<'_, '_>,
    instance: &Instance,
    disks: &[Disk],
) -> Result<Asking> {
    let config = cx.config();
    let group = config.node_by_id(instance.primary_node)?.group;
    let template = config.disk_template(instance).ok_or_else(|| {
        Error::wrong_state(format!(
            "Instance {} has disks of different templates: name the nodes (-n)",
            instance.name
        ))
    })?;
    let mut sized = disks.to_vec();
    for wanted in &op.disks {
        if let (Some(disk), Some(size)) = (sized.get_mut(wanted.index as usize), wanted.spec.size) {
            disk.size = size;
            if let Some(data) = disk.children.first_mut() {
                data.size = size;
            }
        }
    }
    let new = NewInstance::like(config, instance, (template, &sized), group)?;
    let request = Request::Allocate(Box::new(new));
    let needed = placement::needed(&sized);
    let asking = Asking::new(config, op.iallocator.as_deref(), request)?;
    let nodes = possible_nodes(op, config)?;
    // It was allowed before.
    let asking = Asking { ignore_ipolicy: true, ..asking };
    Ok(asking.among(cx, nodes, |node| placement::has_room(cx, node, &needed)))
}

/// The nodes they are made on, the primary first.
fn new_nodes(
    op: &InstanceRecreateDisks,
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    disks: &[Disk],
) -> Result<Vec<NodeId>> {
    let config = cx.config();
    let mut current = vec![instance.primary_node];
    current.extend(config.secondaries(instance));
    let nodes = match &op.iallocator {
        Some(_) => {
            let asking = asking(op, cx, instance, disks)?;
            let nodes = asking.nodes(cx)?;
            asking.say(cx, &instance.name, &nodes);
            nodes
        }
        None if !named_nodes(op).is_empty() => possible_nodes(op, config)?,
        None => current,
    };
    let distinct: BTreeSet<_> = nodes.iter().collect();
    if distinct.len() < nodes.len() {
        return Err(Error::wrong_input("The secondary node cannot be the primary node"));
    }
    for node in &nodes {
        check::good_target(config.node_by_id(*node)?)?;
    }
    Ok(nodes)
}

/// What they become: other volumes, so that nothing old is taken for new; other minors, ports and
/// secrets; what was asked for.
fn renewed(
    op: &InstanceRecreateDisks,
    cx: &mut Context<'_, '_>,
    old: &[Disk],
    nodes: &[NodeId],
) -> Result<Vec<Disk>> {
    let mut all = Vec::new();
    for disk in old {
        let mut new = disk.clone();
        let index = disk.iv_name.trim_start_matches("disk/").parse().ok();
        let wanted = op.disks.iter().find(|wanted| Some(wanted.index) == index);
        if let Some(spec) = wanted.map(|wanted| &wanted.spec) {
            new.size = spec.size.unwrap_or(new.size);
            new.mode = spec.mode.unwrap_or(new.mode);
            let spindles = spec.spindles.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
            new.spindles = spindles.or(new.spindles);
        }
        if new.size == 0 {
            return Err(Error::wrong_input(format!("Missing size of {}", disk.iv_name)));
        }
        match disk.dev_type.mirroring() {
            Mirroring::Internal => {
                let [primary, secondary] = *nodes else {
                    return Err(Error::internal(format!("{} needs two nodes", disk.iv_name)));
                };
                new.logical_id = minors::new_mirror(cx, primary, secondary)?;
                new.nodes = vec![primary, secondary];
                let unique = cx.uuid();
                for (number, volume) in new.children.iter_mut().enumerate() {
                    rename(volume, &unique);
                    volume.nodes = vec![primary, secondary];
                    if number == 0 {
                        volume.size = new.size;
                    }
                }
            }
            Mirroring::None => {
                new.nodes = vec![nodes[0]];
                let unique = cx.uuid();
                rename(&mut new, &unique);
            }
            Mirroring::External => {
                let unique = cx.uuid();
                rename(&mut new, &unique);
            }
        }
        all.push(new);
    }
    Ok(all)
}

/// Another name for a volume or file, in the same directory, with the same ending.
fn rename(volume: &mut Disk, unique: &uuid::Uuid) {
    if let LogicalId::Pair(_, name) = &mut volume.logical_id {
        let (directory, last) = name.rsplit_once('/').map_or(("", name.as_str()), |(d, n)| (d, n));
        let rest = last.split_once('.').map_or(last, |(_, rest)| rest);
        let slash = if name.contains('/') { "/" } else { "" };
        *name = format!("{directory}{slash}{unique}.{rest}");
    }
}

fn check_exclusive(config: &Config, node: NodeId, disks: &[Disk]) -> Result<()> {
    let node = config.node_by_id(node)?;
    let exclusive = make::is_exclusive(config, node);
    for disk in disks.iter().filter(|disk| disk.dev_type.uses_lvm()) {
        let why = match (exclusive, disk.dev_type.can_use_exclusive_storage(), disk.spindles) {
            (true, false, _) => "is not possible with its template there",
            (true, true, None) => "needs spindles there (--disk N:spindles=N)",
            (false, _, Some(_)) => "must not have spindles there",
            _ => continue,
        };
        let is = if exclusive { "has" } else { "has no" };
        return Err(Error::wrong_state(format!(
            "Node {} {is} exclusive storage: {} {why}",
            node.name, disk.iv_name
        )));
    }
    Ok(())
}

/// What is left of the disks on their nodes, to be removed later. Errors: one is whole somewhere.
fn leftovers(
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    disks: &[Disk],
) -> Result<Vec<Leftover>> {
    let (config, who) = (cx.config(), instance_ref(instance));
    let primary = instance.primary_node;
    let mut all = Vec::new();
    for node in holders(primary, disks) {
        let name = config.node_name(node);
        let recorded = active::on_node(config, node, primary, disks)?;
        if config.node_by_id(node)?.offline {
            let why = format!("node {name} is marked offline");
            // What any node reaches is not on that one.
            let here: Vec<Disk> =
                recorded.into_iter().filter(|disk| disk.nodes.contains(&node)).collect();
            if !here.is_empty() {
                all.push(leftover(&who, node, &name, here, why));
            }
            continue;
        }
        let mut rest = Vec::new();
        let found = answers(cx, node).map_err(|error| {
            Error::environment(format!(
                "Node {name} does not tell whether the disks of instance {} are there: {error}; \
                 if it is gone for good, mark it offline first",
                instance.name
            ))
        })?;
        for (disk, status) in recorded.iter().zip(found) {
            if is_whole(disk, status) {
                return Err(Error::wrong_state(format!(
                    "{} of instance {} is there on node {name}, so it is not made anew; {}",
                    disk.iv_name,
                    instance.name,
                    match active::is_mirror(disk) {
                        true => "if only its other side is lost use 'gnt-instance replace-disks'",
                        false => "to give it up remove it from the instance",
                    }
                )));
            }
            rest.extend(remains(node, disk, status));
        }
        for disk in &rest {
            if let LogicalId::Pair(vg, volume) = &disk.logical_id {
                cx.warn(format!(
                    "{} was incomplete on node {name}: what is left of it, {vg}/{volume}, stays \
                     there until 'gnt-cluster repair-debris'",
                    disk.iv_name
                ));
            }
        }
        if !rest.is_empty() {
            let why = "an administrator may want to look at what is left of them first".into();
            all.push(leftover(&who, node, &name, rest, why));
        }
    }
    Ok(all)
}

fn leftover(
    who: &InstanceRef,
    node: NodeId,
    name: &str,
    disks: Vec<Disk>,
    why: String,
) -> Leftover {
    let action = Action::DisksRemove { instance: who.clone(), disks };
    let step = Step::new(format!("removing old disks on {name}"), Task::on(node, action));
    Leftover { step: step.on_failure(OnFailure::Debris), why }
}

/// The states of the disks on a node.
fn answers<'b>(cx: &Context<'_, 'b>, node: NodeId) -> Result<Vec<&'b BlockStatus>> {
    Ok(health::answers(cx, node)?.into_iter().map(|(_, status)| status).collect())
}

/// All of it is there. What is broken is not.
fn is_whole(disk: &Disk, status: &BlockStatus) -> bool {
    let complete = status.children.iter().all(|child| child.state != BlockState::Missing);
    match status.state {
        BlockState::Active | BlockState::Inactive => complete,
        // A mirror whose volumes are there may be broken only in how it is set up.
        BlockState::Faulty => active::is_mirror(disk) && complete && !status.children.is_empty(),
        BlockState::Missing => false,
    }
}

/// The volumes below a disk that are still there.
fn remains(node: NodeId, disk: &Disk, status: &BlockStatus) -> Vec<Disk> {
    let here = disk.children.iter().zip(&status.children);
    here.filter(|(_, found)| found.state != BlockState::Missing)
        .map(|(volume, _)| Disk {
            iv_name: disk.iv_name.clone(),
            nodes: vec![node],
            ..volume.clone()
        })
        .collect()
}

#[cfg(test)]
#[path = "recreate_disks_tests.rs"]
mod tests;
