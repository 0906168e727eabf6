//! `OP_INSTANCE_CHANGE_GROUP`: the jobs that bring an instance to another node group.
//!
//! An allocator chooses group and nodes. Instances whose storage all groups see migrate there; mirrored ones are
//! mirrored there first. The jobs are this job's children, so that each is undone for itself.

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::placement::{self, Asking, How, Request};
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::node::Question;
use roost_proto::objects::Instance;
use roost_proto::opcodes::InstanceChangeGroup;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Operate for InstanceChangeGroup {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let instance = config.instance(&self.instance_name)?;
        let mut locks =
            LockSet::new().with(LockName::new(Level::Instance, &instance.name), Mode::Shared);
        add_locks(
            &mut locks,
            config,
            &asked(self, config, instance)?,
            &groups_of(config, instance),
        );
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        Ok(questions(config, &asked(self, config, instance)?, &groups_of(config, instance)))
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        Ok(asking(self, cx.config())?.further(cx))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let instance = cx.config().instance(&self.instance_name)?;
        let how = How {
            allow_runtime_changes: true,
            early_release: self.early_release,
            ..How::default()
        };
        let moves = asking(self, cx.config())?.moves(cx, &how)?;
        moves.say(cx, false)?;
        cx.info(format!(
            "Iallocator returned {} job(s) for changing group of instance '{}'",
            moves.jobs.len(),
            instance.name
        ));
        let mut plan = cx.start_plan();
        plan.pivot.jobs = moves.to_json();
        plan.result = json!({"jobs": []});
        Ok(plan)
    }
}

fn asked(op: &InstanceChangeGroup, config: &Config, instance: &Instance) -> Result<Vec<GroupId>> {
    let current = groups_of(config, instance);
    targets(config, op.target_groups.as_deref(), &current, || {
        format!("are used by instance '{}'", instance.name)
    })
}

fn asking(op: &InstanceChangeGroup, config: &Config) -> Result<Asking> {
    let instance = config.instance(&op.instance_name)?;
    let targets = asked(op, config, instance)?;
    let request = Request::ChangeGroup(vec![Arc::clone(instance)], targets);
    let asking = Asking::new(config, op.iallocator.as_deref(), request)?;
    let purpose =
        format!("Can't compute solution for changing group of instance '{}'", instance.name);
    Ok(Asking { purpose, ..asking })
}

/// The groups an instance is in.
pub fn groups_of(config: &Config, instance: &Instance) -> BTreeSet<GroupId> {
    let mut nodes = config.secondaries(instance);
    nodes.push(instance.primary_node);
    nodes.iter().filter_map(|id| config.nodes.get(id)).map(|node| node.group).collect()
}

/// The groups that are named, or all but these; none of which may be among those named. `used` says why.
pub fn targets(
    config: &Config,
    named: Option<&[String]>,
    current: &BTreeSet<GroupId>,
    used: impl Fn() -> String,
) -> Result<Vec<GroupId>> {
    let Some(named) = named.filter(|named| !named.is_empty()) else {
        let others: Vec<GroupId> =
            config.groups.keys().copied().filter(|id| !current.contains(id)).collect();
        return match others.is_empty() {
            true => Err(Error::wrong_state(
                "There are no possible target groups: make another one with 'gnt-group add'",
            )),
            false => Ok(others),
        };
    };
    let targets: Vec<GroupId> =
        named.iter().map(|name| config.group(name).map(|g| g.uuid)).collect::<Result<_>>()?;
    let own: Vec<_> =
        targets.iter().filter(|id| current.contains(id)).map(|id| config.group_name(*id)).collect();
    if !own.is_empty() {
        return Err(Error::wrong_input(format!(
            "Can't use group(s) {} as targets, they {}",
            own.join(", "),
            used()
        )));
    }
    Ok(targets)
}

/// Locks groups and their nodes, shared.
pub fn add_locks(
    locks: &mut LockSet,
    config: &Config,
    targets: &[GroupId],
    current: &BTreeSet<GroupId>,
) {
    for group in targets.iter().chain(current) {
        locks.add(locking::group(*group), Mode::Shared);
        for node in config.members(*group) {
            locks.add(locking::node(node.uuid), Mode::Shared);
        }
    }
}

/// What all their nodes that take instances are asked.
pub fn questions(
    config: &Config,
    targets: &[GroupId],
    current: &BTreeSet<GroupId>,
) -> Vec<(NodeId, Question)> {
    let groups = targets.iter().chain(current);
    let nodes = groups.flat_map(|group| placement::candidates(config, Some(*group), &[]));
    nodes.map(|node| (node.uuid, Question::Node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, group_of_nodes};
    use roost_proto::choices::DiskTemplate;

    /// Two racks, `web` on shared storage in the first.
    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        group_of_nodes(&mut site, "rack2", &["node3", "node4"]);
        site.instance("web", "node1", |_| {});
        site.disk("web", DiskTemplate::SharedFile, "/srv/shared/web/0");
        for (node, free) in [("node1", 4096), ("node2", 4096), ("node3", 1000), ("node4", 30_000)] {
            site.free_memory(node, free);
        }
        site
    }

    fn op(targets: &[&str]) -> InstanceChangeGroup {
        let named = targets.iter().map(|name| (*name).to_owned()).collect();
        InstanceChangeGroup { target_groups: Some(named), ..InstanceChangeGroup::new("web") }
    }

    #[test]
    fn it_goes_where_it_fits_best() {
        let site = site();
        for op in [op(&[]), op(&["rack2"]), InstanceChangeGroup::new("web")] {
            let plan = site.plan(op).expect("a plan");
            let [job] = plan.pivot.jobs.as_slice() else { panic!("{:?}", plan.pivot.jobs) };
            assert_eq!(job[0]["OP_ID"], "OP_INSTANCE_MIGRATE");
            assert_eq!(job[0]["target_node"], "node4");
            assert_eq!(
                plan.say,
                [
                    " - INFO: Instances to be moved: web (to node4)",
                    " - INFO: Iallocator returned 1 job(s) for changing group of instance 'web'",
                ]
            );
        }
    }

    #[test]
    fn groups_that_make_no_sense() {
        let mut site = site();
        assert_eq!(
            site.refusal(op(&["rack2", "default"])),
            Error::wrong_input(
                "Can't use group(s) default as targets, they are used by instance 'web'"
            )
        );
        assert!(site.refusal(op(&["rack9"])).message.contains("'rack9' not known"));
        site.instance("file", "node1", |_| {});
        site.disk("file", DiskTemplate::File, "/srv/file/file/0");
        let error = site.refusal(InstanceChangeGroup::new("file")).message;
        assert!(error.contains("file (Instances of type file cannot be relocated"), "{error}");
        let lonely = Site::new(&["node1"]);
        let mut lonely = lonely;
        lonely.instance("web", "node1", |_| {});
        let error = lonely.refusal(InstanceChangeGroup::new("web")).message;
        assert!(error.contains("no possible target groups"), "{error}");
    }
}
