//! `OP_CLUSTER_VERIFY_CONFIG`: does the configuration make sense?

use super::certificates;
use super::findings::{self, Findings};
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::node::pool;
use crate::ops::{Context, Operate};
use crate::replication::Safety;
use crate::store::etcd::complaint;
use roost_proto::choices::Hypervisor;
use roost_proto::error::Result;
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::opcodes::ClusterVerifyConfig;
use roost_proto::params::{ParamMap, fill, hypervisor};
use std::collections::BTreeMap;

impl Operate for ClusterVerifyConfig {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        // Only for its certificate; the rest is its group's matter.
        let question = Question::Verify { hypervisors: vec![], storage: vec![], bridges: vec![] };
        Ok(vec![(config.master(), question)])
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        findings::check_codes(&self.ignore_errors)?;
        let config = cx.config();
        let now = cx.now();
        let mut findings = Findings::new(self.error_codes, &self.ignore_errors, self.verbose);
        if self.debug_simulate_errors {
            findings.simulate();
        }
        findings.heading("Verifying cluster config");
        cluster(&mut findings, config);
        candidates(&mut findings, config);
        copies(&mut findings, cx);
        members(&mut findings, cx);
        debris(&mut findings, cx);
        findings.heading("Verifying cluster certificate files");
        certificates::cluster(&mut findings, cx, now);
        findings.heading("Verifying hypervisor parameters");
        hypervisor_parameters(&mut findings, config);
        findings.heading("Verifying all nodes belong to an existing group");
        dangling(&mut findings, config);
        super::rules::verify(&mut findings, config);
        let mut plan = cx.start_plan();
        let (lines, good) = findings.finish();
        plan.say.extend(lines);
        plan.result = good.into();
        Ok(plan)
    }
}

/// The cluster object and what others have in common.
fn cluster(findings: &mut Findings<'_>, config: &Config) {
    let cluster = &config.cluster;
    let mut wrong = |text: String| findings.error(findings::ECLUSTERCFG, "", text);
    if cluster.enabled_hypervisors.is_empty() {
        wrong("no hypervisor is enabled".into());
    }
    if cluster.enabled_disk_templates.is_empty() {
        wrong("no disk template is enabled".into());
    }
    if let Err(error) = fill::cluster_ipolicy(cluster).check_with_std() {
        wrong(error.message);
    }
    for group in config.groups.values() {
        if let Err(error) = fill::group_ipolicy(cluster, group).check() {
            wrong(format!("node group {}: {error}", group.name));
        }
    }
    let mut addresses: BTreeMap<&str, &str> = BTreeMap::new();
    for node in config.nodes.values() {
        if node.master_candidate && (node.offline || node.drained || !node.master_capable) {
            wrong(format!(
                "node {} is a master candidate, but offline, drained or not master capable",
                node.name
            ));
        }
        if node.offline && node.drained {
            wrong(format!("node {} is offline and drained", node.name));
        }
        if node.uuid == cluster.master_node && !node.master_candidate {
            wrong(format!("node {} is the master, but no master candidate", node.name));
        }
        if let Some(other) = addresses.insert(&node.primary_ip, &node.name) {
            wrong(format!("nodes {other} and {} have the address {}", node.name, node.primary_ip));
        }
    }
    let mut owners: BTreeMap<DiskId, &str> = BTreeMap::new();
    for instance in config.instances.values() {
        for disk in &instance.disks {
            if let Some(other) = owners.insert(*disk, &instance.name) {
                wrong(format!("instances {other} and {} share disk {disk}", instance.name));
            }
        }
        for (index, nic) in instance.nics.iter().enumerate() {
            if nic.network.is_some_and(|id| !config.networks.contains_key(&id)) {
                wrong(format!(
                    "NIC/{index} of instance {} is in a network that does not exist",
                    instance.name
                ));
            }
        }
    }
    for node in config.nodes.values() {
        if node.master_candidate && !cluster.candidate_certs.contains_key(&node.uuid) {
            findings.error(
                findings::ECLUSTERCLIENTCERT,
                "",
                format!(
                    "no certificate is recorded of the master candidate {}; re-add it with \
                     'gnt-node add --readd'",
                    node.name
                ),
            );
        }
    }
}

/// As many candidates as there should be. One too many is no fault: somebody made it one.
fn candidates(findings: &mut Findings<'_>, config: &Config) {
    let size = config.cluster.candidate_pool_size as usize;
    let pool = pool::count(config, size, |_| true);
    if pool.now < pool.should {
        let text = format!(
            "Not enough master candidates: actual {}, target {}; 'gnt-cluster redist-conf' \
             promotes nodes",
            pool.now, pool.should
        );
        findings.error(findings::ECLUSTERCFG, "", text);
    } else if pool.now > size {
        findings.notice(format!(
            "{} master candidates found, {size} are wanted; 'gnt-cluster redist-conf' demotes the \
             surplus",
            pool.now
        ));
    }
}

/// The copies of the state on the other master candidates.
fn copies(findings: &mut Findings<'_>, cx: &Context<'_, '_>) {
    let (config, Some(copies)) = (cx.config(), cx.copies()) else { return };
    if matches!(copies.safety, Safety::Waiting | Safety::Alone { .. }) {
        let text = copies.complaint(&|node| config.node_name(node));
        findings.error(findings::ECLUSTERCFG, "", text);
    }
    for (node, ..) in &copies.others {
        let told = copies.tell(*node);
        if told != "level" {
            let text = format!(
                "its copy of the configuration: {told}; it catches up by itself when its masterd \
                 can be reached"
            );
            findings.error(findings::ENODEFILECHECK, &config.node_name(*node), text);
        }
    }
}

/// etcd's members, if the state is there. Without a majority of them nobody verifies anything.
fn members(findings: &mut Findings<'_>, cx: &Context<'_, '_>) {
    if let Some(text) = complaint(cx.members()) {
        findings.warn(findings::ECLUSTERCFG, "", text);
    }
}

/// What jobs left behind.
fn debris(findings: &mut Findings<'_>, cx: &Context<'_, '_>) {
    for debris in cx.debris().values() {
        let nodes: Vec<_> =
            debris.task.nodes().iter().map(|id| cx.config().node_name(*id)).collect();
        findings.error(
            findings::ECLUSTERDEBRIS,
            "",
            format!(
                "job {} could not clean up after '{}' on {}: {}; remove what is left with \
                 'gnt-cluster repair-debris'",
                debris.job,
                debris.step,
                nodes.join(", "),
                debris.error
            ),
        );
    }
}

/// Hypervisor parameters, wherever they are set.
fn hypervisor_parameters(findings: &mut Findings<'_>, config: &Config) {
    let cluster = &config.cluster;
    let mut check = |place: String, hv: Hypervisor, filled: &ParamMap| {
        if let Err(error) = hypervisor::check_hvparams(hv, filled) {
            findings.error(findings::ECLUSTERCFG, "", format!("{place}: {error}"));
        }
    };
    for hv in &cluster.enabled_hypervisors {
        check(format!("cluster parameters of {hv}"), *hv, &fill::cluster_hvparams(cluster, *hv));
        for os in cluster.os_hvp.keys() {
            let filled = fill::hvparams(cluster, *hv, os, &ParamMap::new());
            check(format!("parameters of {hv} for OS {os}"), *hv, &filled);
        }
    }
    let mut instances: Vec<_> = config.instances.values().collect();
    nicesort::sort_by_key(&mut instances, |i| i.name.to_string());
    for instance in instances {
        // One without own settings has what was checked above.
        if !instance.hvparams.is_empty() {
            let filled = fill::instance_hvparams(cluster, instance);
            check(format!("instance {}", instance.name), instance.hypervisor, &filled);
        }
    }
}

/// Nodes without group, instances without node.
fn dangling(findings: &mut Findings<'_>, config: &Config) {
    for node in config.nodes.values().filter(|n| !config.groups.contains_key(&n.group)) {
        let text = "the node is in a group that does not exist";
        findings.error(findings::ECLUSTERDANGLINGNODES, &node.name, text);
    }
    for instance in config.instances.values() {
        if !config.nodes.contains_key(&instance.primary_node) {
            let text = format!("instance {} is on this node, which does not exist", instance.name);
            let node = instance.primary_node.to_string();
            findings.error(findings::ECLUSTERDANGLINGINST, &node, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::plan::{Debris, Task};
    use crate::ops::testing::{NOW, Site, node_id};
    use crate::store::etcd::Member;
    use roost_proto::ids::JobId;
    use roost_proto::node::{Action, Answer, VerifyReport};
    use serde_json::json;

    const GOOD: [&str; 4] = [
        "* Verifying cluster config",
        "* Verifying cluster certificate files",
        "* Verifying hypervisor parameters",
        "* Verifying all nodes belong to an existing group",
    ];

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2"]);
        site.cluster(|c| {
            c.candidate_pool_size = 1;
            c.candidate_certs = [(node_id("node1"), "FP".into())].into();
        });
        site
    }

    #[test]
    fn the_pool_has_its_size() {
        let mut site = site();
        site.cluster(|c| c.candidate_pool_size = 10);
        let plan = site.plan(ClusterVerifyConfig::new()).expect("a plan");
        let short = "  - ERROR: cluster: Not enough master candidates: actual 1, target 2; \
                     'gnt-cluster redist-conf' promotes nodes";
        assert_eq!((plan.say[1].as_str(), plan.result), (short, false.into()));
        site.joined("node2", "192.0.2.2");
        site.run(roost_proto::opcodes::ClusterRedistConf::new());
        let plan = site.plan(ClusterVerifyConfig::new()).expect("a plan");
        assert_eq!((plan.say.len(), plan.result), (GOOD.len(), true.into()));
        site.cluster(|c| c.candidate_pool_size = 1);
        let plan = site.plan(ClusterVerifyConfig::new()).expect("a plan");
        assert!(plan.say[1].starts_with("  - NOTICE: 2 master candidates found, 1 are wanted"));
        assert_eq!(plan.result, true, "nobody must be demoted");
    }

    #[test]
    fn a_good_configuration() {
        let plan = site().plan(ClusterVerifyConfig::new()).expect("a plan");
        assert_eq!(plan.say, GOOD);
        assert_eq!(plan.result, true);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut site = site();
        site.node("node2", |n| {
            n.master_candidate = true;
            n.offline = true;
        });
        site.instance("web", "node1", |i| {
            i.hypervisor = Hypervisor::Kvm;
            i.hvparams = serde_json::from_value(json!({"kvm_path": ""})).expect("map");
        });
        let report =
            VerifyReport { certificate_expires: Some(NOW + 86400.0), ..VerifyReport::default() };
        let question = site.questions(ClusterVerifyConfig::new()).remove(0).1;
        site.answer("node1", question, Ok(Answer::Verify(Box::new(report))));
        let debris = Debris {
            job: JobId(3),
            step: "creating instance disks".into(),
            task: Task::on(node_id("node2"), Action::Leave),
            error: "disk full".into(),
        };
        site.facts.debris.insert("x".into(), debris);
        let plan = site.plan(ClusterVerifyConfig::new()).expect("a plan");
        let errors: Vec<_> = plan.say.iter().filter(|l| l.starts_with("  - ")).collect();
        assert_eq!(
            errors,
            [
                "  - ERROR: cluster: node node2 is a master candidate, but offline, drained or \
                 not master capable",
                "  - ERROR: cluster: no certificate is recorded of the master candidate node2; \
                 re-add it with 'gnt-node add --readd'",
                "  - ERROR: cluster: job 3 could not clean up after 'creating instance disks' on \
                 node2: disk full; remove what is left with 'gnt-cluster repair-debris'",
                "  - ERROR: cluster: the certificate of node node1 expires in 1 day(s)",
                "  - ERROR: cluster: instance web: The kvm hypervisor parameter 'kvm_path' must \
                 have a value",
            ]
        );
        assert_eq!(plan.result, false);
        let ignoring = ClusterVerifyConfig {
            ignore_errors: ["ECLUSTERCFG", "ECLUSTERCERT", "ECLUSTERDEBRIS", "ECLUSTERCLIENTCERT"]
                .map(str::to_owned)
                .to_vec(),
            ..ClusterVerifyConfig::new()
        };
        assert_eq!(site.plan(ignoring).expect("a plan").result, true);
    }

    #[test]
    fn members_of_etcd_that_are_away_are_a_warning() {
        let mut site = site();
        let member = |n: u8, trouble: Option<&str>| Member {
            endpoint: format!("https://etcd{n}:2379"),
            trouble: trouble.map(str::to_owned),
        };
        site.facts.members = vec![member(1, None), member(2, None), member(3, None)];
        assert_eq!(site.plan(ClusterVerifyConfig::new()).expect("a plan").say, GOOD);
        site.facts.members[1] = member(2, Some("connection refused"));
        let plan = site.plan(ClusterVerifyConfig::new()).expect("a plan");
        let said = plan.say.join("\n");
        assert!(said.contains("WARNING: cluster: Of etcd's 3 members"), "{said}");
        assert!(said.contains("https://etcd2:2379 (connection refused)"), "{said}");
        assert_eq!(plan.result, true, "it works without that one");
    }
}
