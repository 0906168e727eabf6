//! `OP_CLUSTER_REDIST_CONF`: writes what nodes know of the cluster again.
//!
//! Nodes are told of every change by themselves; this is for files that were damaged. The cluster is
//! locked alone so that nothing older than the newest configuration is written.

use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::{Context, Operate, locking, node};
use roost_proto::error::Result;
use roost_proto::node::Action;
use roost_proto::opcodes::ClusterRedistConf;

impl Operate for ClusterRedistConf {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut plan = cx.start_plan();
        // A new serial number: whoever follows the configuration takes it anew.
        let cluster = Object::Cluster(Box::new((*config.cluster).clone()));
        plan.pivot.changes.push(Change::Update(cluster));
        for id in node::named(config, &[])? {
            let node = config.node_by_id(id)?;
            if node.offline {
                continue;
            }
            let task = Task::on(id, Action::SsconfWrite { values: config.ssconf() });
            let step = Step::new(format!("writing the files of node {}", node.name), task);
            plan.after.push(step.on_failure(OnFailure::Warn));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    #[test]
    fn every_online_node_is_written_to() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node2", |n| n.offline = true);
        let plan = site.plan(ClusterRedistConf::new()).expect("a plan");
        let nodes: Vec<_> = plan.after.iter().flat_map(|s| s.task.nodes()).copied().collect();
        assert_eq!(nodes, [node_id("node1"), node_id("node3")]);
        let values = Action::SsconfWrite { values: site.config.ssconf() };
        assert_eq!(plan.after[0].task.action(), Some(&values));
        assert_eq!(plan.pivot.changes.len(), 1);
    }
}
