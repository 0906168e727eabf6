//! Disks of a guest that moves while it runs: for as long as that takes both nodes write to them.
//!
//! ```text
//!              │ source            target                     source      target
//!   mirrors    │ open for two      connected, open for two    closed      open alone
//!   shared     │ open for two      assembled, open for two    let go      open alone
//!              └─ before the pivot: undone ─────────────────  after it ────────────────
//! ```
//!
//! The source of mirrors is not let go: it is the secondary from then on.

use super::active::{is_mirror, on_node};
use crate::config::Config;
use crate::jobs::plan::{OnFailure, Step, Task};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, DiskRole, InstanceRef};
use roost_proto::objects::Disk;

fn parted(disks: &[Disk]) -> (Vec<Disk>, Vec<Disk>) {
    disks.iter().cloned().partition(is_mirror)
}

fn open(who: &InstanceRef, disks: Vec<Disk>, exclusive: bool) -> Action {
    Action::DisksOpen { instance: who.clone(), disks, exclusive }
}

/// Both nodes may write. Undone: only the source may.
pub fn share(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    (source, target): (NodeId, NodeId),
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let (mirrors, others) = parted(disks);
    let assemble = |disks, role| Action::DisksAssemble {
        instance: who.clone(),
        disks,
        role,
        force: false,
        ignore_size: false,
        alone: false,
    };
    let mirrors = on_node(config, target, source, &mirrors)?;
    let others = on_node(config, target, target, &others)?;
    let connect = "activating disks on target";
    if !mirrors.is_empty() {
        // That is how it should be anyway.
        let action = assemble(mirrors.clone(), DiskRole::Secondary);
        steps.push(Step::new(connect, Task::on(target, action)));
    }
    if !others.is_empty() {
        // The source still has them for itself: opening them comes after it shares them.
        let action = assemble(others.clone(), DiskRole::Secondary);
        let undo = Action::DisksShutdown { instance: who.clone(), disks: others.clone() };
        steps.push(Step::new(connect, Task::on(target, action)).undone_by(Task::on(target, undo)));
    }
    let here = on_node(config, source, source, disks)?;
    let there: Vec<Disk> = mirrors.into_iter().chain(others).collect();
    if here.is_empty() {
        return Ok(steps);
    }
    steps.push(
        Step::new("sharing disks on source", Task::on(source, open(who, here.clone(), false)))
            .undone_by(Task::on(source, open(who, here, true))),
    );
    let close = Action::DisksClose { instance: who.clone(), disks: there.clone() };
    let name = config.node_name(target);
    steps.push(
        Step::new("opening disks on target", Task::on(target, open(who, there, false)))
            .saying(format!("* opening instance disks on node {name} in shared mode"))
            .undone_by(Task::on(target, close)),
    );
    Ok(steps)
}

/// The guest has moved: only the target may write. What has not come to be is put right by
/// `gnt-instance migrate --cleanup`, so a failure is a warning.
pub fn settle(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    (source, target): (NodeId, NodeId),
) -> Result<Vec<Step>> {
    let mut steps = give_up(config, who, disks, (source, target))?;
    let there = on_node(config, target, target, disks)?;
    if !there.is_empty() {
        let action = open(who, there, true);
        steps.push(
            Step::new("opening disks exclusively on target", Task::on(target, action))
                .on_failure(OnFailure::Warn),
        );
    }
    Ok(steps)
}

/// `source`, where the guest is not any more, may not write; it keeps its side of mirrors with
/// `target`.
pub fn give_up(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    (source, target): (NodeId, NodeId),
) -> Result<Vec<Step>> {
    let (mirrors, others) = parted(disks);
    let mirrors = on_node(config, source, target, &mirrors)?;
    let others = on_node(config, source, source, &others)?;
    let mut steps = Vec::new();
    if !mirrors.is_empty() {
        let close = Action::DisksClose { instance: who.clone(), disks: mirrors };
        let step = Step::new("closing disks on source", Task::on(source, close));
        let name = config.node_name(source);
        steps.push(step.saying(format!("* closing instance disks on node {name}")));
    }
    if !others.is_empty() {
        let shutdown = Action::DisksShutdown { instance: who.clone(), disks: others };
        steps.push(Step::new("deactivating instance disks", Task::on(source, shutdown)));
    }
    Ok(steps.into_iter().map(|step| step.on_failure(OnFailure::Warn)).collect())
}
