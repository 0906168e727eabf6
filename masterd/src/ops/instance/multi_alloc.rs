//! `OP_INSTANCE_MULTI_ALLOC`: nodes for several new instances at once, and a job for each that has found some.

use super::create_nodes;
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::placement::{self, Asking, NewInstance, Request};
use crate::ops::{Context, Operate, locking};
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::opcodes::{InstanceCreate, InstanceMultiAlloc, OpInput};
use serde_json::json;
use std::collections::BTreeSet;

impl Operate for InstanceMultiAlloc {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        if !are_named(self)? {
            locking::add_all_nodes(&mut locks, config, Mode::Shared);
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        if are_named(self)? {
            return Ok(vec![]);
        }
        let nodes = placement::candidates(config, None, &[]);
        Ok(nodes.map(|node| (node.uuid, Question::Node)).collect())
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        check(self, cx.config())?;
        if are_named(self)? {
            return Ok(vec![]);
        }
        Ok(asking(self, cx)?.further(cx))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        check(self, config)?;
        let name = |op: &InstanceCreate| op.instance_name.to_ascii_lowercase();
        let (mut jobs, mut allocatable, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let found = match are_named(self)? {
            true => None,
            false => Some(asking(self, cx)?.several(cx)?),
        };
        for op in &self.instances {
            let mut op = op.clone();
            if let Some(found) = &found {
                let placed = found.placed.iter().find(|(placed, _)| *placed == name(&op));
                let Some((_, nodes)) = placed else {
                    let why = found.failed.iter().find(|(failed, _)| *failed == name(&op));
                    let why = why.map_or("", |(_, why)| why.as_str());
                    cx.warn(format!("Instance {} can't be allocated: {why}", op.instance_name));
                    failed.push(name(&op));
                    continue;
                };
                let mut names = nodes.iter().map(|id| config.node_name(*id));
                (op.pnode, op.snode) = (names.next(), names.next());
                // It was looked for there.
                op.group_name = None;
            }
            allocatable.push(name(&op));
            jobs.push(vec![OpInput::from(op).to_json()]);
        }
        let mut plan = cx.start_plan();
        plan.pivot.jobs = jobs;
        plan.result = json!({"jobs": [], "allocatable": allocatable, "failed": failed});
        Ok(plan)
    }
}

/// Whether nodes are named. Errors: of some they are, of others not.
fn are_named(op: &InstanceMultiAlloc) -> Result<bool> {
    let named = |create: &&InstanceCreate| create.pnode.is_some() || create.pnode_uuid.is_some();
    let count = op.instances.iter().filter(named).count();
    if count > 0 && count < op.instances.len() {
        let without: Vec<_> = op
            .instances
            .iter()
            .filter(|create| !named(create))
            .map(|create| create.instance_name.as_str())
            .collect();
        return Err(Error::wrong_input(format!(
            "Either all instances name their nodes or none does; these don't: {}",
            without.join(", ")
        )));
    }
    if count > 0 && op.iallocator.is_some() {
        return Err(Error::wrong_input(
            "Give either nodes for all instances or an iallocator, not both",
        ));
    }
    Ok(count > 0)
}

fn check(op: &InstanceMultiAlloc, config: &Config) -> Result<()> {
    if op.instances.is_empty() {
        return Err(Error::wrong_input("There are no instances to create"));
    }
    let mut names = BTreeSet::new();
    for create in &op.instances {
        let name = create.instance_name.to_ascii_lowercase();
        if create.iallocator.is_some() {
            return Err(Error::wrong_input(format!(
                "Instance {name} names an iallocator; it is named once for all of them"
            )));
        }
        if config.index.instance_by_name.contains_key(name.as_str()) {
            return Err(Error::exists(format!("Instance '{name}' is already in the cluster")));
        }
        if !names.insert(name.clone()) {
            return Err(Error::wrong_input(format!("There are duplicate instance names: {name}")));
        }
        let template = template(create, config)?;
        create_nodes::check(create, config, template)?;
    }
    Ok(())
}

fn template(op: &InstanceCreate, config: &Config) -> Result<DiskTemplate> {
    let template = op.disk_template.or(config.cluster.default_disk_template());
    template.ok_or_else(|| Error::wrong_state("The cluster has no disk template enabled"))
}

fn asking(op: &InstanceMultiAlloc, cx: &Context<'_, '_>) -> Result<Asking> {
    let config = cx.config();
    let mut all = Vec::new();
    for create in &op.instances {
        let hypervisor = create.hypervisor.or(config.cluster.default_hypervisor());
        all.push(NewInstance::of(create, config, template(create, config)?, hypervisor)?);
    }
    let ignore_ipolicy = op.instances.iter().all(|create| create.ignore_ipolicy);
    let asking = Asking::new(config, op.iallocator.as_deref(), Request::MultiAllocate(all))?;
    let nodes = placement::candidates(config, None, &[]).map(|node| node.uuid).collect();
    Ok(Asking { ignore_ipolicy, ..asking.among(cx, nodes, |_| Ok(())) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::InstCreateMode;

    fn create(name: &str, memory: u64) -> InstanceCreate {
        InstanceCreate {
            disk_template: Some(DiskTemplate::Diskless),
            beparams: [("memory".to_owned(), memory.into())].into(),
            no_install: Some(true),
            ..InstanceCreate::new(name, InstCreateMode::Create, vec![], vec![])
        }
    }

    fn op(instances: Vec<InstanceCreate>) -> InstanceMultiAlloc {
        InstanceMultiAlloc { instances, ..InstanceMultiAlloc::new() }
    }

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        for node in ["node1", "node2", "node3"] {
            site.free_memory(node, 2000);
        }
        site
    }

    #[test]
    fn each_takes_what_those_before_left() {
        let mut site = site();
        // Nobody else could take them over, and that is all right here.
        site.cluster(|cluster| {
            cluster.default_iallocator_params =
                [("no-capacity-checks".to_owned(), json!(null))].into();
        });
        let all = (0..4).map(|n| create(&format!("new{n}"), 1500)).collect();
        let plan = site.plan(op(all)).expect("a plan");
        let mut nodes: Vec<_> =
            plan.pivot.jobs.iter().map(|job| job[0]["pnode"].to_string()).collect();
        nodes.sort();
        assert_eq!(nodes, ["\"node1\"", "\"node2\"", "\"node3\""]);
        assert_eq!(plan.result["allocatable"], json!(["new0", "new1", "new2"]));
        assert_eq!(plan.result["failed"], json!(["new3"]));
        assert!(plan.say[0].contains("Instance new3 can't be allocated"), "{:?}", plan.say);
        assert!(plan.say[0].contains("FailMem: 3"), "{:?}", plan.say);
    }

    #[test]
    fn nodes_are_named_for_all_or_none() {
        let site = site();
        let at = |name: &str, node: &str| InstanceCreate {
            pnode: Some(node.into()),
            ..create(name, 128)
        };
        let plan = site.plan(op(vec![at("a", "node1"), at("b", "node1")])).expect("a plan");
        assert_eq!(plan.pivot.jobs[1][0]["pnode"], "node1");
        assert!(site.questions(op(vec![at("a", "node1")])).is_empty());
        let error = site.refusal(op(vec![at("a", "node1"), create("b", 128)])).message;
        assert!(error.ends_with("these don't: b"), "{error}");
        let error = site.refusal(op(vec![create("a", 128), create("A", 128)])).message;
        assert_eq!(error, "There are duplicate instance names: a");
        let own = InstanceCreate { iallocator: Some("hail".into()), ..create("a", 128) };
        assert!(site.refusal(op(vec![own])).message.contains("once for all"));
        assert!(site.refusal(op(vec![])).message.contains("no instances"));
    }
}
