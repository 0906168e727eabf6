//! `OP_NODE_POWERCYCLE`: restarts a node's machine, hard.
//!
//! Takes no locks: it is for nodes on which everything hangs.

use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::{Context, Operate};
use roost_proto::error::{Error, Result};
use roost_proto::node::Action;
use roost_proto::opcodes::NodePowercycle;

impl Operate for NodePowercycle {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::default())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let node = config.node(self.node_uuid.as_ref().unwrap_or(&self.node_name))?;
        if node.uuid == config.master() && !self.force {
            return Err(Error::wrong_input(format!(
                "The node '{}' is the master and the force parameter was not set",
                node.name
            )));
        }
        if node.offline {
            return Err(Error::wrong_state(format!(
                "Node {} is marked offline and is not contacted; power it on, then use 'gnt-node \
                 add --readd'",
                node.name
            )));
        }
        let hypervisor = config
            .cluster
            .default_hypervisor()
            .ok_or_else(|| Error::wrong_state("The cluster has no hypervisor enabled"))?;
        let mut plan = cx.start_plan();
        let task = Task::on(node.uuid, Action::Powercycle { hypervisor });
        plan.before.push(Step::new(format!("restarting the machine of node {}", node.name), task));
        plan.result = format!("Node {} restarts", node.name).into();
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::choices::Hypervisor;

    #[test]
    fn a_node_is_restarted() {
        let mut site = Site::new(&["node1", "node2"]);
        let plan = site.plan(NodePowercycle::new("node2")).expect("a plan");
        let action = Action::Powercycle { hypervisor: Hypervisor::Fake };
        assert_eq!(plan.before[0].task, Task::on(node_id("node2"), action));
        assert_eq!(plan.result, "Node node2 restarts");
        assert_eq!(
            site.refusal(NodePowercycle::new("node1")),
            Error::wrong_input(
                "The node 'node1' is the master and the force parameter was not set"
            )
        );
        site.plan(NodePowercycle { force: true, ..NodePowercycle::new("node1") })
            .expect("by force");
        site.node("node2", |n| n.offline = true);
        assert!(site.refusal(NodePowercycle::new("node2")).message.contains("marked offline"));
    }
}
