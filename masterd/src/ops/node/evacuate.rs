//! `OP_NODE_EVACUATE`: one job for each instance that is to leave a node.
//!
//! Instances whose disks are shared migrate to other nodes of the group, mirrored ones to their other
//! side; they fail over if the node is offline. Mirrors are made again on other nodes of the group:
//! where most room is, or on the node that is named.

use super::moves::{self, How, Way};
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::instance::check;
use crate::ops::{Context, Operate, locking, placement};
use roost_proto::choices::{EvacMode, ReplaceDisksMode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::objects::{Instance, Node};
use roost_proto::opcodes::{InstanceReplaceDisks, NodeEvacuate, OpInput};
use serde_json::{Value, json};
use std::sync::Arc;

impl Operate for NodeEvacuate {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let node = source(self, config)?;
        let mut locks = LockSet::new()
            .with(locking::group(node.group), Mode::Shared)
            .with(locking::node(node.uuid), Mode::Shared);
        for id in moves::candidates(config, node) {
            locks.add(locking::node(id), Mode::Shared);
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        match self.mode {
            EvacMode::SecondaryOnly if remote(self, config)?.is_some() => Ok(vec![]),
            EvacMode::SecondaryOnly | EvacMode::PrimaryOnly | EvacMode::All => {
                Ok(moves::questions(config, source(self, config)?))
            }
        }
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let node = source(self, config)?;
        check_request(self, config, node)?;
        let instances = match self.mode {
            EvacMode::SecondaryOnly => vec![],
            EvacMode::PrimaryOnly | EvacMode::All => moves::primaries(config, node),
        };
        let mirrors = match self.mode {
            EvacMode::PrimaryOnly => vec![],
            EvacMode::SecondaryOnly | EvacMode::All => moves::secondaries(config, node),
        };
        let mut names: Vec<_> =
            instances.iter().chain(&mirrors).map(|i| i.name.to_string()).collect();
        nicesort::sort(&mut names);
        match names.is_empty() {
            true => cx.say(format!("No instances to evacuate from node '{}'", node.name)),
            false => cx.say(format!(
                "Evacuating instances from node '{}': {}",
                node.name,
                names.join(", ")
            )),
        }
        // They keep to the policy of their group as much as they did.
        let how = How { allow_runtime_changes: true, ignore_ipolicy: true, ..How::default() };
        let mut jobs = Vec::new();
        let mut stuck = Vec::new();
        for (instance, way) in moves::spread(cx, node, &instances) {
            let to = match way {
                Way::Secondary => None,
                Way::To(id) => Some(config.node_name(id)),
                Way::Stuck(why) => {
                    stuck.push(format!("{} ({why})", instance.name));
                    continue;
                }
            };
            jobs.push(vec![moves::job(node, instance, to, &how).to_json()]);
        }
        for (instance, way) in moves::spread_mirrors(cx, node, &mirrors, remote(self, config)?) {
            match way {
                Ok(to) => jobs.push(vec![mirror_job(self, instance, config.node_name(to))]),
                Err(why) => stuck.push(format!("{} ({why})", instance.name)),
            }
        }
        if !stuck.is_empty() {
            let text = format!("Unable to evacuate instances {}", stuck.join(", "));
            if self.ignore_soft_errors != Some(true) {
                return Err(Error::exec(format!(
                    "{text}; use --ignore-soft-errors to evacuate the others"
                )));
            }
            cx.warn(text);
        }
        let mut plan = cx.start_plan();
        plan.pivot.jobs = jobs;
        plan.result = json!({"jobs": [], "failed": stuck});
        Ok(plan)
    }
}

fn source<'a>(op: &NodeEvacuate, config: &'a Config) -> Result<&'a Arc<Node>> {
    config.node(op.node_uuid.as_ref().unwrap_or(&op.node_name))
}

fn check_request(op: &NodeEvacuate, config: &Config, node: &Node) -> Result<()> {
    let remote = op.remote_node_uuid.as_ref().or(op.remote_node.as_ref());
    placement::check_allocator(op.iallocator.as_deref())?;
    if let Some(name) = remote {
        if op.mode != EvacMode::SecondaryOnly {
            return Err(Error::wrong_input(
                "A new secondary node (-n) is only for evacuating secondary instances (-s)",
            ));
        }
        if op.iallocator.is_some() {
            return Err(Error::wrong_input(
                "Give either a new secondary node (-n) or an iallocator (-I), not both",
            ));
        }
        let remote = config.node(name)?;
        if remote.uuid == node.uuid {
            return Err(Error::wrong_input(format!(
                "Node {} can't be its own replacement",
                node.name
            )));
        }
        check::good_target(remote)?;
    }
    Ok(())
}

/// The new secondary node of all, if one is named.
fn remote(op: &NodeEvacuate, config: &Config) -> Result<Option<NodeId>> {
    let name = op.remote_node_uuid.as_ref().or(op.remote_node.as_ref());
    name.map(|name| config.node(name).map(|node| node.uuid)).transpose()
}

/// The job that makes the mirrors of an instance again elsewhere.
fn mirror_job(op: &NodeEvacuate, instance: &Instance, to: String) -> Value {
    let mode = ReplaceDisksMode::NewSecondary;
    OpInput::from(InstanceReplaceDisks {
        remote_node: Some(to),
        early_release: op.early_release,
        // They keep to the policy of their group as much as they did.
        ignore_ipolicy: true,
        ..InstanceReplaceDisks::new(instance.name.as_str(), mode)
    })
    .to_json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::DiskTemplate;

    fn evacuate(mode: EvacMode) -> NodeEvacuate {
        NodeEvacuate::new("node1", mode)
    }

    #[test]
    fn primaries_go() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        for name in ["web10", "web2"] {
            site.instance(name, "node1", |_| {});
            site.disk(name, DiskTemplate::SharedFile, &format!("/srv/shared/{name}/0"));
        }
        site.free_memory("node2", 200);
        site.free_memory("node3", 190);
        let plan = site.plan(evacuate(EvacMode::PrimaryOnly)).expect("a plan");
        assert_eq!(plan.say, ["Evacuating instances from node 'node1': web2, web10"]);
        let targets: Vec<_> = plan
            .pivot
            .jobs
            .iter()
            .map(|ops| (ops[0]["OP_ID"].clone(), ops[0]["target_node"].clone()))
            .collect();
        let migrate = json!("OP_INSTANCE_MIGRATE");
        assert_eq!(targets, [(migrate.clone(), json!("node2")), (migrate, json!("node3"))]);
        site.node("node1", |n| n.offline = true);
        let plan = site.plan(evacuate(EvacMode::All)).expect("a plan");
        assert_eq!(plan.pivot.jobs[0][0]["OP_ID"], "OP_INSTANCE_FAILOVER");
    }

    #[test]
    fn what_cannot_go() {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        site.instance("file", "node1", |_| {});
        site.disk("file", DiskTemplate::File, "/srv/file/file/0");
        site.free_memory("node2", 1000);
        let error = site.refusal(evacuate(EvacMode::PrimaryOnly));
        assert_eq!(
            error,
            Error::exec(
                "Unable to evacuate instances file (its disks (template 'file') are only on this \
                 node; use 'gnt-instance move'); use --ignore-soft-errors to evacuate the others"
            )
        );
        let soft =
            NodeEvacuate { ignore_soft_errors: Some(true), ..evacuate(EvacMode::PrimaryOnly) };
        let plan = site.plan(soft).expect("a plan");
        assert_eq!(plan.pivot.jobs.len(), 1);
        assert!(plan.say[1].starts_with(" - WARNING: Unable to evacuate"), "{:?}", plan.say);
    }

    #[test]
    fn secondaries() {
        let site = Site::new(&["node1", "node2"]);
        let plan = site.plan(evacuate(EvacMode::SecondaryOnly)).expect("a plan");
        assert_eq!(plan.say, ["No instances to evacuate from node 'node1'"]);
        assert_eq!(plan.result, json!({"jobs": [], "failed": []}));
        let remote =
            NodeEvacuate { remote_node: Some("node2".into()), ..evacuate(EvacMode::PrimaryOnly) };
        assert!(site.refusal(remote).message.contains("only for evacuating secondary"));
    }

    #[test]
    fn mirrors_are_made_again_where_most_room_is() {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        for name in ["db1", "db2", "db3"] {
            site.instance(name, "node2", |_| {});
            site.mirrored_volumes(name, "node1");
        }
        // A mirror of 1 GiB takes 1152 MiB.
        site.room("node2", 99999);
        site.room("node3", 2500);
        site.room("node4", 1200);
        let targets = |plan: &Plan| -> Vec<(String, String)> {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let job = |ops: &Vec<Value>| {
                assert_eq!(ops[0]["OP_ID"], "OP_INSTANCE_REPLACE_DISKS");
                assert_eq!(ops[0]["mode"], "replace_new_secondary");
                (text(&ops[0]["instance_name"]), text(&ops[0]["remote_node"]))
            };
            plan.pivot.jobs.iter().map(job).collect()
        };
        let expected = [("db1", "node3"), ("db2", "node3"), ("db3", "node4")]
            .map(|(a, b)| (a.into(), b.into()));
        let plan = site.plan(evacuate(EvacMode::SecondaryOnly)).expect("a plan");
        assert_eq!(targets(&plan), expected);
        let named = |node: &str| NodeEvacuate {
            remote_node: Some(node.into()),
            early_release: true,
            ..evacuate(EvacMode::SecondaryOnly)
        };
        let plan = site.plan(named("node4")).expect("a plan");
        assert!(targets(&plan).iter().all(|(_, to)| to == "node4"), "the job looks for room");
        assert_eq!(plan.pivot.jobs[0][0]["early_release"], true);
        let error = site.refusal(named("node2")).message;
        assert!(error.contains("db1 (node2 is its primary node)"), "{error}");
        assert!(site.refusal(named("node1")).message.contains("its own replacement"));
        site.node("node3", |node| node.drained = true);
        let error = site.refusal(evacuate(EvacMode::SecondaryOnly)).message;
        assert!(
            error.contains("db2 (no other node of its group has room for its mirrors"),
            "{error}"
        );
    }
}
