//! `OP_NODE_MIGRATE`: one job for each instance that runs on a node.

use super::moves::{self, How, Way};
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking, placement};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::objects::Node;
use roost_proto::opcodes::NodeMigrate;
use serde_json::json;
use std::sync::Arc;

impl Operate for NodeMigrate {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        Ok(LockSet::new().with(locking::node(source(self, config)?.uuid), Mode::Shared))
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        match target(self, config)? {
            Some(_) => Ok(vec![]),
            None => Ok(moves::questions(config, source(self, config)?)),
        }
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let node = source(self, config)?;
        placement::check_allocator(self.iallocator.as_deref())?;
        let target = target(self, config)?;
        if target.is_some() && self.iallocator.is_some() {
            return Err(Error::wrong_input(
                "Give either a target node (-n) or an iallocator (-I), not both",
            ));
        }
        if let Some(target) = target
            && target.uuid == node.uuid
        {
            return Err(Error::wrong_input(format!(
                "Node {} can't be the target of its own migration",
                node.name
            )));
        }
        let how = How {
            mode: self.mode,
            live: self.live,
            allow_runtime_changes: self.allow_runtime_changes,
            ignore_ipolicy: self.ignore_ipolicy,
        };
        let instances = moves::primaries(config, node);
        let mut jobs = Vec::new();
        for (instance, way) in moves::spread(cx, node, &instances) {
            // For one that is stuck the job says why: the others shall go all the same.
            let to = match (target, way) {
                (_, Way::Secondary) => None,
                (Some(target), _) => Some(target.name.to_string()),
                (None, Way::To(id)) => Some(config.node_name(id)),
                (None, Way::Stuck(why)) => {
                    cx.warn(format!("Instance {} can't be placed: {why}", instance.name));
                    None
                }
            };
            jobs.push(vec![moves::job(node, instance, to, &how).to_json()]);
        }
        let mut plan = cx.start_plan();
        plan.pivot.jobs = jobs;
        plan.result = json!({"jobs": []});
        Ok(plan)
    }
}

fn source<'a>(op: &NodeMigrate, config: &'a Config) -> Result<&'a Arc<Node>> {
    config.node(op.node_uuid.as_ref().unwrap_or(&op.node_name))
}

fn target<'a>(op: &NodeMigrate, config: &'a Config) -> Result<Option<&'a Arc<Node>>> {
    let name = op.target_node_uuid.as_ref().or(op.target_node.as_ref());
    name.map(|name| config.node(name)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::{AdminState, DiskTemplate};
    use serde_json::Value;

    fn memory(site: &mut Site, name: &str, mib: u64) {
        site.instance(name, "node1", |i| {
            i.beparams =
                [("maxmem".to_owned(), mib.into()), ("minmem".to_owned(), mib.into())].into();
        });
    }

    fn short(jobs: &[Vec<Value>]) -> Vec<(&str, &str, &Value)> {
        jobs.iter()
            .map(|ops| {
                let op = &ops[0];
                let id = op["OP_ID"].as_str().expect("text");
                (id, op["instance_name"].as_str().expect("text"), &op["target_node"])
            })
            .collect()
    }

    #[test]
    fn instances_are_spread_by_what_is_left() {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        site.node("node4", |n| n.drained = true);
        for (name, mib) in [("a", 400), ("b", 600), ("c", 300)] {
            memory(&mut site, name, mib);
        }
        let op = || NodeMigrate::new("node1");
        let asked: Vec<_> = site.questions(op()).into_iter().map(|(node, _)| node).collect();
        assert_eq!(asked.len(), 2, "{asked:?}");
        site.free_memory("node2", 1000);
        site.free_memory("node3", 700);
        let plan = site.plan(op()).expect("a plan");
        assert_eq!(
            short(&plan.pivot.jobs),
            [
                ("OP_INSTANCE_MIGRATE", "a", &json!("node3")),
                ("OP_INSTANCE_MIGRATE", "b", &json!("node2")),
                ("OP_INSTANCE_MIGRATE", "c", &json!("node2")),
            ]
        );
        assert!(plan.say.is_empty());
    }

    #[test]
    fn nobody_is_promised_what_is_gone() {
        let mut site = Site::new(&["node1", "node2"]);
        for name in ["a", "b"] {
            memory(&mut site, name, 600);
        }
        site.instance("off", "node1", |i| i.admin_state = AdminState::Down);
        site.instance("db", "node1", |_| {});
        site.drbd("db", "node2");
        site.instance("file", "node1", |_| {});
        site.disk("file", DiskTemplate::File, "/srv/file/file/0");
        site.free_memory("node2", 1000);
        let plan = site.plan(NodeMigrate::new("node1")).expect("a plan");
        assert_eq!(
            short(&plan.pivot.jobs),
            [
                ("OP_INSTANCE_MIGRATE", "a", &json!("node2")),
                ("OP_INSTANCE_MIGRATE", "b", &Value::Null),
                ("OP_INSTANCE_MIGRATE", "db", &Value::Null),
                ("OP_INSTANCE_MIGRATE", "file", &Value::Null),
                ("OP_INSTANCE_MIGRATE", "off", &json!("node2")),
            ]
        );
        assert_eq!(plan.pivot.jobs[4][0]["allow_failover"], true);
        assert_eq!(plan.pivot.jobs[0][0]["allow_failover"], false);
        assert_eq!(
            plan.say,
            [
                " - WARNING: Instance b can't be placed: no other node of its group has 600 MiB \
                 of memory left",
                " - WARNING: Instance file can't be placed: its disks (template 'file') are only \
                 on this node; use 'gnt-instance move'",
            ]
        );
    }

    #[test]
    fn a_target_and_a_dead_source() {
        let mut site = Site::new(&["node1", "node2"]);
        memory(&mut site, "a", 600);
        let op = NodeMigrate { target_node: Some("node2".into()), ..NodeMigrate::new("node1") };
        assert!(site.questions(op.clone()).is_empty());
        let plan = site.plan(op.clone()).expect("a plan");
        assert_eq!(short(&plan.pivot.jobs), [("OP_INSTANCE_MIGRATE", "a", &json!("node2"))]);
        let both = NodeMigrate { iallocator: Some("hail".into()), ..op };
        assert!(site.refusal(both).message.contains("not both"));
        site.node("node1", |n| n.offline = true);
        site.free_memory("node2", 1000);
        let plan = site.plan(NodeMigrate::new("node1")).expect("a plan");
        assert_eq!(short(&plan.pivot.jobs), [("OP_INSTANCE_FAILOVER", "a", &json!("node2"))]);
    }

    #[test]
    fn nothing_to_do() {
        let site = Site::new(&["node1", "node2"]);
        let plan = site.plan(NodeMigrate::new("node1")).expect("a plan");
        assert_eq!(plan.result, json!({"jobs": []}));
        assert!(plan.pivot.jobs.is_empty());
        let own = NodeMigrate { target_node: Some("node1".into()), ..NodeMigrate::new("node1") };
        assert_eq!(
            site.refusal(own),
            Error::wrong_input("Node node1 can't be the target of its own migration")
        );
    }
}
