//! The nodes' part of a group's verification.

use super::findings::{self, Findings};
use super::group::{Scene, bridges, storage_directories};
use super::{certificates, disks};
use crate::config::RELEASE;
use roost_proto::choices::StorageType;
use roost_proto::node::VerifyReport;
use roost_proto::objects::{Node, NodeRole};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Clocks may differ by so much, seconds.
const SKEW: f64 = 150.0;
/// A change is with all nodes after so much, seconds; until then their files are not judged.
const SETTLED: f64 = 10.0;

/// What nodes know of the cluster is what it is.
pub fn files(scene: &Scene<'_>, findings: &mut Findings<'_>) {
    if scene.under_way.changes || just_changed(scene) {
        findings.detail("Skipping files that are just being changed");
        return;
    }
    let expected: BTreeMap<String, String> =
        scene.config.ssconf().into_iter().map(|(key, text)| (key, digest(&text))).collect();
    let reports: Vec<_> = scene
        .members
        .iter()
        .filter_map(|n| Some((n, scene.reports.get(&n.uuid)?.as_ref().ok()?)))
        .collect();
    for (key, digest) in &expected {
        let differs = |report: &VerifyReport| report.ssconf.get(key) != Some(digest);
        let wrong: Vec<_> = reports.iter().filter(|(_, report)| differs(report)).collect();
        // All of them: it is on its way to them.
        let late = wrong.len() == reports.len();
        for (node, report) in wrong {
            let how = if report.ssconf.contains_key(key) { "differs" } else { "is missing" };
            let text =
                format!("file ssconf_{key} {how}; write it again with 'gnt-cluster redist-conf'");
            match late {
                true => findings.warn(findings::ENODEFILECHECK, &node.name, text),
                false => findings.error(findings::ENODEFILECHECK, &node.name, text),
            }
        }
    }
}

fn just_changed(scene: &Scene<'_>) -> bool {
    let config = scene.config;
    let times = std::iter::once(config.cluster.mtime)
        .chain(config.nodes.values().map(|o| o.mtime))
        .chain(config.groups.values().map(|o| o.mtime))
        .chain(config.networks.values().map(|o| o.mtime))
        .chain(config.instances.values().map(|o| o.mtime));
    times.fold(0.0, f64::max) > scene.now - SETTLED
}

fn digest(text: &str) -> String {
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
    }
    out
}

/// Each node for itself, and compared with the first that answered.
pub fn status(scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let reference = scene.members.iter().filter(|n| n.vm_capable).find_map(|node| {
        Some((node.name.as_str(), *scene.reports.get(&node.uuid)?.as_ref().ok()?))
    });
    for node in &scene.members {
        if node.offline {
            findings.detail(format!("Skipping offline node {}", node.name));
            continue;
        }
        let role = match node.role(scene.config.master()) {
            NodeRole::Master => "master",
            NodeRole::Candidate => "master candidate",
            NodeRole::Drained => "drained",
            NodeRole::Regular | NodeRole::Offline => "regular",
        };
        findings.detail(format!("Verifying node {} ({role})", node.name));
        match scene.reports.get(&node.uuid) {
            Some(Ok(report)) => {
                answered(scene, node, report, findings);
                if let Some((first, reference)) = reference
                    && node.vm_capable
                {
                    os(node, report, first, reference, findings);
                }
            }
            Some(Err(error)) => {
                findings.error(
                    findings::ENODERPC,
                    &node.name,
                    format!("while contacting node: {error}"),
                );
            }
            // It came into the group after the others were asked.
            None => findings.detail(format!("Skipping new node {}", node.name)),
        }
    }
}

fn answered(scene: &Scene<'_>, node: &Node, report: &VerifyReport, findings: &mut Findings<'_>) {
    let name = node.name.as_str();
    let own = &report.node;
    if own.version != RELEASE {
        let text = format!("software version mismatch: master {RELEASE}, node {}", own.version);
        findings.warn(findings::ENODEVERSION, name, text);
    }
    let skew = (own.time - scene.now).abs();
    if skew > SKEW {
        let text = format!("Node time diverges by at least {skew:.1}s from master node time");
        findings.error(findings::ENODETIME, name, text);
    }
    if let Some(crypto) = &report.crypto {
        certificates::node(findings, scene.config, node, crypto);
    }
    if node.uuid != scene.config.master()
        && let Some(expires) = report.certificate_expires
    {
        findings::certificate(findings, &format!("node {name}"), expires, scene.now);
    }
    for daemon in report.daemons.iter().filter(|daemon| !daemon.running) {
        let text = format!("daemon {} is not running, it ended without saying so", daemon.name);
        findings.error(findings::ENODESETUP, name, text);
    }
    master_ip(scene, node, findings);
    if !node.vm_capable {
        return;
    }
    for (hypervisor, problem) in &report.hypervisors {
        let text = format!("hypervisor {hypervisor} verify failure: '{problem}'");
        findings.error(findings::ENODEHV, name, text);
    }
    for (hypervisor, with) in &own.hypervisors {
        let enabled =
            scene.config.cluster.enabled_hypervisors.iter().any(|h| h.as_str() == hypervisor);
        if enabled && with.usable && hypervisor == "kvm" && with.accelerator != "kvm" {
            let text = format!(
                "hypervisor kvm runs with slow emulation ({}); 'gnt-node info {name}' says why",
                with.accelerator
            );
            findings.warn(findings::ENODEHV, name, text);
        }
    }
    for (directory, problem) in &report.storage {
        let of = storage_directories(scene.config).into_iter().find(|(_, dir)| dir == directory);
        let (code, what) = match of {
            Some((StorageType::SharedFile, _)) => {
                (findings::ENODESHAREDFILESTORAGEPATHUNUSABLE, "shared file storage")
            }
            Some((StorageType::Gluster, _)) => {
                (findings::ENODEGLUSTERSTORAGEPATHUNUSABLE, "gluster storage")
            }
            _ => (findings::ENODEFILESTORAGEPATHUNUSABLE, "file storage"),
        };
        let text = format!("the configured {what} path is unusable: {directory}: {problem}");
        findings.error(code, name, text);
    }
    disks::of_node(scene, node, report, findings);
    let used = bridges(scene.config, scene.group);
    for bridge in &report.missing_bridges {
        match used.get(bridge) {
            Some(true) => {
                findings.error(findings::ENODENET, name, format!("missing bridges: {bridge}"));
            }
            _ => findings.warn(
                findings::ENODENET,
                name,
                format!("missing bridge of the default NIC parameters: {bridge}"),
            ),
        }
    }
}

/// The master has the master IP, nobody else has it, and everybody reaches it.
fn master_ip(scene: &Scene<'_>, node: &Node, findings: &mut Findings<'_>) {
    let cluster = &scene.config.cluster;
    let Some(report) = scene.master_ip.get(&node.uuid) else { return };
    // While it is moved it may be anywhere.
    if scene.under_way.changes {
        return;
    }
    let ip = &cluster.master_ip;
    let is_master = node.uuid == scene.config.master();
    // A site's script may put it on machines that are no nodes, or on several.
    let own_way = cluster.use_external_mip_script;
    let text = match (is_master, report.here, report.answers) {
        (true, false, Some(true)) if own_way => return,
        (true, false, _) => format!(
            "the master node cannot reach the master IP {ip} (not configured?); bring it up with \
             'gnt-cluster activate-master-ip'"
        ),
        (false, true, _) if !own_way => format!(
            "has the master IP {ip} though it is not the master; take it away there ('ip address \
             del') and run 'gnt-cluster activate-master-ip'"
        ),
        (false, false, Some(false)) => format!("cannot reach the master IP {ip}"),
        _ => return,
    };
    findings.error(findings::ENODENET, &node.name, text);
}

/// OS definitions are the same everywhere.
fn os(
    node: &Node,
    report: &VerifyReport,
    first: &str,
    reference: &VerifyReport,
    findings: &mut Findings<'_>,
) {
    let name = node.name.as_str();
    for os in report.os.iter().filter(|os| !os.valid) {
        let text = format!("Invalid OS {} (located at {}): {}", os.name, os.path, os.problem);
        findings.error(findings::ENODEOS, name, text);
    }
    if first == name {
        return;
    }
    for expected in &reference.os {
        let Some(found) = report.os.iter().find(|os| os.name == expected.name) else {
            let text = format!("OS {} is missing, node {first} has it", expected.name);
            findings.error(findings::ENODEOS, name, text);
            continue;
        };
        if !found.valid || !expected.valid {
            continue;
        }
        let sorted = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
        let differences = [
            ("API versions", found.api_versions != expected.api_versions),
            ("variants", sorted(&found.variants) != sorted(&expected.variants)),
            ("parameters", found.parameters != expected.parameters),
        ];
        for (what, _) in differences.iter().filter(|(_, differs)| *differs) {
            let text = format!("OS {} has other {what} here than on node {first}", expected.name);
            findings.error(findings::ENODEOS, name, text);
        }
    }
    for os in report.os.iter().filter(|os| !reference.os.iter().any(|r| r.name == os.name)) {
        let text = format!("Extra OS {} not present on reference node {first}", os.name);
        findings.error(findings::ENODEOS, name, text);
    }
}

/// Files that look like disks and are nobody's. What several nodes see is told of once.
pub fn orphan_files(scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let mut known: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for disk in scene.config.disks.values() {
        if let Some(path) = disk.path() {
            known.entry(path).or_default().push(&disk.nodes);
        }
    }
    let shared: Vec<_> = storage_directories(scene.config)
        .into_iter()
        .filter(|(storage, _)| *storage != StorageType::File)
        .map(|(_, directory)| directory)
        .collect();
    let mut told = BTreeSet::new();
    for node in &scene.members {
        let Some(Ok(report)) = scene.reports.get(&node.uuid) else { continue };
        for (path, size) in &report.files {
            let is_known = known.get(path.as_str()).is_some_and(|owners| {
                owners.iter().any(|nodes| nodes.is_empty() || nodes.contains(&node.uuid))
            });
            let is_shared = shared.iter().any(|directory| path.starts_with(directory));
            if is_known || scene.under_way.path(path) || (is_shared && !told.insert(path)) {
                continue;
            }
            let text = format!("file {path} ({size} MiB) belongs to no disk of this cluster");
            findings.warn(findings::ENODEORPHANFILE, &node.name, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::jobs::plan::{Plan, Step, Task};
    use crate::ops::guest::instance_ref;
    use crate::ops::testing::{NOW, Site, errors, node_id, verified};
    use roost_proto::choices::DiskTemplate;
    use roost_proto::error::Error;
    use roost_proto::node::{
        Acceleration, Action, Answer, DaemonStatus, IpReport, OsReport, Question,
    };
    use roost_proto::opcodes::ClusterVerifyGroup;
    use std::sync::Arc;

    fn op() -> ClusterVerifyGroup {
        ClusterVerifyGroup::new("default")
    }

    #[test]
    fn every_problem_of_a_node_has_its_code() {
        let mut site = Site::new(&["node1", "node2"]);
        site.cluster(|c| {
            c.enabled_hypervisors = vec![roost_proto::choices::Hypervisor::Kvm];
        });
        verified(&mut site, op(), |node, report| {
            if node != "node2" {
                return;
            }
            report.node.version = "0.0.1".into();
            report.node.time = NOW - 200.0;
            report.certificate_expires = Some(NOW - 86400.0);
            report.daemons = vec![DaemonStatus { name: "confd".into(), running: false }];
            report.hypervisors = vec![("kvm".into(), "no libvirt".into())];
            report.node.hypervisors = [(
                "kvm".to_owned(),
                Acceleration {
                    usable: true,
                    accelerator: "tcg".into(),
                    reason: "no /dev/kvm".into(),
                    version: String::new(),
                },
            )]
            .into();
            report.storage = vec![
                ("/srv/file".into(), "it does not exist".into()),
                ("/srv/shared".into(), "read-only".into()),
            ];
            report.missing_bridges = vec!["br0".into()];
            report.os = vec![OsReport { name: "mine".into(), valid: true, ..OsReport::default() }];
            report.ssconf.remove("node_list");
        });
        let op = ClusterVerifyGroup { error_codes: true, ..op() };
        let release = crate::config::RELEASE;
        assert_eq!(
            errors(&site, op),
            [
                "  - ERROR:ENODEFILECHECK:node:node2:file ssconf_node_list is missing; write it \
                 again with 'gnt-cluster redist-conf'"
                    .to_owned(),
                format!(
                    "  - WARNING:ENODEVERSION:node:node2:software version mismatch: master \
                     {release}, node 0.0.1"
                ),
                "  - ERROR:ENODETIME:node:node2:Node time diverges by at least 200.0s from \
                 master node time"
                    .into(),
                "  - ERROR:ECLUSTERCERT:cluster::the certificate of node node2 expired 1 day(s) \
                 ago"
                .into(),
                "  - ERROR:ENODESETUP:node:node2:daemon confd is not running, it ended without \
                 saying so"
                    .into(),
                "  - ERROR:ENODEHV:node:node2:hypervisor kvm verify failure: 'no libvirt'".into(),
                "  - WARNING:ENODEHV:node:node2:hypervisor kvm runs with slow emulation (tcg); \
                 'gnt-node info node2' says why"
                    .into(),
                "  - ERROR:ENODEFILESTORAGEPATHUNUSABLE:node:node2:the configured file storage \
                 path is unusable: /srv/file: it does not exist"
                    .into(),
                "  - ERROR:ENODESHAREDFILESTORAGEPATHUNUSABLE:node:node2:the configured shared \
                 file storage path is unusable: /srv/shared: read-only"
                    .into(),
                "  - WARNING:ENODENET:node:node2:missing bridge of the default NIC parameters: \
                 br0"
                .into(),
                "  - ERROR:ENODEOS:node:node2:Extra OS mine not present on reference node node1"
                    .into(),
            ]
        );
    }

    #[test]
    fn the_master_ip_is_with_the_master_only() {
        let found = |master: (bool, Option<bool>), other: (bool, Option<bool>), script| {
            let mut site = Site::new(&["node1", "node2"]);
            site.cluster(|c| c.use_external_mip_script = script);
            verified(&mut site, op(), |_, _| {});
            for (node, question, answer) in &mut site.facts.answers {
                if matches!(question, Question::IpAddress { .. }) {
                    let (here, answers) = if *node == node_id("node1") { master } else { other };
                    *answer = Ok(Answer::IpAddress(IpReport { here, answers }));
                }
            }
            errors(&site, ClusterVerifyGroup { error_codes: true, ..op() })
        };
        let good = [] as [&str; 0];
        assert_eq!(found((true, None), (false, Some(true)), false), good);
        assert_eq!(
            found((false, None), (false, Some(false)), false),
            [
                "  - ERROR:ENODENET:node:node1:the master node cannot reach the master IP \
                 192.0.2.100 (not configured?); bring it up with 'gnt-cluster activate-master-ip'",
                "  - ERROR:ENODENET:node:node2:cannot reach the master IP 192.0.2.100",
            ]
        );
        let two = found((true, None), (true, Some(true)), false);
        assert_eq!(two.len(), 1, "{two:?}");
        assert!(two[0].contains(":node2:has the master IP 192.0.2.100 though"), "{two:?}");
        assert_eq!(found((false, Some(true)), (true, Some(true)), true), good, "a script's matter");
        assert_eq!(found((true, None), (false, None), false), good, "nobody could be asked");
    }

    #[test]
    fn only_nodes_but_the_master_look_for_it() {
        let mut site = Site::new(&["node1", "node2"]);
        let probes = |site: &Site| {
            let asked = site.questions(op()).into_iter();
            asked
                .filter_map(|(node, question)| match question {
                    Question::IpAddress { probe, .. } => Some((node, probe)),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(probes(&site), [("node1".to_owned(), false), ("node2".to_owned(), true)]);
        site.cluster(|c| c.use_external_mip_script = true);
        assert_eq!(probes(&site)[0], ("node1".to_owned(), true));
    }

    #[test]
    fn silent_and_offline_nodes() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node3", |n| n.offline = true);
        verified(&mut site, op(), |_, _| {});
        let place = site.facts.answers.iter().position(|a| a.0 == node_id("node2"));
        site.facts.answers[place.expect("asked")].2 = Err(Error::exec("no route"));
        let verbose = ClusterVerifyGroup { verbose: true, ..op() };
        assert_eq!(
            errors(&site, verbose.clone()),
            ["  - ERROR: node node2: while contacting node: no route"]
        );
        let said = site.plan(verbose).expect("a plan").say;
        for line in [
            "* Verifying node node1 (master)",
            "* Verifying node node2 (regular)",
            "* Skipping offline node node3",
        ] {
            assert!(said.iter().any(|l| l == line), "{line} in {said:#?}");
        }
    }

    #[test]
    fn files_are_not_judged_while_they_change() {
        let mut site = Site::new(&["node1", "node2"]);
        verified(&mut site, op(), |node, report| {
            if node == "node2" {
                report.ssconf.clear();
            }
        });
        assert!(!errors(&site, op()).is_empty());
        site.active = vec![Arc::new(Plan {
            pivot: crate::jobs::plan::Pivot {
                changes: vec![crate::config::Change::Remove(crate::config::ObjectKey::Node(
                    node_id("node2"),
                ))],
                ..Default::default()
            },
            ..Plan::default()
        })];
        assert_eq!(errors(&site, op()), [] as [&str; 0]);
    }

    #[test]
    fn orphan_files() {
        let mut site = Site::new(&["node1", "node2"]);
        for name in ["web", "new"] {
            site.instance(name, "node1", |i| {
                i.admin_state = roost_proto::choices::AdminState::Down;
            });
        }
        site.disk("web", DiskTemplate::File, "/srv/file/web/0");
        verified(&mut site, op(), |_, report| {
            report.files = vec![
                ("/srv/file/new/0".into(), 5),
                ("/srv/file/web/0".into(), 1024),
                ("/srv/shared/old/0".into(), 3),
            ];
        });
        let left = |node: &str, path: &str, size: u64| {
            format!(
                "  - WARNING: node {node}: file {path} ({size} MiB) belongs to no disk of this \
                 cluster"
            )
        };
        let all = [
            left("node1", "/srv/file/new/0", 5),
            left("node1", "/srv/shared/old/0", 3),
            left("node2", "/srv/file/new/0", 5),
            left("node2", "/srv/file/web/0", 1024),
        ];
        assert_eq!(errors(&site, op()), all);
        assert_eq!(site.plan(op()).expect("a plan").result, true, "only warnings");
        // A job is just making them.
        let mut disk = (**site.config.disks.values().next().expect("one")).clone();
        disk.logical_id = roost_proto::objects::LogicalId::Pair("loop".into(), all_path());
        let instance = instance_ref(site.config.instance("new").expect("it"));
        let action = Action::DisksCreate { instance, disks: vec![disk] };
        let step = Step::new("creating", Task::on(node_id("node1"), action));
        site.active = vec![Arc::new(Plan { before: vec![step], ..Plan::default() })];
        assert_eq!(errors(&site, op()), [all[1].clone(), all[3].clone()]);
    }

    fn all_path() -> String {
        "/srv/file/new/0".into()
    }
}
