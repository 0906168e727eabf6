//! What a mirror needs that nobody else has: a minor on each node, a port, a secret.
//!
//! Taken is what the configuration says, what plans under way or debris name (a minor is free only
//! when its device is gone), what nodes report in use, and what this plan took before.

use crate::config::{Change, Object};
use crate::jobs::plan::{Plan, Task};
use crate::ops::Context;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Action;
use roost_proto::objects::{Disk, LogicalId};
use std::collections::BTreeSet;

/// Kernel device numbers have 20 bits for it.
const LAST_MINOR: u32 = (1 << 20) - 1;

/// The lowest minor that is free on a node. It is taken from then on.
pub fn new_minor(cx: &mut Context<'_, '_>, node: NodeId) -> Result<u32> {
    let mut used: BTreeSet<u32> = BTreeSet::new();
    used.extend(cx.config().disks.values().filter_map(|disk| minor_of(disk, node)));
    used.extend(mentioned(cx).filter_map(|disk| minor_of(disk, node)));
    used.extend(cx.seen().get(&node).into_iter().flat_map(|view| view.mirrors.keys().copied()));
    used.extend(cx.taken.minors.iter().filter(|(on, _)| *on == node).map(|(_, minor)| *minor));
    let minor = (0..=LAST_MINOR).find(|minor| !used.contains(minor)).ok_or_else(|| {
        let node = cx.config().node_name(node);
        Error::resources(format!("All DRBD minors of node {node} are in use"))
    })?;
    cx.taken.minors.insert((node, minor));
    Ok(minor)
}

/// The DRBD minor a disk has on a node.
pub fn minor_of(disk: &Disk, node: NodeId) -> Option<u32> {
    match &disk.logical_id {
        LogicalId::Drbd(a, _, _, minor, _, _) if *a == node => Some(*minor),
        LogicalId::Drbd(_, b, _, _, minor, _) if *b == node => Some(*minor),
        _ => None,
    }
}

/// The port of a mirror.
pub fn port_of(disk: &Disk) -> Option<u16> {
    match &disk.logical_id {
        LogicalId::Drbd(_, _, port, ..) => Some(*port),
        _ => None,
    }
}

/// What both sides of a mirror show each other: nobody else knows it, or can guess it.
pub fn new_secret(cx: &mut Context<'_, '_>) -> String {
    let (a, b) = (cx.uuid().simple().to_string(), cx.uuid().simple().to_string());
    format!("{a}{}", &b[..8])
}

/// The logical id of a new mirror between two nodes.
pub fn new_mirror(
    cx: &mut Context<'_, '_>,
    primary: NodeId,
    secondary: NodeId,
) -> Result<LogicalId> {
    let port = cx.new_port()?;
    let (here, there) = (new_minor(cx, primary)?, new_minor(cx, secondary)?);
    Ok(LogicalId::Drbd(primary, secondary, port, here, there, new_secret(cx)))
}

/// Disks that plans under way and debris name: what they make, or have not removed yet.
pub fn mentioned<'b>(cx: &Context<'_, 'b>) -> impl Iterator<Item = &'b Disk> + use<'b> {
    let plans = cx.active().iter().flat_map(|plan| of_plan(plan));
    plans.chain(cx.debris().values().flat_map(|debris| of_task(&debris.task)))
}

fn of_plan(plan: &Plan) -> impl Iterator<Item = &Disk> {
    let steps = plan.before.iter().chain(&plan.after);
    let tasks = steps.flat_map(|step| std::iter::once(&step.task).chain(&step.undo));
    let changed = plan.pivot.changes.iter().filter_map(|change| match change {
        Change::Add(Object::Disk(disk)) | Change::Update(Object::Disk(disk)) => Some(&**disk),
        _ => None,
    });
    tasks.flat_map(of_task).chain(changed)
}

fn of_task(task: &Task) -> impl Iterator<Item = &Disk> {
    task.action().into_iter().flat_map(of_action)
}

/// The disks an action is about.
pub fn of_action(action: &Action) -> impl Iterator<Item = &Disk> {
    let none: &[Disk] = &[];
    let (one, two) = match action {
        Action::DisksCreate { disks, .. }
        | Action::DisksRemove { disks, .. }
        | Action::DisksWipe { disks, .. }
        | Action::DisksAssemble { disks, .. }
        | Action::DisksShutdown { disks, .. }
        | Action::DisksOpen { disks, .. }
        | Action::DisksClose { disks, .. }
        | Action::DisksReceive { disks, .. }
        | Action::MirrorsSeed { disks, .. }
        | Action::MirrorsSync { disks, .. }
        | Action::MirrorsDetach { disks, .. }
        | Action::MirrorsDisconnect { disks, .. }
        | Action::MirrorsDiscard { disks, .. } => (disks.as_slice(), none),
        Action::DisksRename { from, to, .. }
        | Action::DisksSnapshot { from, to, .. }
        | Action::DisksMirror { from, to, .. }
        | Action::DisksCopy { from, to, .. } => (from.as_slice(), to.as_slice()),
        Action::DiskGrow { disk, .. } => (std::slice::from_ref(disk), none),
        _ => (none, none),
    };
    one.iter().chain(two)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::plan::Debris;
    use crate::nodes::NodeView;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::ids::JobId;
    use roost_proto::node::SyncStatus;
    use std::sync::Arc;

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.instance("web", "node1", |_| {});
        site.drbd("web", "node2"); // port 11000, minor 0 on both
        site
    }

    fn mirror(port: u16, a: (&str, u32), b: (&str, u32)) -> Disk {
        let site = site();
        let mut disk = (**site.config.disks.values().next().expect("one")).clone();
        let (one, two) = (node_id(a.0), node_id(b.0));
        disk.nodes = vec![one, two];
        disk.logical_id = LogicalId::Drbd(one, two, port, a.1, b.1, "s".into());
        disk
    }

    #[test]
    fn minors_and_ports_that_are_taken() {
        let site = site();
        let (one, two, three) = (node_id("node1"), node_id("node2"), node_id("node3"));
        site.planning(|cx| {
            assert_eq!(new_minor(cx, one).expect("free"), 1, "0 is in the configuration");
            assert_eq!(new_minor(cx, one).expect("free"), 2, "1 was just taken");
            assert_eq!(new_minor(cx, two).expect("free"), 1);
            assert_eq!(new_minor(cx, three).expect("free"), 0);
            assert_eq!(cx.new_port().expect("free"), 11001);
            assert_eq!(cx.new_port().expect("free"), 11002);
        });
    }

    #[test]
    fn what_is_coming_or_going_is_taken() {
        let mut site = site();
        let who = crate::ops::guest::instance_ref(site.config.instance("web").expect("web"));
        let remove = |disk| {
            Task::on(
                node_id("node1"),
                Action::DisksRemove { instance: who.clone(), disks: vec![disk] },
            )
        };
        let going = remove(mirror(11001, ("node1", 1), ("node2", 1)));
        let plan = Plan {
            after: vec![crate::jobs::plan::Step::new("removing", going)],
            ..Plan::default()
        };
        let debris = Debris {
            job: JobId(3),
            step: "removing".into(),
            task: remove(mirror(11002, ("node3", 7), ("node1", 2))),
            error: "no".into(),
        };
        site.facts.debris.insert("x".into(), debris);
        let view = NodeView { mirrors: [(3, SyncStatus::default())].into(), ..NodeView::default() };
        site.facts.seen.insert(node_id("node1"), Arc::new(view));
        site.active.push(Arc::new(plan));
        site.planning(|cx| {
            assert_eq!(new_minor(cx, node_id("node1")).expect("free"), 4);
            assert_eq!(new_minor(cx, node_id("node2")).expect("free"), 2);
            assert_eq!(cx.new_port().expect("free"), 11003);
        });
    }

    #[test]
    fn a_new_mirror() {
        let site = site();
        let (one, three) = (node_id("node1"), node_id("node3"));
        let mirror = site.planning(|cx| new_mirror(cx, one, three));
        match mirror.expect("room for it") {
            LogicalId::Drbd(a, b, 11001, 1, 0, secret) => {
                assert_eq!((a, b), (one, three));
                assert_eq!(secret.len(), 40);
            }
            other => panic!("{other:?}"),
        }
    }
}
