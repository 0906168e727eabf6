//! `OP_NODE_MODIFY_STORAGE`: whether new volumes may be put on a physical volume.
//!
//! ```text
//!   before: the node changes it, undone by what it was │ nothing │
//! ```

use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::{Context, Operate, locking};
use roost_proto::choices::StorageType;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Answer, Question};
use roost_proto::objects::ParamMap;
use roost_proto::opcodes::NodeModifyStorage;
use serde_json::Value;

/// All that can be changed.
const ALLOCATABLE: &str = "allocatable";

impl Operate for NodeModifyStorage {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        locking::add_nodes(&mut locks, config, &[self.node().to_owned()], Mode::Exclusive)?;
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        self.wanted()?;
        let node = super::storage_node(config, self.node())?;
        let (storage_type, names) = (self.storage_type.to_string(), vec![self.unit()?.to_owned()]);
        Ok(vec![(node, Question::Storage { storage_type, names })])
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let (wanted, unit) = (self.wanted()?, self.unit()?);
        let node = super::storage_node(cx.config(), self.node())?;
        let name = cx.config().node_name(node);
        let question = |q: &Question| matches!(q, Question::Storage { .. });
        let answered = cx.answers().iter().find(|(from, q, _)| *from == node && question(q));
        let units = match answered {
            Some((_, _, Ok(Answer::Storage(units)))) => units,
            Some((_, _, Err(error))) => return Err(error.clone()),
            _ => return Err(Error::internal("An answer does not fit the question")),
        };
        let now = units.iter().find(|found| found.name == unit).ok_or_else(|| {
            Error::wrong_input(format!("Node {name} has no storage unit '{unit}' of that type"))
        })?;
        if now.allocatable == wanted {
            cx.info(format!("Storage unit '{unit}' on {name} is so already"));
            return Ok(cx.start_plan());
        }
        let change = |to: bool| {
            Task::on(
                node,
                Action::StorageModify {
                    storage_type: self.storage_type.to_string(),
                    name: unit.to_owned(),
                    changes: ParamMap::from([(ALLOCATABLE.to_owned(), to.into())]),
                },
            )
        };
        let mut plan = cx.start_plan();
        let step =
            Step::new(format!("changing storage unit '{unit}' on node {name}"), change(wanted));
        plan.before.push(step.undone_by(change(!wanted)));
        Ok(plan)
    }
}

trait Modify {
    fn node(&self) -> &str;
    fn unit(&self) -> Result<&str>;
    /// Whether volumes may be put on it from now on.
    fn wanted(&self) -> Result<bool>;
}

impl Modify for NodeModifyStorage {
    fn node(&self) -> &str {
        self.node_uuid.as_deref().unwrap_or(&self.node_name)
    }

    fn unit(&self) -> Result<&str> {
        super::named_unit(self.name.as_deref())
    }

    fn wanted(&self) -> Result<bool> {
        if self.storage_type != StorageType::LvmPv {
            return Err(Error::wrong_input(format!(
                "Storage units of type '{}' can not be modified; only those of type '{}' can",
                self.storage_type,
                StorageType::LvmPv
            )));
        }
        let others: Vec<_> =
            self.changes.keys().filter(|key| *key != ALLOCATABLE).map(String::as_str).collect();
        if !others.is_empty() {
            return Err(Error::wrong_input(format!(
                "The following fields can not be modified for storage units of type '{}': {}; only \
                 '{ALLOCATABLE}' can",
                self.storage_type,
                others.join(", ")
            )));
        }
        match self.changes.get(ALLOCATABLE) {
            Some(Value::Bool(wanted)) => Ok(*wanted),
            Some(other) => {
                Err(Error::wrong_input(format!("'{ALLOCATABLE}' is true or false, not {other}")))
            }
            None => Err(Error::wrong_input("There is nothing to change: say 'allocatable'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::node::StorageUnit;
    use serde_json::json;

    fn op(changes: Value) -> NodeModifyStorage {
        let changes: ParamMap = serde_json::from_value(changes).expect("a map");
        let op = NodeModifyStorage::new("node2", StorageType::LvmPv, changes);
        NodeModifyStorage { name: Some("/dev/sdb".into()), ..op }
    }

    fn site(answer: Result<Answer>) -> Site {
        let mut site = Site::new(&["node1", "node2"]);
        let (node, question) =
            site.questions(op(json!({"allocatable": false}))).pop().expect("one");
        assert_eq!(node, "node2");
        site.answer("node2", question, answer);
        site
    }

    fn unit(allocatable: bool) -> Result<Answer> {
        let (size, used, free) = (100, 30, 70);
        Ok(Answer::Storage(vec![StorageUnit {
            name: "/dev/sdb".into(),
            size,
            used,
            free,
            allocatable,
        }]))
    }

    #[test]
    fn a_physical_volume_is_taken_out_and_back() {
        let plan = site(unit(true)).plan(op(json!({"allocatable": false}))).expect("a plan");
        let change = |to: bool| {
            let changes = ParamMap::from([("allocatable".to_owned(), to.into())]);
            let (storage_type, name) = ("lvm-pv".into(), "/dev/sdb".into());
            Task::on(node_id("node2"), Action::StorageModify { storage_type, name, changes })
        };
        assert_eq!(plan.before[0].task, change(false));
        assert_eq!(plan.before[0].undo, Some(change(true)));
        assert_eq!(plan.result, Value::Null);
        let plan = site(unit(true)).plan(op(json!({"allocatable": true}))).expect("a plan");
        assert!(plan.before.is_empty() && plan.say[0].contains("is so already"));
    }

    #[test]
    fn refusals() {
        let mut site = site(Err(Error::environment("There is no physical volume '/dev/sdb'")));
        let said = |site: &Site, op| site.refusal(op).message;
        let error = said(&site, op(json!({"allocatable": true})));
        assert_eq!(error, "There is no physical volume '/dev/sdb'");
        assert!(said(&site, op(json!({}))).contains("nothing to change"));
        assert!(said(&site, op(json!({"allocatable": "x"}))).contains("true or false"));
        let error = said(&site, op(json!({"size": 1})));
        assert!(error.contains("can not be modified for storage units of type 'lvm-pv': size"));
        let group = NodeModifyStorage { storage_type: StorageType::LvmVg, ..op(json!({})) };
        assert!(said(&site, group).starts_with("Storage units of type 'lvm-vg' can not be"));
        let nameless = NodeModifyStorage { name: None, ..op(json!({"allocatable": true})) };
        assert!(said(&site, nameless).contains("Which storage unit"));
        site.node("node2", |n| n.offline = true);
        assert!(said(&site, op(json!({"allocatable": true}))).contains("marked offline"));
    }
}
