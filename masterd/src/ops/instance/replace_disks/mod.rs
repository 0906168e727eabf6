//! `OP_INSTANCE_REPLACE_DISKS`: one side of mirrored disks gets new storage, while the other goes
//! on.
//!
//! ```text
//!   -p, -s  in_place.rs       the same node, new volumes under the old names
//!   -a                        the same, on the side that is faulty (sides.rs finds it)
//!   -n, -I  new_secondary.rs  another node becomes the secondary
//! ```
//!
//! Old volumes go only when the new ones are equal, or with `--early-release` before. Until then
//! every failure is undone; what cannot be removed, because its node is away, is debris.

mod in_place;
mod new_secondary;
mod sides;

use super::check;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step};
use crate::ops::disks::{active, health};
use crate::ops::placement::{self, Allocator, Asking, Request};
use crate::ops::{Context, Operate};
use roost_proto::choices::ReplaceDisksMode as Mode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceReplaceDisks;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is replaced, as far as the configuration tells.
#[derive(Clone, Debug)]
struct Replacing {
    instance: Arc<Instance>,
    /// Stored, those that are meant.
    disks: Vec<Disk>,
    primary: NodeId,
    secondary: NodeId,
    early_release: bool,
}

impl Operate for InstanceReplaceDisks {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = check::locks(config, &self.instance_name)?;
        if self.mode == Mode::NewSecondary {
            let replacing = replacing(self, config)?;
            check::lock_nodes(&mut locks, config, &targets(self, config, &replacing)?);
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let replacing = replacing(self, config)?;
        let Replacing { instance, primary, secondary, .. } = &replacing;
        let mut questions = Vec::new();
        for node in [*primary, *secondary] {
            if !config.node_by_id(node)?.offline {
                let question = health::question(config, instance, node)?;
                questions.extend(question.map(|question| (node, question)));
            }
        }
        let wanted = match self.mode {
            Mode::OnPrimary => vec![*primary],
            Mode::OnSecondary => vec![*secondary],
            Mode::Auto => vec![*primary, *secondary],
            Mode::NewSecondary => targets(self, config, &replacing)?,
        };
        for node in wanted {
            if !config.node_by_id(node)?.offline {
                questions.push((node, Question::Node));
            }
        }
        Ok(questions)
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        let asking = asking(self, cx, &replacing(self, cx.config())?)?;
        Ok(asking.map_or_else(Vec::new, |asking| asking.further(cx)))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let replacing = replacing(self, cx.config())?;
        match self.mode {
            Mode::OnPrimary => in_place::plan(cx, &replacing, replacing.primary),
            Mode::OnSecondary => in_place::plan(cx, &replacing, replacing.secondary),
            Mode::Auto => match sides::faulty(cx, &replacing)? {
                Some((node, disks)) => in_place::plan(cx, &Replacing { disks, ..replacing }, node),
                None => {
                    cx.say(format!(
                        "No disks need replacement for instance '{}'",
                        replacing.instance.name
                    ));
                    Ok(cx.start_plan())
                }
            },
            Mode::NewSecondary => {
                let target = target(self, cx, &replacing)?;
                new_secondary::plan(cx, &replacing, target)
            }
        }
    }
}

/// The checks that need no node.
fn replacing(op: &InstanceReplaceDisks, config: &Config) -> Result<Replacing> {
    check_request(op)?;
    let instance = config.instance(&op.instance_name)?;
    let all = health::stored(config, instance);
    let mut numbers: BTreeSet<u32> = op.disks.iter().copied().collect();
    if numbers.is_empty() {
        numbers.extend(0..u32::try_from(all.len()).unwrap_or(u32::MAX));
    }
    let mut disks = Vec::new();
    for number in numbers {
        let disk = all.get(number as usize).ok_or_else(|| {
            Error::wrong_input(format!(
                "Instance {} has no disk {number}; it has {} disks, numbered from 0",
                instance.name,
                all.len()
            ))
        })?;
        disks.push(disk.clone());
    }
    if let Some(disk) = disks.iter().find(|disk| !active::is_mirror(disk)) {
        return Err(Error::wrong_state(format!(
            "{} of instance {} is of template '{}'; only disks of template 'drbd' have a second \
             side that can be replaced",
            disk.iv_name, instance.name, disk.dev_type
        )));
    }
    let secondary = match config.secondaries(instance).as_slice() {
        [secondary] => *secondary,
        other => {
            return Err(Error::wrong_state(format!(
                "Instance {} has {} secondary nodes, expected one",
                instance.name,
                other.len()
            )));
        }
    };
    if op.mode == Mode::NewSecondary && disks.len() < all.len() {
        return Err(Error::wrong_input(
            "Mirrors move to a new secondary node all together; leave out the list of disks",
        ));
    }
    Ok(Replacing {
        instance: Arc::clone(instance),
        disks,
        primary: instance.primary_node,
        secondary,
        early_release: op.early_release,
    })
}

fn check_request(op: &InstanceReplaceDisks) -> Result<()> {
    let named = op.remote_node.is_some() || op.remote_node_uuid.is_some();
    let refused = match (op.mode, named, op.iallocator.is_some()) {
        (Mode::NewSecondary, true, true) => {
            "Give either the new secondary node or an iallocator, not both"
        }
        (Mode::NewSecondary, false, false) => {
            "When changing the secondary either an iallocator must be used or the new node given"
        }
        (Mode::OnPrimary | Mode::OnSecondary | Mode::Auto, true, _)
        | (Mode::OnPrimary | Mode::OnSecondary | Mode::Auto, _, true) => {
            "The iallocator and new node options can only be used when changing the secondary node"
        }
        (Mode::Auto, ..) if !op.disks.is_empty() => {
            "Faulty disks are found automatically: leave out the list of disks, or name the side"
        }
        _ => return Ok(()),
    };
    Err(Error::wrong_input(refused))
}

/// Where the mirrors may go: the node that is named, or all that might be chosen.
fn targets(
    op: &InstanceReplaceDisks,
    config: &Config,
    replacing: &Replacing,
) -> Result<Vec<NodeId>> {
    Allocator::of(config, op.iallocator.as_deref())?;
    let Replacing { instance, primary, secondary, .. } = replacing;
    if let Some(name) = op.remote_node_uuid.as_ref().or(op.remote_node.as_ref()) {
        let node = config.node(name)?;
        let what = match node.uuid {
            id if id == *primary => "the primary node",
            id if id == *secondary => "already the secondary node",
            _ => {
                check::good_target(node)?;
                return Ok(vec![node.uuid]);
            }
        };
        return Err(Error::wrong_input(format!(
            "The specified node {} is {what} of instance {}",
            node.name, instance.name
        )));
    }
    let group = config.node_by_id(*primary)?.group;
    let both = [*primary, *secondary];
    let found: Vec<_> =
        placement::candidates(config, Some(group), &both).map(|node| node.uuid).collect();
    if found.is_empty() {
        return Err(Error::resources(format!(
            "There is no third node in group {} that could take the mirrors of instance {}",
            config.group_name(group),
            instance.name
        )));
    }
    Ok(found)
}

/// What an allocator is asked; nothing if the new secondary is named.
fn asking(
    op: &InstanceReplaceDisks,
    cx: &Context<'_, '_>,
    replacing: &Replacing,
) -> Result<Option<Asking>> {
    let config = cx.config();
    if op.iallocator.is_none() {
        return Ok(None);
    }
    let nodes = targets(op, config, replacing)?;
    let request = Request::Relocate(Arc::clone(&replacing.instance), replacing.secondary);
    let needed = placement::needed(&replacing.disks);
    let asking = Asking::new(config, op.iallocator.as_deref(), request)?;
    Ok(Some(asking.among(cx, nodes, |node| placement::has_room(cx, node, &needed))))
}

/// The new secondary, chosen if it was not named.
fn target(
    op: &InstanceReplaceDisks,
    cx: &mut Context<'_, '_>,
    replacing: &Replacing,
) -> Result<NodeId> {
    let config = cx.config();
    let nodes = targets(op, config, replacing)?;
    let node = match asking(op, cx, replacing)? {
        None => nodes[0],
        Some(asking) => {
            let node = asking.node(cx)?;
            asking.say(cx, &replacing.instance.name, &[node]);
            cx.say(format!(
                "Selected new secondary for instance '{}': {}",
                replacing.instance.name,
                config.node_name(node)
            ));
            node
        }
    };
    let new = config.node_by_id(node)?;
    // Within a group the policy is the same.
    if config.node_by_id(replacing.primary)?.group != new.group {
        let disks = health::stored(config, &replacing.instance);
        let instance = &replacing.instance;
        for violation in check::ipolicy(config, instance, &disks, new, op.ignore_ipolicy)? {
            cx.warn(violation);
        }
    }
    Ok(node)
}

impl Replacing {
    /// The first lines of the job's log.
    fn introduce(&self, cx: &mut Context<'_, '_>) {
        let numbers: Vec<_> = self
            .disks
            .iter()
            .map(|disk| disk.iv_name.trim_start_matches("disk/").to_owned())
            .collect();
        let config = cx.config();
        cx.say(format!(
            "Replacing disk(s) {} for instance '{}'",
            numbers.join(", "),
            self.instance.name
        ));
        cx.say(format!("Current primary node: {}", config.node_name(self.primary)));
        cx.say(format!("Current secondary node: {}", config.node_name(self.secondary)));
    }

    /// The other side.
    fn other(&self, node: NodeId) -> NodeId {
        if node == self.primary { self.secondary } else { self.primary }
    }
}

/// The heading of one of the six parts.
fn heading(number: u8, what: &str) -> String {
    format!("STEP {number}/6 {what}")
}

/// Puts a heading over a step, if there is one.
fn headed(mut steps: Vec<Step>, number: u8, what: &str) -> Vec<Step> {
    if let Some(first) = steps.first_mut() {
        first.say = Some(heading(number, what));
    }
    steps
}

/// Making both sides equal and removing what is old: in this order, or the other one with early
/// release. Where nobody uses the disks they are equal before anything is final.
fn finish(plan: &mut Plan, replacing: &Replacing, sync: Vec<Step>, remove: Vec<Step>) {
    let last = |number, remove| headed(remove, number, "Removing old storage");
    match (replacing.early_release, replacing.instance.disks_active) {
        (true, used) => {
            plan.after.extend(last(5, remove));
            // What follows where nobody uses them is done in any case.
            let fails = if used { OnFailure::Fail } else { OnFailure::Warn };
            let sync = sync.into_iter().map(|step| step.on_failure(fails)).collect();
            plan.after.extend(headed(sync, 6, "Sync devices"));
        }
        (false, true) => {
            plan.after.extend(headed(sync, 5, "Sync devices"));
            plan.after.extend(last(6, remove));
        }
        (false, false) => {
            plan.before.extend(headed(sync, 5, "Sync devices"));
            plan.after.extend(last(6, remove));
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
