//! `OP_GROUP_EVACUATE`: the jobs that bring all instances of a node group to others.

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::instance::change_group::{self, groups_of};
use crate::ops::placement::{Asking, How, Moves, Request};
use crate::ops::{Context, Operate};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::job::JobStatus;
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::objects::Instance;
use roost_proto::opcodes::{GroupEvacuate, InstanceFailover, OpCode};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Operate for GroupEvacuate {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let (group, targets) = groups(self, config)?;
        let mut locks = LockSet::new();
        for instance in instances(config, group) {
            locks.add(LockName::new(Level::Instance, &instance.name), Mode::Shared);
        }
        change_group::add_locks(&mut locks, config, &targets, &BTreeSet::from([group]));
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let (group, targets) = groups(self, config)?;
        Ok(change_group::questions(config, &targets, &BTreeSet::from([group])))
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        Ok(asking(self, cx.config())?.map_or_else(Vec::new, |asking| asking.further(cx)))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let how = How {
            allow_runtime_changes: true,
            early_release: self.early_release,
            ..How::default()
        };
        let mut moves = match asking(self, cx.config())? {
            Some(asking) => asking.moves(cx, &how)?,
            None => Moves::default(),
        };
        moves.say(cx, false)?;
        cx.info(format!(
            "Iallocator returned {} job(s) for evacuating node group {}",
            moves.jobs.len(),
            self.group_name
        ));
        if self.force_failover {
            cx.info("Will insist on failovers");
            insist(&mut moves);
        }
        if self.sequential {
            cx.info("Jobs will be submitted to run sequentially");
            for job in moves.jobs.iter_mut().skip(1) {
                if let Some(first) = job.first_mut() {
                    let ended = vec![JobStatus::Error, JobStatus::Success];
                    first.common.depends.push((-1, ended));
                }
            }
        }
        let mut plan = cx.start_plan();
        plan.pivot.jobs = moves.to_json();
        plan.result = json!({"jobs": []});
        Ok(plan)
    }
}

/// The group, and where its instances may go.
fn groups(op: &GroupEvacuate, config: &Config) -> Result<(GroupId, Vec<GroupId>)> {
    let group = config.group(&op.group_name)?.uuid;
    let current = BTreeSet::from([group]);
    let targets = change_group::targets(config, op.target_groups.as_deref(), &current, || {
        "are to be evacuated".to_owned()
    })?;
    Ok((group, targets))
}

/// The instances that have something in a group, by name.
fn instances(config: &Config, group: GroupId) -> Vec<Arc<Instance>> {
    let here = config.instances.values().filter(|i| groups_of(config, i).contains(&group));
    let mut all: Vec<Arc<Instance>> = here.cloned().collect();
    nicesort::sort_by_key(&mut all, |instance| instance.name.to_string());
    all
}

fn asking(op: &GroupEvacuate, config: &Config) -> Result<Option<Asking>> {
    let (group, targets) = groups(op, config)?;
    let all = instances(config, group);
    if all.is_empty() {
        return Ok(None);
    }
    let spread = |i: &&Arc<Instance>| groups_of(config, i).iter().any(|id| targets.contains(id));
    if let Some(instance) = all.iter().find(spread) {
        return Err(Error::wrong_state(format!(
            "Instance {} is split over several groups, also one it could go to; bring its nodes \
             together first, with 'gnt-instance replace-disks'",
            instance.name
        )));
    }
    let request = Request::ChangeGroup(all, targets);
    let asking = Asking::new(config, op.iallocator.as_deref(), request)?;
    Ok(Some(Asking { purpose: "Can't compute group evacuation".into(), ..asking }))
}

/// Stop and start instead of migrating.
fn insist(moves: &mut Moves) {
    for op in moves.jobs.iter_mut().flatten() {
        if let OpCode::InstanceMigrate(migrate) = &op.op {
            op.op = OpCode::from(InstanceFailover {
                target_node: migrate.target_node.clone(),
                ignore_ipolicy: migrate.ignore_ipolicy,
                iallocator: migrate.iallocator.clone(),
                ..InstanceFailover::new(migrate.instance_name.as_str())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, group_of_nodes};
    use roost_proto::choices::DiskTemplate;

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        group_of_nodes(&mut site, "rack2", &["node3", "node4"]);
        for (name, node) in [("web1", "node1"), ("web2", "node2")] {
            site.instance(name, node, |_| {});
            site.disk(name, DiskTemplate::SharedFile, &format!("/srv/shared/{name}/0"));
        }
        for node in ["node1", "node2", "node3", "node4"] {
            site.free_memory(node, 8192);
        }
        site
    }

    #[test]
    fn all_go_and_are_spread() {
        let plan = site().plan(GroupEvacuate::new("default")).expect("a plan");
        let mut targets: Vec<_> =
            plan.pivot.jobs.iter().map(|ops| ops[0]["target_node"].to_string()).collect();
        targets.sort();
        assert_eq!(targets, ["\"node3\"", "\"node4\""]);
        assert_eq!(
            plan.say.last().map(String::as_str),
            Some(" - INFO: Iallocator returned 2 job(s) for evacuating node group default")
        );
    }

    #[test]
    fn one_after_the_other_and_stopped() {
        let op = GroupEvacuate {
            sequential: true,
            force_failover: true,
            ..GroupEvacuate::new("default")
        };
        let plan = site().plan(op).expect("a plan");
        let [one, two] = plan.pivot.jobs.as_slice() else { panic!("two jobs") };
        assert_eq!(one[0]["OP_ID"], "OP_INSTANCE_FAILOVER");
        let first = one[0].get("depends").and_then(serde_json::Value::as_array);
        assert!(first.is_none_or(Vec::is_empty), "{:?}", one[0]);
        assert_eq!(two[0]["depends"], json!([[-1, ["error", "success"]]]));
        assert!(plan.say.contains(&" - INFO: Will insist on failovers".to_owned()));
    }

    #[test]
    fn an_empty_group_and_its_own() {
        let site = site();
        let plan = site.plan(GroupEvacuate::new("rack2")).expect("a plan");
        assert!(plan.pivot.jobs.is_empty());
        let own = GroupEvacuate {
            target_groups: Some(vec!["default".into()]),
            ..GroupEvacuate::new("default")
        };
        assert_eq!(
            site.refusal(own).message,
            "Can't use group(s) default as targets, they are to be evacuated"
        );
    }
}
