//! `OP_NODE_EVACUATE`: one job for each instance that is to leave a node.
//!
//! ```text
//!   primary-only     shared storage: to another node of the group; mirrored: to their other side
//!   secondary-only   mirrors are made again on other nodes of the group, or on the one that is named
//!   all              both, also for mirrors that are there only because their instance has left
//! ```
//!
//! An allocator finds the nodes, for all together. Instances migrate; they fail over if the node is offline.

use super::moves;
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::instance::check;
use crate::ops::placement::{Allocator, Asking, How, Moves, Request};
use crate::ops::{Context, Operate, locking};
use roost_proto::choices::EvacMode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::objects::{Instance, Node};
use roost_proto::opcodes::NodeEvacuate;
use serde_json::json;
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

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        let config = cx.config();
        let node = source(self, config)?;
        check_request(self, config, node)?;
        let leaving = Leaving::of(self, config, node);
        if leaving.is_empty() || remote(self, config)?.is_some() {
            return Ok(vec![]);
        }
        Ok(leaving.asking(self, config)?.further(cx))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let node = source(self, config)?;
        check_request(self, config, node)?;
        let leaving = Leaving::of(self, config, node);
        let mut names: Vec<_> = leaving.all().map(|i| i.name.to_string()).collect();
        nicesort::sort(&mut names);
        names.dedup();
        if names.is_empty() {
            cx.say(format!("No instances to evacuate from node '{}'", node.name));
            let mut plan = cx.start_plan();
            plan.result = json!({"jobs": [], "failed": []});
            return Ok(plan);
        }
        cx.say(format!("Evacuating instances from node '{}': {}", node.name, names.join(", ")));
        // They keep to the policy of their group as much as they did.
        let how = How {
            allow_runtime_changes: true,
            ignore_ipolicy: true,
            early_release: self.early_release,
            ..How::default()
        };
        let moves = match remote(self, config)? {
            Some(remote) => leaving.to(config, remote, &how),
            None => leaving.moves(self, cx, &how)?,
        };
        moves.say(cx, self.ignore_soft_errors == Some(true)).map_err(|error| Error {
            message: format!("{}; use --ignore-soft-errors to evacuate the others", error.message),
            ..error
        })?;
        let mut plan = cx.start_plan();
        plan.pivot.jobs = moves.to_json();
        plan.result = json!({"jobs": [], "failed": moves.failed});
        Ok(plan)
    }
}

/// What leaves.
struct Leaving {
    primaries: Vec<Arc<Instance>>,
    secondaries: Vec<Arc<Instance>>,
}

impl Leaving {
    fn of(op: &NodeEvacuate, config: &Config, node: &Node) -> Leaving {
        let owned = |all: Vec<&Arc<Instance>>| all.into_iter().cloned().collect();
        Leaving {
            primaries: match op.mode {
                EvacMode::SecondaryOnly => vec![],
                EvacMode::PrimaryOnly | EvacMode::All => owned(moves::primaries(config, node)),
            },
            secondaries: match op.mode {
                EvacMode::PrimaryOnly => vec![],
                EvacMode::SecondaryOnly | EvacMode::All => owned(moves::secondaries(config, node)),
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.primaries.is_empty() && self.secondaries.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.primaries.iter().chain(&self.secondaries)
    }

    /// What an allocator is asked.
    fn asking(&self, op: &NodeEvacuate, config: &Config) -> Result<Asking> {
        let request = Request::Evacuate(self.all().cloned().collect(), op.mode);
        let asking = Asking::new(config, op.iallocator.as_deref(), request)?;
        Ok(Asking {
            purpose: "Can't compute node evacuation".into(),
            ignore_soft_errors: op.ignore_soft_errors == Some(true),
            ignore_ipolicy: true,
            ..asking
        })
    }

    fn moves(&self, op: &NodeEvacuate, cx: &Context<'_, '_>, how: &How) -> Result<Moves> {
        let asking = self.asking(op, cx.config())?;
        match asking.allocator {
            // Off this node; the protocol's word for it would be off both nodes of each.
            Allocator::Hail => asking.leave(cx, (&self.primaries, &self.secondaries), how),
            Allocator::Script(_) => asking.moves(cx, how),
        }
    }

    /// All mirrors to one node.
    fn to(&self, config: &Config, remote: NodeId, how: &How) -> Moves {
        let mut moves = Moves::default();
        let name = config.node_name(remote);
        for instance in &self.secondaries {
            match remote == instance.primary_node {
                true => {
                    let why = format!("{name} is its primary node");
                    moves.failed.push((instance.name.to_string(), why));
                }
                false => moves.mirror_to(config, instance, remote, how),
            }
        }
        moves
    }
}

fn source<'a>(op: &NodeEvacuate, config: &'a Config) -> Result<&'a Arc<Node>> {
    config.node(op.node_uuid.as_ref().unwrap_or(&op.node_name))
}

fn check_request(op: &NodeEvacuate, config: &Config, node: &Node) -> Result<()> {
    let remote = op.remote_node_uuid.as_ref().or(op.remote_node.as_ref());
    Allocator::of(config, op.iallocator.as_deref())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::DiskTemplate;
    use serde_json::Value;

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
        assert_eq!(plan.say[0], "Evacuating instances from node 'node1': web2, web10");
        assert!(plan.say[1].starts_with(" - INFO: Instances to be moved: web2 (to node"));
        let mut targets: Vec<_> = plan
            .pivot
            .jobs
            .iter()
            .map(|ops| format!("{} {}", ops[0]["OP_ID"], ops[0]["target_node"]))
            .collect();
        targets.sort();
        let migrate = |node: &str| format!("\"OP_INSTANCE_MIGRATE\" \"{node}\"");
        assert_eq!(targets, [migrate("node2"), migrate("node3")], "there is room for one on each");
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
                "Unable to evacuate instances file (Instances of type file cannot be relocated); \
                 use --ignore-soft-errors to evacuate the others"
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
    fn mirrors_are_made_again_where_room_is() {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        site.cluster(|cluster| {
            cluster.volume_group_name = Some("xenvg".into());
            cluster.enabled_disk_templates = vec![DiskTemplate::Drbd];
        });
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
        let plan = site.plan(evacuate(EvacMode::SecondaryOnly)).expect("a plan");
        let mut found: Vec<_> = targets(&plan).into_iter().map(|(_, to)| to).collect();
        found.sort();
        assert_eq!(found, ["node3", "node3", "node4"]);
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
        assert!(error.contains("db2 (Can't find any good node"), "{error}");
        assert!(error.contains("node4 failed: FailDisk"), "{error}");
    }

    #[test]
    fn all_leaves_nothing_behind() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.cluster(|cluster| {
            cluster.volume_group_name = Some("xenvg".into());
            cluster.enabled_disk_templates = vec![DiskTemplate::Drbd];
        });
        for (name, primary, secondary) in [("here", "node1", "node2"), ("there", "node2", "node1")]
        {
            site.instance(name, primary, |_| {});
            site.mirrored_volumes(name, secondary);
        }
        for node in ["node1", "node2", "node3"] {
            site.room(node, 9000);
        }
        let plan = site.plan(evacuate(EvacMode::All)).expect("a plan");
        let told: Vec<Vec<_>> = plan
            .pivot
            .jobs
            .iter()
            .map(|job| {
                let one = |op: &Value| format!("{} {}", op["OP_ID"], op["remote_node"]);
                job.iter().map(one).collect()
            })
            .collect();
        let migrate = "\"OP_INSTANCE_MIGRATE\" null".to_owned();
        let replace = "\"OP_INSTANCE_REPLACE_DISKS\" \"node3\"".to_owned();
        assert_eq!(told, [vec![migrate, replace.clone()], vec![replace]]);
        // Without a third node mirrors stay, and so does what would only be half gone.
        site.node("node3", |node| node.drained = true);
        let error = site.refusal(evacuate(EvacMode::All)).message;
        assert!(error.contains("here (") && error.contains("there ("), "{error}");
    }
}
