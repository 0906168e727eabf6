//! The instances' part of a group's verification.
//!
//! Nodes are asked one after the other's change may have happened, and jobs go on meanwhile. So what
//! contradicts the configuration counts only if the nodes' own reports, which are never older than
//! the last thing a job did, say the same.

use super::disks;
use super::findings::{self, Findings};
use super::group::Scene;
use crate::ops::{Context, policy};
use roost_proto::choices::AdminState;
use roost_proto::ids::NodeId;
use roost_proto::node::GuestState;
use roost_proto::objects::Instance;
use roost_proto::params::fill;

/// An instance that changed within so many seconds may have changed after its node was asked.
const JUST: f64 = 60.0;

/// Each instance, then guests that are none.
pub fn status(cx: &Context<'_, '_>, scene: &Scene<'_>, findings: &mut Findings<'_>) {
    for instance in &scene.instances {
        if scene.under_way.instance(&instance.name) {
            findings.detail(format!("Skipping instance {}, a job works on it", instance.name));
            continue;
        }
        findings.detail(format!("Verifying instance {}", instance.name));
        one(cx, scene, instance, findings);
    }
    strangers(cx, scene, findings);
}

fn one(cx: &Context<'_, '_>, scene: &Scene<'_>, instance: &Instance, findings: &mut Findings<'_>) {
    let config = scene.config;
    let name = instance.name.as_str();
    let spec = policy::spec(config, instance);
    let violations = fill::group_ipolicy(&config.cluster, scene.group).violations(&spec);
    if !violations.is_empty() {
        let text = format!("instance violates the policy of its group: {}", violations.join(", "));
        findings.warn(findings::EINSTANCEPOLICY, name, text);
    }
    let secondaries = config.secondaries(instance);
    let elsewhere =
        |id: &&NodeId| config.nodes.get(id).is_some_and(|n| n.group != scene.group.uuid);
    if let Some(node) = secondaries.iter().find(elsewhere) {
        let text = format!("its secondary node {} is in another group", config.node_name(*node));
        findings.warn(findings::EINSTANCESPLITGROUPS, name, text);
    }
    let node = config.node_name(instance.primary_node);
    let offline = config.nodes.get(&instance.primary_node).is_some_and(|n| n.offline);
    let shall_run = instance.admin_state == AdminState::Up;
    if offline {
        if shall_run {
            let text = format!(
                "instance is marked as running and lives on offline node {node}; move it with \
                 'gnt-instance failover'"
            );
            findings.error(findings::EINSTANCEBADNODE, name, text);
        }
        return;
    }
    if shall_run && is_down(cx, scene, instance) {
        let text = format!("instance not running on its primary node {node}");
        findings.error(findings::EINSTANCEDOWN, name, text);
    }
    disks::of_instance(scene, instance, findings);
}

/// Its node says that it does not run.
fn is_down(cx: &Context<'_, '_>, scene: &Scene<'_>, instance: &Instance) -> bool {
    let Some(Ok(report)) = scene.reports.get(&instance.primary_node) else { return false };
    let guest = report.guests.iter().find(|g| g.name == instance.name.as_str());
    match guest.map(|g| g.state) {
        Some(GuestState::Running | GuestState::Paused) => return false,
        // Its user stopped it, which is allowed here.
        Some(GuestState::Shutdown) if scene.config.cluster.enabled_user_shutdown => return false,
        _ => {}
    }
    let changed = instance.mtime > scene.now - JUST;
    !(changed && seen_there(cx, instance.primary_node, &instance.name) == Some(true))
}

/// Whether a node reported by itself that it runs a guest; nothing, if it reports nothing.
fn seen_there(cx: &Context<'_, '_>, node: NodeId, guest: &str) -> Option<bool> {
    let view = cx.seen().get(&node).filter(|view| view.up)?;
    Some(view.guests.get(guest).is_some_and(|g| g.state.is_running()))
}

/// Guests that run where no instance is.
fn strangers(cx: &Context<'_, '_>, scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let config = scene.config;
    for node in &scene.members {
        let Some(Ok(report)) = scene.reports.get(&node.uuid) else { continue };
        for guest in report.guests.iter().filter(|g| g.state.is_running()) {
            let gone = seen_there(cx, node.uuid, &guest.name) == Some(false);
            if gone || scene.under_way.instance(&guest.name) {
                continue;
            }
            let known = config.index.instance_by_name.get(&guest.name);
            match known.and_then(|id| config.instances.get(id)) {
                None => {
                    let text = format!("node is running unknown instance {}", guest.name);
                    findings.error(findings::ENODEORPHANINSTANCE, &node.name, text);
                }
                Some(instance) if instance.primary_node != node.uuid => {
                    let text = format!(
                        "instance should not run on node {}, its primary node is {}; to make it \
                         so use 'gnt-instance migrate --cleanup'",
                        node.name,
                        config.node_name(instance.primary_node)
                    );
                    findings.error(findings::EINSTANCEWRONGNODE, &instance.name, text);
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Object;
    use crate::jobs::plan::{Pivot, Plan};
    use crate::ops::testing::{NOW, Site, errors, running, status, verified};
    use roost_proto::choices::{AdminState, DiskTemplate};
    use roost_proto::node::{Answer, BlockState};
    use roost_proto::opcodes::ClusterVerifyGroup;
    use std::sync::Arc;

    fn op() -> ClusterVerifyGroup {
        ClusterVerifyGroup::new("default")
    }

    #[test]
    fn where_instances_run() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node3", |n| n.offline = true);
        for (name, node) in [("down", "node1"), ("lost", "node3"), ("moved", "node1")] {
            site.instance(name, node, |_| {});
        }
        site.instance("off", "node1", |i| i.admin_state = AdminState::Down);
        verified(&mut site, op(), |node, report| {
            report.guests.clear();
            if node == "node2" {
                report.guests = vec![running("moved"), running("stranger")];
            }
        });
        assert_eq!(
            errors(&site, op()),
            [
                "  - ERROR: instance down: instance not running on its primary node node1",
                "  - ERROR: instance lost: instance is marked as running and lives on offline \
                 node node3; move it with 'gnt-instance failover'",
                "  - ERROR: instance moved: instance not running on its primary node node1",
                "  - ERROR: instance moved: instance should not run on node node2, its primary \
                 node is node1; to make it so use 'gnt-instance migrate --cleanup'",
                "  - ERROR: node node2: node is running unknown instance stranger",
            ]
        );
    }

    #[test]
    fn what_jobs_work_on_is_left_alone() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        verified(&mut site, op(), |_, report| report.guests.clear());
        assert_eq!(errors(&site, op()).len(), 1);
        let mut moving = (**site.config.instance("web").expect("it")).clone();
        moving.primary_node = site.config.node("node2").expect("it").uuid;
        let change = crate::config::Change::Update(Object::Instance(Box::new(moving)));
        let pivot = Pivot { changes: vec![change], ..Pivot::default() };
        site.active = vec![Arc::new(Plan { pivot, ..Plan::default() })];
        assert_eq!(errors(&site, op()), [] as [&str; 0]);
    }

    #[test]
    fn what_just_changed_must_be_seen_too() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        verified(&mut site, op(), |node, report| {
            report.guests.clear();
            if node == "node2" {
                report.guests = vec![running("web"), running("gone")];
            }
        });
        // It was started or moved after the nodes were asked: they have told since.
        site.seen("node1", "web");
        site.seen("node2", "other");
        site.touch("web", NOW - 1.0);
        assert_eq!(errors(&site, op()), [] as [&str; 0]);
    }

    #[test]
    fn disks_are_there() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |i| i.disks_active = true);
        for disk in 0..4 {
            site.disk("web", DiskTemplate::File, &format!("/srv/file/web/{disk}"));
        }
        verified(&mut site, op(), |_, _| {});
        let states =
            [BlockState::Active, BlockState::Missing, BlockState::Faulty, BlockState::Inactive];
        for (_, _, answer) in &mut site.facts.answers {
            if let Ok(Answer::Blocks(all)) = answer {
                *all = states.map(status).to_vec();
            }
        }
        assert_eq!(
            errors(&site, op()),
            [
                "  - ERROR: instance web: disk/1 (/srv/file/web/1) is missing on node node1",
                "  - ERROR: instance web: disk/2 on node1 is faulty: broken",
                "  - ERROR: instance web: disk/3 on node1 is not active; use 'gnt-instance \
                 activate-disks'",
            ]
        );
    }

    #[test]
    fn policies_only_warn() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |i| {
            i.beparams = [("maxmem".to_owned(), 65536.into())].into();
        });
        verified(&mut site, op(), |_, _| {});
        let plan = site.plan(op()).expect("a plan");
        let said = "  - WARNING: instance web: instance violates the policy of its group: ";
        assert!(plan.say.iter().any(|line| line.starts_with(said)), "{:#?}", plan.say);
        assert_eq!(plan.result, true);
    }
}
