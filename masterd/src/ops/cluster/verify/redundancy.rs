//! Whether the other nodes have the memory to take over from any one of them: by the same rules as placement.
//!
//! Mirrored instances go to their secondary nodes, which keep memory for the worst other node; those on storage
//! that all nodes of the group see go one by one to the best node that is left. What is on one node's own disks
//! cannot be taken over, and everybody knows.

use super::findings::{self, Findings};
use super::group::Scene;
use crate::ops::Context;
use crate::ops::placement::cluster::{self, Figures, Instances};
use roost_htools::model::{Cluster, Instance, NodeIdx};
use roost_htools::redundancy::{self, Options};
use roost_htools::state::{self, Placement};
use roost_proto::capabilities::Mirroring;
use roost_proto::objects::Node;

/// Checks every node that is at work.
pub fn memory(cx: &Context<'_, '_>, scene: &Scene<'_>, findings: &mut Findings<'_>) {
    // Where there is only one there is nobody to take over, and everybody knows.
    if scene.members.iter().filter(|node| node.vm_capable).count() < 2 {
        return;
    }
    let promised = cx.promised();
    let figures = |node: &Node| match scene.reports.get(&node.uuid) {
        Some(Ok(report)) => {
            let promised = promised.get(&node.uuid).copied().unwrap_or(0);
            Ok(Figures { report: &report.node, promised })
        }
        _ => Err(String::new()),
    };
    let storage = cluster::usual_storage(scene.config);
    let snapshot = cluster::make(scene.config, storage, Instances::Wanted, figures);
    let members: Vec<NodeIdx> =
        scene.members.iter().filter_map(|node| snapshot.node(node.uuid)).collect();
    let placement = Placement::new(snapshot.cluster.clone(), &state::Options::default());
    mirrored(&placement, &members, findings);
    let placement = Placement::new(mobile(&snapshot.cluster), &state::Options::default());
    shared(&placement, &members, findings);
}

/// The cluster with what can be taken over; what the rest takes is the nodes' own.
fn mobile(cluster: &Cluster) -> Cluster {
    let mut mobile = cluster.clone();
    let local = |instance: &Instance| instance.template.mirroring() == Mirroring::None;
    for instance in cluster.instances.iter().filter(|instance| local(instance)) {
        if let Some(node) = mobile.nodes.get_mut(instance.primary.at()) {
            node.node_memory += if instance.uses_memory() { instance.memory } else { 0 };
            node.node_cpus += if instance.status.online() { instance.vcpus } else { 0 };
        }
    }
    mobile.instances.retain(|instance| !local(instance));
    // They name instances by their place, and do not count when a node fails.
    mobile.rules.clear();
    mobile
}

/// Every secondary node keeps enough for whichever other node fails.
fn mirrored(placement: &Placement, members: &[NodeIdx], findings: &mut Findings<'_>) {
    let nodes = &placement.cluster().nodes;
    for &node in members.iter().filter(|node| !nodes[node.at()].offline) {
        let state = placement.node(node);
        if !state.n1_fails {
            continue;
        }
        for (at, failing) in nodes.iter().enumerate() {
            let needed = placement.peer_memory(node, NodeIdx::of(at));
            if needed > 0 && state.unallocated <= needed {
                let text = format!(
                    "not enough memory to accomodate instance failovers should node {} fail \
                     ({needed}MiB needed, {}MiB available)",
                    failing.name,
                    state.unallocated.max(0)
                );
                findings.error(findings::ENODEN1, &nodes[node.at()].name, text);
            }
        }
    }
}

/// What is on shared storage finds another place.
fn shared(placement: &Placement, members: &[NodeIdx], findings: &mut Findings<'_>) {
    let cluster = placement.cluster();
    let options = Options { accept_existing: true, ..Options::default() };
    for broken in redundancy::non_redundant(placement, members, &options) {
        let instance = &cluster.instances[broken.instance.at()];
        // Mirrored ones are told of above.
        if instance.template.mirroring() != Mirroring::External {
            continue;
        }
        let text = format!(
            "not enough memory to accomodate instance failovers should node {} fail: {}",
            cluster.nodes[broken.node.at()].name,
            broken.explain(cluster)
        );
        findings.error(findings::ENODEN1, &cluster.nodes[broken.node.at()].name, text);
    }
}

#[cfg(test)]
mod tests {
    use crate::ops::testing::{Site, errors, machine, verified};
    use roost_proto::choices::{AdminState, DiskTemplate, VerifyCheck};
    use roost_proto::opcodes::ClusterVerifyGroup;

    fn op() -> ClusterVerifyGroup {
        ClusterVerifyGroup::new("default")
    }

    fn instance(site: &mut Site, name: &str, node: &str, memory: u64) {
        site.instance(name, node, |i| {
            i.beparams =
                [("minmem".to_owned(), 128.into()), ("maxmem".into(), memory.into())].into();
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
        let free = |node2: u64| {
            move |node: &str, report: &mut roost_proto::node::VerifyReport| {
                report.node = roost_proto::node::NodeReport {
                    version: report.node.version.clone(),
                    time: report.node.time,
                    ..machine(if node == "node2" { node2 } else { 500 })
                };
            }
        };
        verified(&mut site, op(), free(1300));
        let found = errors(&site, op());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(
                "  - ERROR: node node1: not enough memory to accomodate instance failovers \
                 should node node1 fail: if node1 fails, instance "
            ),
            "{found:?}"
        );
        let skip = ClusterVerifyGroup { skip_checks: vec![VerifyCheck::NPlusOneMem], ..op() };
        assert_eq!(errors(&site, skip), [] as [&str; 0]);
        site.facts.answers.clear();
        verified(&mut site, op(), free(2500));
        assert_eq!(errors(&site, op()), [] as [&str; 0], "the file has no other place anyway");
    }

    #[test]
    fn secondaries_keep_what_the_worst_node_needs() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        for (name, memory) in [("db1", 600), ("db2", 700)] {
            instance(&mut site, name, "node1", memory);
            site.drbd(name, "node2");
        }
        let mut db2 = (**site.config.instance("db2").expect("it")).clone();
        db2.admin_state = AdminState::Down;
        let db2 = crate::config::Object::Instance(Box::new(db2));
        site.apply(&[crate::config::Change::Update(db2)]);
        verified(&mut site, op(), |node, report| {
            report.node = roost_proto::node::NodeReport {
                version: report.node.version.clone(),
                time: report.node.time,
                ..machine(if node == "node2" { 1300 } else { 5000 })
            };
        });
        let all = errors(&site, op());
        let n1: Vec<_> = all.iter().filter(|line| line.contains("accomodate")).collect();
        assert_eq!(
            n1,
            ["  - ERROR: node node2: not enough memory to accomodate instance failovers \
                 should node node1 fail (1300MiB needed, 1300MiB available)"],
            "one that is down needs its memory when it is started"
        );
    }

    #[test]
    fn a_single_node_has_no_others() {
        let mut site = Site::new(&["node1"]);
        instance(&mut site, "a", "node1", 600);
        verified(&mut site, op(), |_, _| {});
        assert_eq!(errors(&site, op()), [] as [&str; 0]);
    }
}
