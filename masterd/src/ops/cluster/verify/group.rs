//! `OP_CLUSTER_VERIFY_GROUP`: are the nodes and instances of a group as they should be?

use super::findings::{self, Findings};
use super::under_way::UnderWay;
use super::{disks, helpers, instances, nodes, redundancy};
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::cluster::master_ip;
use crate::ops::disks::health;
use crate::ops::{Context, Operate, locking};
use roost_proto::choices::{AdminState, NicMode, StorageType, VerifyCheck};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::nicesort;
use roost_proto::node::{Answer, BlockStatus, IpReport, Question, VerifyReport};
use roost_proto::objects::{Disk, Instance, Node, NodeGroup};
use roost_proto::opcodes::ClusterVerifyGroup;
use roost_proto::params::fill;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is verified, and what is known of it.
#[derive(Debug)]
pub struct Scene<'a> {
    pub config: &'a Config,
    pub group: &'a NodeGroup,
    /// In the order of their names.
    pub members: Vec<&'a Arc<Node>>,
    /// Those of the group's nodes, in the order of their names.
    pub instances: Vec<&'a Arc<Instance>>,
    /// Of the online members that were asked.
    pub reports: BTreeMap<NodeId, Result<&'a VerifyReport, &'a Error>>,
    /// What the online members know of the master IP.
    pub master_ip: BTreeMap<NodeId, IpReport>,
    /// Disks with their state, on each node that has a side of them.
    pub disks: BTreeMap<(DiskId, NodeId), (&'a Disk, &'a BlockStatus)>,
    /// Why out-of-band helpers of the members cannot be run, by their paths.
    pub helpers: BTreeMap<&'a str, &'a str>,
    pub under_way: UnderWay,
    /// Seconds since 1970.
    pub now: f64,
}

impl Operate for ClusterVerifyGroup {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let group = config.group(&self.group_name)?;
        let mut locks = LockSet::new().with(locking::group(group.uuid), Mode::Shared);
        for node in config.members(group.uuid) {
            locks.add(locking::node(node.uuid), Mode::Shared);
        }
        for instance in instances_of(config, group) {
            for node in config.secondaries(instance) {
                locks.add(locking::node(node), Mode::Shared);
            }
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let group = config.group(&self.group_name)?;
        let hypervisors = config.cluster.enabled_hypervisors.clone();
        let storage: Vec<_> =
            storage_directories(config).into_iter().map(|(_, dir)| dir.to_owned()).collect();
        let bridges: Vec<_> = bridges(config, group).into_keys().collect();
        let address = master_ip::of(config, &config.cluster);
        let mut questions = Vec::new();
        for node in config.members(group.uuid).filter(|n| !n.offline) {
            questions.push((
                node.uuid,
                match node.vm_capable {
                    true => Question::Verify {
                        hypervisors: hypervisors.clone(),
                        storage: storage.clone(),
                        bridges: bridges.clone(),
                    },
                    false => {
                        Question::Verify { hypervisors: vec![], storage: vec![], bridges: vec![] }
                    }
                },
            ));
            if let Ok(address) = &address {
                // On the master the address itself is enough; a script may have put it elsewhere.
                let probe = node.uuid != config.master() || address.external_script;
                questions.push((node.uuid, master_ip::question(address, probe)));
            }
        }
        questions.extend(health::ask_all(config, instances_of(config, group))?);
        questions.extend(helpers::ask(config, config.members(group.uuid)));
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        findings::check_codes(&self.ignore_errors)?;
        let mut findings = Findings::new(self.error_codes, &self.ignore_errors, self.verbose);
        let now = cx.now();
        let scene = scene(cx, cx.config().group(&self.group_name)?, now);
        findings.heading(format!("Verifying group '{}'", scene.group.name));
        if self.debug_simulate_errors {
            findings.simulate();
        }
        if scene.members.is_empty() {
            findings.heading("Empty node group, skipping verification");
        } else {
            look(self, cx, &scene, &mut findings);
        }
        let mut plan = cx.start_plan();
        let (lines, good) = findings.finish();
        plan.say.extend(lines);
        plan.result = good.into();
        Ok(plan)
    }
}

/// The instances whose primary node is in a group.
fn instances_of<'a>(
    config: &'a Config,
    group: &'a NodeGroup,
) -> impl Iterator<Item = &'a Arc<Instance>> {
    config.members(group.uuid).flat_map(|node| config.instances_on(node.uuid))
}

fn look(
    op: &ClusterVerifyGroup,
    cx: &Context<'_, '_>,
    scene: &Scene<'_>,
    findings: &mut Findings<'_>,
) {
    let count = scene.members.len();
    findings.heading(format!("Gathering data ({count} nodes)"));
    findings.heading(format!("Gathering information about nodes ({count} nodes)"));
    findings.heading(format!("Gathering disk information ({count} nodes)"));
    findings.heading("Verifying configuration file consistency");
    nodes::files(scene, findings);
    findings.heading("Verifying node status");
    nodes::status(scene, findings);
    helpers::status(scene, findings);
    findings.heading("Verifying instance status");
    instances::status(cx, scene, findings);
    findings.heading("Verifying orphan volumes");
    disks::orphan_volumes(scene, findings);
    disks::spindles_are_alike(scene, findings);
    nodes::orphan_files(scene, findings);
    if !op.skip_checks.contains(&VerifyCheck::NPlusOneMem) {
        findings.heading("Verifying N+1 Memory redundancy");
        redundancy::memory(cx, scene, findings);
    }
    findings.heading("Other Notes");
    notes(scene, findings);
}

fn scene<'a>(cx: &Context<'_, 'a>, group: &'a NodeGroup, now: f64) -> Scene<'a> {
    let config = cx.config();
    let mut members: Vec<_> = config.members(group.uuid).collect();
    nicesort::sort_by_key(&mut members, |n| n.name.to_string());
    let on = members.iter().flat_map(|node| config.instances_on(node.uuid));
    let mut instances: Vec<_> = on.filter(|i| !i.forthcoming).collect();
    nicesort::sort_by_key(&mut instances, |i| i.name.to_string());
    let mut reports = BTreeMap::new();
    let mut disks = BTreeMap::new();
    let mut master_ip = BTreeMap::new();
    let mut helpers = BTreeMap::new();
    for (node, question, answer) in cx.answers() {
        match (question, answer) {
            (Question::Verify { .. }, Ok(Answer::Verify(report))) => {
                reports.insert(*node, Ok(&**report));
            }
            (Question::Verify { .. }, Err(error)) => {
                reports.insert(*node, Err(error));
            }
            (Question::Blocks { disks: asked }, Ok(Answer::Blocks(statuses))) => {
                let found = asked.iter().zip(statuses);
                disks.extend(found.map(|(disk, status)| ((disk.uuid, *node), (disk, status))));
            }
            (Question::IpAddress { .. }, Ok(Answer::IpAddress(report))) => {
                master_ip.insert(*node, *report);
            }
            (Question::OobPrograms { .. }, Ok(Answer::OobPrograms(problems))) => {
                helpers.extend(problems.iter().map(|(path, why)| (path.as_str(), why.as_str())));
            }
            // A node that does not answer is told of once.
            _ => {}
        }
    }
    let under_way = UnderWay::of(cx.active(), config);
    Scene { config, group, members, instances, reports, master_ip, disks, helpers, under_way, now }
}

/// What is good to know.
fn notes(scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let config = scene.config;
    let instances = |is: &dyn Fn(&Instance) -> bool| {
        scene.instances.iter().filter(|instance| is(instance)).count()
    };
    let redundant =
        |i: &Instance| config.disk_template(i).is_some_and(|template| template.is_mirrored());
    let balanced = |i: &Instance| fill::instance_beparams(&config.cluster, i).auto_balance;
    let nodes = |is: &dyn Fn(&Node) -> bool| scene.members.iter().filter(|n| is(n)).count();
    for (count, what) in [
        (instances(&|i| !redundant(i)), "non-redundant instance(s)"),
        (instances(&|i| redundant(i) && !balanced(i)), "non-auto-balanced instance(s)"),
        (instances(&|i| i.admin_state == AdminState::Offline), "offline instance(s)"),
        (nodes(&|n| n.offline), "offline node(s)"),
        (nodes(&|n| n.drained), "drained node(s)"),
    ] {
        if count > 0 {
            findings.notice(format!("{count} {what} found."));
        }
    }
}

/// The directories that nodes need, for the disk templates that are enabled.
pub fn storage_directories(config: &Config) -> Vec<(StorageType, &str)> {
    let cluster = &config.cluster;
    let mut directories = Vec::new();
    for (storage, directory) in [
        (StorageType::File, &cluster.file_storage_dir),
        (StorageType::SharedFile, &cluster.shared_file_storage_dir),
        (StorageType::Gluster, &cluster.gluster_storage_dir),
    ] {
        let enabled = cluster.enabled_disk_templates.iter().any(|t| t.storage_type() == storage);
        if enabled && !directory.is_empty() {
            directories.push((storage, directory.as_str()));
        }
    }
    directories
}

/// The bridges that a group's nodes should have, and whether instances there use them. Without
/// instances it is only the one that new instances get.
pub fn bridges(config: &Config, group: &NodeGroup) -> BTreeMap<String, bool> {
    let mut bridges = BTreeMap::new();
    let default = fill::nicparams(&config.cluster, &Default::default());
    if default.mode == NicMode::Bridged {
        bridges.insert(default.link, false);
    }
    let used: BTreeSet<String> = config
        .members(group.uuid)
        .flat_map(|node| config.instances_on(node.uuid))
        .flat_map(|instance| &instance.nics)
        .map(|nic| fill::nic_params(&config.cluster, nic))
        .filter(|nic| nic.mode == NicMode::Bridged)
        .map(|nic| nic.link)
        .collect();
    bridges.extend(used.into_iter().map(|bridge| (bridge, true)));
    bridges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, verified};
    use roost_proto::choices::DiskTemplate;

    #[test]
    fn a_healthy_group() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        let op = || ClusterVerifyGroup::new("default");
        verified(&mut site, op(), |_, _| {});
        let plan = site.plan(op()).expect("a plan");
        assert_eq!(
            plan.say,
            [
                "* Verifying group 'default'",
                "* Gathering data (2 nodes)",
                "* Gathering information about nodes (2 nodes)",
                "* Gathering disk information (2 nodes)",
                "* Verifying configuration file consistency",
                "* Verifying node status",
                "* Verifying instance status",
                "* Verifying orphan volumes",
                "* Verifying N+1 Memory redundancy",
                "* Other Notes",
            ]
        );
        assert_eq!(plan.result, true);
        assert!(plan.before.is_empty() && plan.after.is_empty());
    }

    #[test]
    fn an_empty_group_is_skipped() {
        let mut site = Site::new(&["node1"]);
        site.group("spare");
        let plan = site.plan(ClusterVerifyGroup::new("spare")).expect("a plan");
        assert_eq!(
            plan.say,
            ["* Verifying group 'spare'", "* Empty node group, skipping verification"]
        );
        assert_eq!(plan.result, true);
    }

    #[test]
    fn notes_count() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node2", |n| n.drained = true);
        site.node("node3", |n| n.offline = true);
        site.instance("file", "node1", |i| i.admin_state = AdminState::Offline);
        site.disk("file", DiskTemplate::File, "/srv/file/file/0");
        site.instance("fixed", "node1", |i| {
            i.beparams = [("auto_balance".to_owned(), false.into())].into();
        });
        let op = || ClusterVerifyGroup::new("default");
        verified(&mut site, op(), |_, _| {});
        let plan = site.plan(op()).expect("a plan");
        let notes: Vec<_> = plan.say.iter().filter(|l| l.contains("NOTICE")).collect();
        assert_eq!(
            notes,
            [
                "  - NOTICE: 1 non-redundant instance(s) found.",
                "  - NOTICE: 1 non-auto-balanced instance(s) found.",
                "  - NOTICE: 1 offline instance(s) found.",
                "  - NOTICE: 1 offline node(s) found.",
                "  - NOTICE: 1 drained node(s) found.",
            ]
        );
        assert_eq!(plan.result, true, "{:#?}", plan.say);
    }
}
