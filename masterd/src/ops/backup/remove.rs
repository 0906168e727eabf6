//! `OP_BACKUP_REMOVE`.
//!
//! ```text
//!   │ │ remove the export on every node that has one of this name
//! ```

use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::instance::check;
use crate::ops::{Context, Operate};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Answer, ExportAction, ExportAnswer, ExportQuestion, Question};
use roost_proto::opcodes::BackupRemove;

const NONE_FOUND: &str = "Export not found. If trying to remove an export belonging to a deleted \
                          instance please use its Fully Qualified Domain Name.";

/// The exports of nodes that answered, and who did not.
pub fn found(cx: &Context<'_, '_>, name: &str) -> (Vec<NodeId>, Vec<NodeId>) {
    let (mut have, mut silent) = (Vec::new(), Vec::new());
    for (node, question, answer) in cx.answers() {
        if *question != Question::Export(ExportQuestion::List) {
            continue;
        }
        match answer {
            Ok(Answer::Export(ExportAnswer::List(names))) => {
                if names.iter().any(|known| known == name) {
                    have.push(*node);
                }
            }
            _ => silent.push(*node),
        }
    }
    (have, silent)
}

/// Every node that is not marked offline is asked what exports it has.
pub fn ask_all(config: &Config) -> Vec<(NodeId, Question)> {
    let ask = |node: NodeId| (node, Question::Export(ExportQuestion::List));
    config.online_nodes().map(|node| ask(node.uuid)).collect()
}

/// The export's name: that of an instance, or what was written if there is none (any more).
fn export_name(op: &BackupRemove, config: &Config) -> String {
    match config.instance(&op.instance_name) {
        Ok(instance) => instance.name.to_string(),
        Err(_) => op.instance_name.clone(),
    }
}

impl Operate for BackupRemove {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        // By name: an export of it must not be made at the same time.
        let name = export_name(self, config);
        let mut locks = LockSet::new().with(LockName::new(Level::Instance, &name), Mode::Exclusive);
        let nodes: Vec<NodeId> = config.online_nodes().map(|node| node.uuid).collect();
        check::lock_nodes(&mut locks, config, &nodes);
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        Ok(ask_all(config))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let name = export_name(self, config);
        let (have, silent) = found(cx, &name);
        for node in silent {
            let node = config.node_name(node);
            cx.warn(format!("Could not look for exports on node {node}: it did not answer"));
        }
        if have.is_empty() {
            cx.warn(NONE_FOUND);
        }
        let mut plan = cx.start_plan();
        for node in have {
            let remove = ExportAction::Remove { name: name.clone(), unfinished: false };
            let what = format!("removing the export on node {}", config.node_name(node));
            plan.after.push(Step::new(what, Task::on(node, Action::Export(remove))));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::error::Error;

    fn has(site: &mut Site, node: &str, names: &[&str]) {
        let list = names.iter().map(|n| (*n).to_owned()).collect();
        let answer = Answer::Export(ExportAnswer::List(list));
        site.answer(node, Question::Export(ExportQuestion::List), Ok(answer));
    }

    #[test]
    fn it_is_removed_where_it_is() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        has(&mut site, "node1", &["db", "web"]);
        has(&mut site, "node2", &[]);
        let question = Question::Export(ExportQuestion::List);
        site.answer("node3", question, Err(Error::environment("silent")));
        let plan = site.plan(BackupRemove::new("web")).expect("a plan");
        assert_eq!(plan.after.len(), 1);
        assert_eq!(plan.after[0].name, "removing the export on node node1");
        assert!(plan.say[0].contains("node3"), "{:?}", plan.say);
        let plan = site.plan(BackupRemove::new("gone")).expect("a plan");
        assert!(plan.after.is_empty() && plan.say[1].contains("Export not found"));
    }
}
