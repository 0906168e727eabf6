//! `OP_NODE_MIGRATE`: one job for each instance that runs on a node.

use super::moves;
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::placement::allocator::HAIL;
use crate::ops::placement::{Allocator, Asking, How, Moves, Request, move_op};
use crate::ops::{Context, Operate, locking};
use roost_proto::capabilities::Mirroring;
use roost_proto::choices::{DiskTemplate, EvacMode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::objects::{Instance, Node};
use roost_proto::opcodes::{NodeMigrate, OpCode};
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
        Allocator::of(config, self.iallocator.as_deref())?;
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
            early_release: false,
        };
        let mut jobs = Vec::new();
        for (instance, to) in self.targets(cx, node, target)? {
            let mut op = move_op(&instance, to, node.offline, &how);
            if let OpCode::InstanceMigrate(op) = &mut op.op
                && op.target_node.is_none()
                && config.disk_template(&instance).is_some_and(|t| !is_bound(t))
            {
                op.iallocator.clone_from(&self.iallocator);
            }
            jobs.push(vec![op.to_json()]);
        }
        let mut plan = cx.start_plan();
        plan.pivot.jobs = jobs;
        plan.result = json!({"jobs": []});
        Ok(plan)
    }
}

trait Targets {
    fn targets(
        &self,
        cx: &mut Context<'_, '_>,
        node: &Node,
        target: Option<&Arc<Node>>,
    ) -> Result<Vec<(Arc<Instance>, Option<String>)>>;
}

/// Its other side is where it goes.
fn is_bound(template: DiskTemplate) -> bool {
    template.mirroring() == Mirroring::Internal
}

impl Targets for NodeMigrate {
    /// Where each goes. A script is asked by each job for itself; our own allocator for all together, so that
    /// not all are sent to the node that is best now. Of one that has no way the job says why: the others shall
    /// go all the same.
    fn targets(
        &self,
        cx: &mut Context<'_, '_>,
        node: &Node,
        target: Option<&Arc<Node>>,
    ) -> Result<Vec<(Arc<Instance>, Option<String>)>> {
        let config = cx.config();
        let instances: Vec<Arc<Instance>> =
            moves::primaries(config, node).into_iter().cloned().collect();
        let free = |instance: &Arc<Instance>| {
            config.disk_template(instance).is_none_or(|template| !is_bound(template))
        };
        let bound: Vec<Arc<Instance>> = instances.iter().filter(|i| free(i)).cloned().collect();
        let mut found = Moves::default();
        let own = Allocator::of(config, self.iallocator.as_deref())? == Allocator::Hail;
        if own && target.is_none() && !bound.is_empty() {
            let request = Request::Evacuate(bound, EvacMode::PrimaryOnly);
            let asking = Asking::new(config, Some(HAIL), request)?;
            found = asking.moves(cx, &How::default())?;
            for (name, why) in &found.failed {
                let why = why.trim_end_matches(';');
                cx.warn(format!("Instance {name} can't be placed: {why}"));
            }
        }
        let to = |instance: &Arc<Instance>| match target {
            Some(target) if free(instance) => Some(target.name.to_string()),
            _ => {
                let mut moved = found.moved.iter();
                let moved = moved.find(|(name, ..)| *name == instance.name.as_str());
                moved.and_then(|(_, _, nodes)| nodes.first().cloned())
            }
        };
        Ok(instances.iter().map(|instance| (Arc::clone(instance), to(instance))).collect())
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
                ("OP_INSTANCE_MIGRATE", "a", &json!("node2")),
                ("OP_INSTANCE_MIGRATE", "b", &json!("node3")),
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
                " - WARNING: Instance b can't be placed: Can't find any good node:  Node node2 \
                 failed: FailMem",
                " - WARNING: Instance file can't be placed: Instances of type file cannot be \
                 relocated",
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
