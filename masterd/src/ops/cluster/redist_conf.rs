//! `OP_CLUSTER_REDIST_CONF`: writes what nodes know of the cluster again.
//!
//! ```text
//!   │ a new serial; candidates, if too few or too many │ ssconf of every online node
//! ```
//!
//! Nodes are told of every change by themselves; this is for files that were damaged. The cluster is
//! locked alone so that nothing older than the newest configuration is written.

use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::node::pool;
use crate::ops::{Context, Operate, locking, node};
use roost_proto::error::{Error, Result};
use roost_proto::node::Action;
use roost_proto::opcodes::ClusterRedistConf;

impl Operate for ClusterRedistConf {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut cluster = (*config.cluster).clone();
        let size = cluster.candidate_pool_size as usize;
        let candidates = pool::balance(cx, &mut cluster, size);
        let mut plan = cx.start_plan();
        plan.pivot.changes = candidates;
        // A new serial number: whoever follows the configuration takes it anew.
        plan.pivot.changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
        plan.after = write(config, &plan.pivot.changes)?;
        Ok(plan)
    }
}

/// Steps after the pivot that write the files of every online node as they will be with `changes`.
/// Under the cluster's lock whoever comes next finds them everywhere.
pub fn write(config: &Config, changes: &[Change]) -> Result<Vec<Step>> {
    let (after, _) = config.apply(changes, 0.0).map_err(|rejected| {
        Error::internal(format!("The configuration would refuse the changes: {rejected}"))
    })?;
    let mut steps = Vec::new();
    for id in node::named(config, &[])? {
        let node = config.node_by_id(id)?;
        if node.offline {
            continue;
        }
        let task = Task::on(id, Action::SsconfWrite { values: after.ssconf() });
        let step = Step::new(format!("writing the files of node {}", node.name), task);
        steps.push(step.on_failure(OnFailure::Warn));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    #[test]
    fn every_online_node_is_written_to() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node2", |n| n.offline = true);
        site.cluster(|c| c.candidate_pool_size = 1);
        let plan = site.plan(ClusterRedistConf::new()).expect("a plan");
        let nodes: Vec<_> = plan.after.iter().flat_map(|s| s.task.nodes()).copied().collect();
        assert_eq!(nodes, [node_id("node1"), node_id("node3")]);
        let values = Action::SsconfWrite { values: site.config.ssconf() };
        assert_eq!(plan.after[0].task.action(), Some(&values));
        assert_eq!(plan.pivot.changes.len(), 1);
    }

    #[test]
    fn a_pool_that_is_short_is_filled() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        for name in ["node2", "node3"] {
            site.joined(name, "192.0.2.9");
        }
        site.cluster(|c| c.candidate_pool_size = 2);
        let plan = site.run(ClusterRedistConf::new());
        assert_eq!(plan.say, [" - INFO: Promoted nodes to master candidate role: node2"]);
        assert!(site.config.node("node2").expect("it").master_candidate);
        let Some(Action::SsconfWrite { values }) = plan.after[0].task.action() else {
            panic!("{plan:?}")
        };
        assert_eq!(values["master_candidates"], "node1\nnode2\n");
    }

    #[test]
    fn a_pool_that_is_too_large_shrinks() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        for name in ["node2", "node3"] {
            site.joined(name, "192.0.2.9");
            site.node(name, |n| n.master_candidate = true);
        }
        site.cluster(|c| c.candidate_pool_size = 2);
        // It does not answer: the other one is worth more.
        std::sync::Arc::make_mut(site.facts.seen.entry(node_id("node2")).or_default()).up = false;
        let plan = site.run(ClusterRedistConf::new());
        assert_eq!(
            plan.say,
            [
                " - INFO: Note: more nodes are candidates (3) than desired (2)",
                " - INFO: Demoted nodes from master candidate role: node2",
            ]
        );
        assert!(site.config.node("node3").expect("it").master_candidate);
        let Some(Action::SsconfWrite { values }) = plan.after[0].task.action() else {
            panic!("{plan:?}")
        };
        assert_eq!(values["master_candidates"], "node1\nnode3\n");
    }
}
