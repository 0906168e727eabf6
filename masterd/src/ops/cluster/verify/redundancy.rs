//! Whether the other nodes have the memory to take over from any one of them.
//!
//! An instance with a mirror of ours goes to its secondary node; one on storage that all nodes of
//! the group see goes to whichever has most room left.

use super::findings::{self, Findings};
use super::group::Scene;
use crate::ops::Context;
use roost_proto::capabilities::Mirroring;
use roost_proto::choices::AdminState;
use roost_proto::ids::NodeId;
use roost_proto::objects::Node;
use roost_proto::params::fill;
use std::collections::BTreeMap;

/// Checks every node that is at work.
pub fn memory(cx: &Context<'_, '_>, scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let free: BTreeMap<NodeId, u64> = scene
        .members
        .iter()
        .filter(|node| node.vm_capable && !node.drained && !node.offline)
        .filter_map(|node| {
            let report = scene.reports.get(&node.uuid)?.as_ref().ok()?;
            let promised = cx.promised_memory(node.uuid);
            Some((node.uuid, report.node.memory_free.saturating_sub(promised)))
        })
        .collect();
    // Where there is only one there is nobody to take over, and everybody knows.
    if scene.members.iter().filter(|node| node.vm_capable).count() < 2 {
        return;
    }
    for node in scene.members.iter().filter(|node| !node.offline) {
        one(scene, node, free.clone(), findings);
    }
}

/// What if this one fails?
fn one(
    scene: &Scene<'_>,
    failing: &Node,
    mut free: BTreeMap<NodeId, u64>,
    findings: &mut Findings<'_>,
) {
    let config = scene.config;
    free.remove(&failing.uuid);
    let available: u64 = free.values().sum();
    let mut moving = Vec::new();
    for instance in config.instances_on(failing.uuid) {
        let be = fill::instance_beparams(&config.cluster, instance);
        if instance.admin_state != AdminState::Up || !be.auto_balance || instance.forthcoming {
            continue;
        }
        match config.disk_template(instance).map(|template| template.mirroring()) {
            Some(Mirroring::Internal) => {
                moving.push((be.minmem, instance, config.secondaries(instance).first().copied()));
            }
            Some(Mirroring::External) => moving.push((be.minmem, instance, None)),
            Some(Mirroring::None) | None => {}
        }
    }
    // The bound ones first, then the large ones: what is small finds its place in the gaps.
    moving.sort_by_key(|(memory, instance, to)| {
        (to.is_none(), std::cmp::Reverse(*memory), instance.name.clone())
    });
    let needed: u64 = moving.iter().map(|(memory, ..)| memory).sum();
    let mut homeless = Vec::new();
    for (memory, instance, to) in moving {
        let target = to.or_else(|| {
            let most = free.iter().max_by_key(|(id, room)| (**room, std::cmp::Reverse(**id)));
            most.map(|(id, _)| *id)
        });
        match target.and_then(|id| free.get_mut(&id)).filter(|room| **room >= memory) {
            Some(room) => *room -= memory,
            None => homeless.push(instance.name.as_str()),
        }
    }
    if !homeless.is_empty() {
        let text = format!(
            "not enough memory on the other nodes to take its instances over should it fail \
             ({needed}MiB needed, {available}MiB available); no place for {}",
            homeless.join(", ")
        );
        findings.error(findings::ENODEN1, &failing.name, text);
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::{Site, errors, verified};
    use roost_proto::choices::{AdminState, DiskTemplate, VerifyCheck};
    use roost_proto::opcodes::ClusterVerifyGroup;

    fn op() -> ClusterVerifyGroup {
        ClusterVerifyGroup::new("default")
    }

    fn instance(site: &mut Site, name: &str, node: &str, memory: u64) {
        site.instance(name, node, |i| {
            i.beparams =
                [("minmem".to_owned(), memory.into()), ("maxmem".into(), 4096.into())].into();
        });
    }

    #[test]
    fn the_others_must_have_room() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        for name in ["a", "b", "c"] {
            instance(&mut site, name, "node1", 600);
        }
        instance(&mut site, "file", "node1", 9000);
        site.disk("file", DiskTemplate::File, "/srv/file/file/0");
        instance(&mut site, "off", "node1", 9000);
        let memory = |node: &str| if node == "node2" { 1300 } else { 500 };
        verified(&mut site, op(), |node, report| report.node.memory_free = memory(node));
        let mut off = (**site.config.instance("off").expect("it")).clone();
        off.admin_state = AdminState::Down;
        let off = crate::config::Object::Instance(Box::new(off));
        site.apply(&[crate::config::Change::Update(off)]);
        assert_eq!(
            errors(&site, op()),
            ["  - ERROR: node node1: not enough memory on the other nodes to take its \
                 instances over should it fail (1800MiB needed, 1800MiB available); no place for \
                 c"]
        );
        let skip = ClusterVerifyGroup { skip_checks: vec![VerifyCheck::NPlusOneMem], ..op() };
        assert_eq!(errors(&site, skip), [] as [&str; 0]);
    }

    #[test]
    fn mirrors_go_to_their_secondary() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        instance(&mut site, "db", "node1", 600);
        site.drbd("db", "node2");
        verified(&mut site, op(), |node, report| {
            report.node.memory_free = if node == "node2" { 500 } else { 5000 };
        });
        let errors = errors(&site, op());
        assert!(errors[0].contains("node node1: not enough memory"), "{errors:?}");
        assert!(errors[0].ends_with("no place for db"), "{errors:?}");
    }

    #[test]
    fn a_single_node_has_no_others() {
        let mut site = Site::new(&["node1"]);
        instance(&mut site, "a", "node1", 600);
        verified(&mut site, op(), |_, _| {});
        assert_eq!(errors(&site, op()), [] as [&str; 0]);
    }
}
