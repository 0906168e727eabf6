//! `OP_REPAIR_NODE_STORAGE`: a volume group that lost a physical volume goes on without it.
//!
//! ```text
//!   other sides of mirrors in use are good? │ nothing │ the node repairs it: no way back
//! ```
//!
//! What was on the lost physical volume goes. So the instances at work that have mirrors on the
//! node must have good data on their other side.

use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::disks::health;
use crate::ops::{Context, Operate, locking};
use roost_proto::choices::{AdminState, StorageType};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Answer, BlockState, BlockStatus, Question};
use roost_proto::objects::Instance;
use roost_proto::opcodes::RepairNodeStorage;

impl Operate for RepairNodeStorage {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        locking::add_nodes(&mut locks, config, &[node(self).to_owned()], Mode::Exclusive)?;
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        check(self)?;
        let here = super::storage_node(config, node(self))?;
        let mut questions = Vec::new();
        for (instance, other) in other_sides(config, here) {
            let away = config.node_by_id(other)?.offline;
            let question = health::question(config, instance, other)?.filter(|_| !away);
            questions.extend(question.map(|question| (other, question)));
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let unit = check(self)?;
        let config = cx.config();
        let here = super::storage_node(config, node(self))?;
        for (instance, other) in other_sides(config, here) {
            let Some(problem) = problem(cx, instance, other)? else { continue };
            if !self.ignore_consistency {
                return Err(Error::wrong_state(format!(
                    "{problem}; what is on node {} may be its only good data. Repair the mirror \
                     first, or give the data up with --ignore-consistency",
                    config.node_name(here)
                )));
            }
            cx.warn(problem);
        }
        let name = config.node_name(here);
        cx.say(format!("Repairing storage unit '{unit}' on {name} ..."));
        let mut plan = cx.start_plan();
        let action = Action::StorageRepair {
            storage_type: self.storage_type.to_string(),
            name: unit.to_owned(),
        };
        let step = format!("repairing storage unit '{unit}' on node {name}");
        plan.after.push(Step::new(step, Task::on(here, action)));
        Ok(plan)
    }
}

fn node(op: &RepairNodeStorage) -> &str {
    op.node_uuid.as_deref().unwrap_or(&op.node_name)
}

/// The unit to repair.
fn check(op: &RepairNodeStorage) -> Result<&str> {
    if op.storage_type == StorageType::LvmVg {
        return super::named_unit(op.name.as_deref());
    }
    Err(Error::wrong_input(format!(
        "Storage units of type '{}' can not be repaired; only those of type '{}' can",
        op.storage_type,
        StorageType::LvmVg
    )))
}

/// Instances that should run and have mirrors on a node, each with the nodes of the other sides.
fn other_sides(config: &Config, here: NodeId) -> Vec<(&Instance, NodeId)> {
    let up = config.instances.values().filter(|i| i.admin_state == AdminState::Up);
    let mut all = Vec::new();
    for instance in up {
        let mut nodes: Vec<NodeId> = config.secondaries(instance);
        nodes.push(instance.primary_node);
        if nodes.len() > 1 && nodes.contains(&here) {
            all.extend(nodes.into_iter().filter(|id| *id != here).map(|id| (&**instance, id)));
        }
    }
    all.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    all
}

/// Why an instance cannot do without its data elsewhere than on `other`.
fn problem(cx: &Context<'_, '_>, instance: &Instance, other: NodeId) -> Result<Option<String>> {
    let config = cx.config();
    let (name, on) = (&instance.name, config.node_name(other));
    if config.node_by_id(other)?.offline {
        return Ok(Some(format!("Node {on} of instance '{name}' is marked offline")));
    }
    let Some(question) = health::question(config, instance, other)? else { return Ok(None) };
    let answered =
        cx.answers().iter().find(|(from, asked, _)| *from == other && *asked == question);
    Ok(match answered {
        Some((_, _, Ok(Answer::Blocks(all)))) if all.iter().all(is_good) => None,
        Some((_, _, Ok(Answer::Blocks(_)))) => {
            Some(format!("Instance '{name}' has faulty disks on node '{on}'"))
        }
        Some((_, _, Err(error))) => {
            Some(format!("How disks of instance '{name}' are on node '{on}' is not known: {error}"))
        }
        _ => return Err(Error::internal("An answer does not fit the question")),
    })
}

fn is_good(status: &BlockStatus) -> bool {
    status.state == BlockState::Active && status.sync.as_ref().is_none_or(|sync| sync.local_good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id, status};
    use roost_proto::node::SyncStatus;

    fn op() -> RepairNodeStorage {
        let op = RepairNodeStorage::new("node2", StorageType::LvmVg);
        RepairNodeStorage { name: Some("xenvg".into()), ..op }
    }

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.instance("web", "node1", |i| i.admin_state = AdminState::Up);
        site.drbd("web", "node2");
        site.instance("idle", "node3", |i| i.admin_state = AdminState::Down);
        site.drbd("idle", "node2");
        site
    }

    fn answered(mut site: Site, answer: Result<Answer>) -> Site {
        let questions = site.questions(op());
        assert_eq!(questions.len(), 1, "only instances that should run count");
        let (node, question) = questions[0].clone();
        assert_eq!(node, "node1");
        site.answer("node1", question, answer);
        site
    }

    fn mirror(local_good: bool) -> Result<Answer> {
        let sync = SyncStatus { local_good, ..SyncStatus::default() };
        Ok(Answer::Blocks(vec![BlockStatus { sync: Some(sync), ..status(BlockState::Active) }]))
    }

    #[test]
    fn a_volume_group_is_repaired() {
        let plan = answered(site(), mirror(true)).plan(op()).expect("a plan");
        let (storage_type, name) = ("lvm-vg".into(), "xenvg".into());
        let task = Task::on(node_id("node2"), Action::StorageRepair { storage_type, name });
        assert_eq!(plan.after[0].task, task);
        assert_eq!(plan.say, ["Repairing storage unit 'xenvg' on node2 ..."]);
    }

    #[test]
    fn the_only_good_data_is_kept() {
        for answer in [mirror(false), Err(Error::exec("gone"))] {
            let site = answered(site(), answer);
            let error = site.refusal(op());
            assert!(error.message.contains("'web'"), "{error}");
            assert!(error.message.contains("--ignore-consistency"), "{error}");
            let forced = RepairNodeStorage { ignore_consistency: true, ..op() };
            let plan = site.plan(forced).expect("by force");
            assert!(plan.say[0].starts_with(" - WARNING: "), "{:?}", plan.say);
        }
        let mut site = site();
        site.node("node1", |n| n.offline = true);
        assert!(site.refusal(op()).message.contains("is marked offline"));
    }

    #[test]
    fn refusals() {
        let mut site = answered(site(), mirror(true));
        let pv = RepairNodeStorage { storage_type: StorageType::LvmPv, ..op() };
        let error = site.refusal(pv).message;
        assert!(error.starts_with("Storage units of type 'lvm-pv' can not be repaired"), "{error}");
        let nameless = RepairNodeStorage { name: None, ..op() };
        assert!(site.refusal(nameless).message.contains("Which storage unit"));
        site.node("node2", |n| n.offline = true);
        assert!(site.refusal(op()).message.contains("marked offline"));
    }
}
