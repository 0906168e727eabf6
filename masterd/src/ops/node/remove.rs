//! `OP_NODE_REMOVE`.
//!
//! ```text
//!   │ forget it, fill the candidate pool │ it forgets the cluster
//! ```

use super::pool;
use crate::config::{Change, Config, ObjectKey};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, Result};
use roost_proto::nicesort;
use roost_proto::node::Action;
use roost_proto::opcodes::NodeRemove;

impl Operate for NodeRemove {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        config.node(self.node_uuid.as_ref().unwrap_or(&self.node_name))?;
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let node = config.node(self.node_uuid.as_ref().unwrap_or(&self.node_name))?;
        if node.uuid == config.master() {
            return Err(Error::wrong_input(
                "Node is the master node, failover to another node is required",
            ));
        }
        let mut names: Vec<_> =
            config.instances_on(node.uuid).map(|i| i.name.to_string()).collect();
        names.extend(config.secondary_instances(node.uuid).iter().map(|i| i.name.to_string()));
        nicesort::sort(&mut names);
        if !names.is_empty() {
            return Err(Error::wrong_state(format!(
                "Node {} still has instances ({}), please move or remove them first (gnt-node \
                 evacuate)",
                node.name,
                names.join(", ")
            )));
        }
        let mut cluster = (*config.cluster).clone();
        cluster.candidate_certs.remove(&node.uuid);
        cluster.crypto.forget_node(node.uuid);
        let size = cluster.candidate_pool_size as usize;
        let promoted = pool::promotions(config, size, |id| id != node.uuid);
        let promoted = pool::promote(cx, &mut cluster, promoted);
        if node.offline {
            cx.warn(format!(
                "Node {} is offline and was not told that it left; if it comes back, run \
                 'roost-noded leave' on it",
                node.name
            ));
        }
        let mut plan = cx.start_plan();
        plan.pivot.changes.push(Change::Remove(ObjectKey::Node(node.uuid)));
        plan.pivot.changes.extend(promoted);
        plan.pivot.changes.extend(pool::cluster_change(config, cluster));
        if !node.offline {
            let leave =
                Step::new("letting the node leave the cluster", Task::on(node.uuid, Action::Leave));
            plan.after.push(leave.on_failure(OnFailure::Warn));
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    #[test]
    fn a_node_without_instances_leaves() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.joined("node3", "192.0.2.3");
        site.node("node2", |n| n.master_candidate = true);
        site.cluster(|c| {
            c.candidate_pool_size = 2;
            c.candidate_certs = [(node_id("node2"), "FP".into())].into();
        });
        let plan = site.run(NodeRemove::new("node2"));
        assert_eq!(plan.say, [" - INFO: Promoted nodes to master candidate role: node3"]);
        let leave = Task::on(node_id("node2"), Action::Leave);
        assert_eq!(plan.after.iter().map(|s| &s.task).collect::<Vec<_>>(), [&leave]);
        assert!(site.config.node("node2").is_err());
        let certs = &site.config.cluster.candidate_certs;
        assert_eq!(certs.iter().collect::<Vec<_>>(), [(&node_id("node3"), &"FP:node3".to_owned())]);
    }

    #[test]
    fn an_offline_node_is_not_told() {
        let mut site = Site::new(&["node1", "node2"]);
        site.node("node2", |n| n.offline = true);
        let plan = site.plan(NodeRemove::new("node2")).expect("a plan");
        assert!(plan.after.is_empty());
        assert!(plan.say[0].contains("was not told that it left"), "{:?}", plan.say);
    }

    #[test]
    fn refusals() {
        let mut site = Site::new(&["node1", "node2"]);
        assert_eq!(
            site.refusal(NodeRemove::new("node1")),
            Error::wrong_input("Node is the master node, failover to another node is required")
        );
        site.instance("web", "node2", |_| {});
        site.instance("db", "node1", |_| {});
        site.drbd("db", "node2");
        let error = site.refusal(NodeRemove::new("node2"));
        assert_eq!(
            error,
            Error::wrong_state(
                "Node node2 still has instances (db, web), please move or remove them first \
                 (gnt-node evacuate)"
            )
        );
    }
}
