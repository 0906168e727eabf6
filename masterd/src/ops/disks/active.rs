//! Steps for disks on all nodes that hold something of them.
//!
//! ```text
//!   create     secondary: volumes ─ primary: volumes ─ both: connect ─ primary: seed ─ primary: use
//!   assemble   secondary: attach, connect ─ primary: attach, connect, use
//!   shutdown   primary ─ secondary
//!   remove     primary ─ secondary
//! ```
//!
//! A mirror is always connected on its secondary first, so that the primary never begins alone
//! by accident. Disks that any node reaches concern the primary only.

use crate::config::Config;
use crate::jobs::plan::{OnFailure, Step, Task};
use crate::ops::guest::filled_disks;
use roost_proto::capabilities::Mirroring;
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, DiskRole, InstanceRef};
use roost_proto::objects::Disk;

/// How disks are made usable.
#[derive(Clone, Debug, Default)]
pub struct Assembling {
    /// Also with data that is not known to be the newest.
    pub force: bool,
    /// Also where a device has not the recorded size.
    pub ignore_size: bool,
    /// Nodes that are away: they are not told, and mirrors are used without them.
    pub without: Vec<NodeId>,
}

/// Whether we keep it on two nodes.
pub fn is_mirror(disk: &Disk) -> bool {
    disk.dev_type.mirroring() == Mirroring::Internal
}

/// Whether a disk has something on a node, or is used there.
fn concerns(disk: &Disk, node: NodeId, primary: NodeId) -> bool {
    match disk.dev_type.mirroring() {
        Mirroring::Internal => disk.nodes.contains(&node),
        Mirroring::None if disk.nodes.is_empty() => node == primary,
        Mirroring::None => disk.nodes.contains(&node),
        Mirroring::External => node == primary,
    }
}

/// The nodes that disks concern: secondaries first, the primary last.
pub fn sides(primary: NodeId, disks: &[Disk]) -> Vec<NodeId> {
    let mut sides = Vec::new();
    for disk in disks.iter().filter(|disk| is_mirror(disk)) {
        for node in &disk.nodes {
            if *node != primary && !sides.contains(node) {
                sides.push(*node);
            }
        }
    }
    if disks.iter().any(|disk| concerns(disk, primary, primary)) {
        sides.push(primary);
    }
    sides
}

/// The disks that concern a node, filled: what it is told of them. Both sides of a mirror are told
/// the same, with the parameters of the primary's group.
pub fn on_node(
    config: &Config,
    node: NodeId,
    primary: NodeId,
    disks: &[Disk],
) -> Result<Vec<Disk>> {
    let here: Vec<Disk> = disks.iter().filter(|d| concerns(d, node, primary)).cloned().collect();
    filled_disks(config, primary, &here)
}

/// Names a step for the secondaries apart from that for the primary.
fn named(config: &Config, what: &str, node: NodeId, primary: NodeId) -> String {
    match node == primary {
        true => what.to_owned(),
        false => format!("{what} on secondary node {}", config.node_name(node)),
    }
}

/// Makes disks usable on one node, in a role. Undone by deactivating them there.
fn assemble_on(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    (node, primary): (NodeId, NodeId),
    role: DiskRole,
    how: &Assembling,
) -> Result<Step> {
    let here = on_node(config, node, primary, disks)?;
    let shutdown = Action::DisksShutdown { instance: who.clone(), disks: here.clone() };
    let is_away = |other: &NodeId| *other != node && how.without.contains(other);
    let alone = sides(primary, disks).iter().any(is_away);
    let action = Action::DisksAssemble {
        instance: who.clone(),
        disks: here,
        role,
        force: how.force,
        ignore_size: how.ignore_size,
        alone,
    };
    let name = named(config, "activating instance disks", node, primary);
    Ok(Step::new(name, Task::on(node, action)).undone_by(Task::on(node, shutdown)))
}

/// Makes disks usable: on secondaries, then on the primary. Undone by deactivating them. The step
/// on the primary is the last.
pub fn assemble(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    primary: NodeId,
    how: &Assembling,
) -> Result<Vec<Step>> {
    let sides = sides(primary, disks).into_iter().filter(|node| !how.without.contains(node));
    let role = |node| if node == primary { DiskRole::Primary } else { DiskRole::Secondary };
    let on = |node| assemble_on(config, who, disks, (node, primary), role(node), how);
    sides.map(on).collect()
}

/// Nothing holds the disks any more: on the primary, then on the secondaries. A failure leaves
/// something active that need not be.
pub fn shutdown(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    primary: NodeId,
    without: &[NodeId],
) -> Result<Vec<Step>> {
    let action = |disks| Action::DisksShutdown { instance: who.clone(), disks };
    let what = "deactivating instance disks";
    let steps = primary_first(config, disks, primary, without, what, action)?;
    Ok(steps.into_iter().map(|step| step.on_failure(OnFailure::Warn)).collect())
}

/// The same on all nodes of disks, the primary first.
fn primary_first(
    config: &Config,
    disks: &[Disk],
    primary: NodeId,
    without: &[NodeId],
    what: &str,
    action: impl Fn(Vec<Disk>) -> Action,
) -> Result<Vec<Step>> {
    let there = sides(primary, disks).into_iter().rev().filter(|node| !without.contains(node));
    let step = |node| {
        let disks = on_node(config, node, primary, disks)?;
        let name = named(config, what, node, primary);
        Ok(Step::new(name, Task::on(node, action(disks))))
    };
    there.map(step).collect()
}

/// Makes new disks on all their nodes and, in the end, usable on the primary: mirrors are connected
/// and begin to be made equal, from what the primary has. Undone by removing them.
pub fn create(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    primary: NodeId,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for node in sides(primary, disks) {
        let here = on_node(config, node, primary, disks)?;
        let make = Action::DisksCreate { instance: who.clone(), disks: here.clone() };
        let remove = Action::DisksRemove { instance: who.clone(), disks: here };
        let name = named(config, "creating instance disks", node, primary);
        steps.push(Step::new(name, Task::on(node, make)).undone_by(Task::on(node, remove)));
    }
    steps.extend(connect(config, who, disks, primary)?);
    if !steps.is_empty() {
        let how = Assembling::default();
        let on = (primary, primary);
        steps.push(assemble_on(config, who, disks, on, DiskRole::Primary, &how)?);
    }
    Ok(steps)
}

/// Connects the sides of new mirrors and begins to make them equal, from what the primary has.
pub fn connect(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    primary: NodeId,
) -> Result<Vec<Step>> {
    let mirrors: Vec<Disk> = disks.iter().filter(|disk| is_mirror(disk)).cloned().collect();
    let mut steps = Vec::new();
    for node in sides(primary, &mirrors) {
        let on = (node, primary);
        let how = Assembling::default();
        let mut step = assemble_on(config, who, &mirrors, on, DiskRole::Secondary, &how)?;
        step.name = named(config, "connecting mirrors", node, primary);
        steps.push(step);
    }
    if !mirrors.is_empty() {
        let disks = on_node(config, primary, primary, &mirrors)?;
        let seed = Action::MirrorsSeed { instance: who.clone(), disks };
        steps.push(Step::new("starting to mirror", Task::on(primary, seed)));
    }
    Ok(steps)
}

/// Removes disks with their data from all their nodes. What stays somewhere is debris.
pub fn remove(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    primary: NodeId,
    without: &[NodeId],
) -> Result<Vec<Step>> {
    let action = |disks| Action::DisksRemove { instance: who.clone(), disks };
    let what = "removing instance disks";
    let steps = primary_first(config, disks, primary, without, what, action)?;
    Ok(steps.into_iter().map(|step| step.on_failure(OnFailure::Debris)).collect())
}

/// Waits until both sides of the mirrors are equal; nothing if there are none.
pub fn sync(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    primary: NodeId,
) -> Result<Option<Step>> {
    let mirrors: Vec<Disk> = disks.iter().filter(|disk| is_mirror(disk)).cloned().collect();
    if mirrors.is_empty() {
        return Ok(None);
    }
    let disks = on_node(config, primary, primary, &mirrors)?;
    let wait = Action::MirrorsSync { instance: who.clone(), disks };
    Ok(Some(Step::new("waiting for disks to sync", Task::on(primary, wait))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::guest::instance_ref;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::choices::DiskTemplate;

    /// web on node1: a mirror with node2, and a shared file.
    fn site() -> (Site, InstanceRef, Vec<Disk>) {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.instance("web", "node1", |_| {});
        site.drbd("web", "node2");
        site.disk("web", DiskTemplate::SharedFile, "/srv/shared/web/1");
        site.node("node2", |node| node.secondary_ip = "198.51.100.2".into());
        let web = site.config.instance("web").expect("web").clone();
        let disks = site.config.disks_of(&web).iter().map(|d| (**d).clone()).collect();
        (site, instance_ref(&web), disks)
    }

    /// What steps do: `node:action:disks`, and their undo.
    fn told(site: &Site, steps: &[Step]) -> Vec<String> {
        let task = |task: &Task| {
            let action = serde_json::to_value(task.action()).expect("plain data");
            let disks = action["disks"].as_array().map_or(0, Vec::len);
            let role = action["role"].as_str().map(|r| format!("-{r}")).unwrap_or_default();
            let alone = if action["alone"] == true { " alone" } else { "" };
            let what = action["do"].as_str().expect("an action");
            format!("{}:{what}{role}:{disks}{alone}", site.config.node_name(task.nodes()[0]))
        };
        let both = |step: &Step| match &step.undo {
            Some(undo) => format!("{} / {}", task(&step.task), task(undo)),
            None => task(&step.task),
        };
        steps.iter().map(both).collect()
    }

    #[test]
    fn secondaries_first() {
        let (site, who, disks) = site();
        let (one, two) = (node_id("node1"), node_id("node2"));
        assert_eq!(sides(one, &disks), [two, one]);
        assert_eq!(sides(one, &[]), []);
        let how = Assembling::default();
        let steps = assemble(&site.config, &who, &disks, one, &how).expect("steps");
        assert_eq!(
            told(&site, &steps),
            [
                "node2:disks-assemble-secondary:1 / node2:disks-shutdown:1",
                "node1:disks-assemble-primary:2 / node1:disks-shutdown:2",
            ]
        );
        let how = Assembling { without: vec![two], ..Assembling::default() };
        let steps = assemble(&site.config, &who, &disks, one, &how).expect("steps");
        assert_eq!(
            told(&site, &steps),
            ["node1:disks-assemble-primary:2 alone / node1:disks-shutdown:2"]
        );
    }

    #[test]
    fn after_a_failover_the_sides_are_swapped() {
        let (site, who, disks) = site();
        let (one, two) = (node_id("node1"), node_id("node2"));
        assert_eq!(sides(two, &disks), [one, two]);
        let steps = shutdown(&site.config, &who, &disks, two, &[]).expect("steps");
        assert_eq!(told(&site, &steps), ["node2:disks-shutdown:2", "node1:disks-shutdown:1"]);
        assert!(steps.iter().all(|step| step.on_failure == OnFailure::Warn));
        let steps = remove(&site.config, &who, &disks, two, &[one]).expect("steps");
        assert_eq!(told(&site, &steps), ["node2:disks-remove:2"]);
        assert_eq!(steps[0].on_failure, OnFailure::Debris);
    }

    #[test]
    fn new_disks() {
        let (site, who, disks) = site();
        let one = node_id("node1");
        let steps = create(&site.config, &who, &disks, one).expect("steps");
        assert_eq!(
            told(&site, &steps),
            [
                "node2:disks-create:1 / node2:disks-remove:1",
                "node1:disks-create:2 / node1:disks-remove:2",
                "node2:disks-assemble-secondary:1 / node2:disks-shutdown:1",
                "node1:disks-assemble-secondary:1 / node1:disks-shutdown:1",
                "node1:mirrors-seed:1",
                "node1:disks-assemble-primary:2 / node1:disks-shutdown:2",
            ]
        );
        assert_eq!(create(&site.config, &who, &[], one).expect("steps"), []);
        let step = sync(&site.config, &who, &disks, one).expect("filled").expect("a mirror");
        assert_eq!(told(&site, &[step]), ["node1:mirrors-sync:1"]);
        assert_eq!(sync(&site.config, &who, &disks[1..], one).expect("filled"), None);
    }

    #[test]
    fn both_sides_are_told_the_same() {
        let (mut site, _, mut disks) = site();
        site.cluster(|c| {
            let own = [("data-stripes".to_owned(), 3.into())].into();
            c.diskparams.insert("drbd".into(), own);
        });
        disks[0].children = vec![disks[0].clone(), disks[0].clone()];
        disks[0].children.iter_mut().for_each(|child| child.dev_type = DiskTemplate::Plain);
        let (one, two) = (node_id("node1"), node_id("node2"));
        let here = on_node(&site.config, one, one, &disks).expect("filled");
        let there = on_node(&site.config, two, one, &disks).expect("filled");
        assert_eq!(here[..1], there);
        assert_eq!(here[0].addresses[&two], "198.51.100.2");
        assert_eq!(here[0].params["protocol"], "C");
        let stripes: Vec<_> = here[0].children.iter().map(|c| &c.params["stripes"]).collect();
        assert_eq!(stripes, [3, 1]);
    }
}
