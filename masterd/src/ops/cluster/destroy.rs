//! `OP_CLUSTER_DESTROY`: says whether the cluster may end, and gives up its address. Who asked then
//! stops its daemons and removes its files.

use super::master_ip;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan};
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::ClusterDestroy;
use serde_json::json;

impl Operate for ClusterDestroy {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let nodes = config.nodes.size() - 1;
        if nodes > 0 {
            return Err(Error::wrong_state(format!(
                "There are still {nodes} node(s) in this cluster besides the master; remove them \
                 first"
            )));
        }
        let instances = config.instances.size();
        if instances > 0 {
            return Err(Error::wrong_state(format!(
                "There are still {instances} instance(s) in this cluster; remove them first"
            )));
        }
        let mut plan = Plan { result: json!(config.master()), ..cx.start_plan() };
        // A cluster whose address makes no sense may end too.
        if let Ok(step) = master_ip::down(config, &config.cluster) {
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
    fn only_an_empty_cluster_ends() {
        let mut site = Site::new(&["node1"]);
        let plan = site.plan(ClusterDestroy::new()).expect("a plan");
        assert_eq!(plan.result, json!(node_id("node1")));
        assert_eq!(master_ip::steps(&plan)[0].0, "down");
        site.instance("web", "node1", |_| {});
        assert_eq!(
            site.refusal(ClusterDestroy::new()),
            Error::wrong_state("There are still 1 instance(s) in this cluster; remove them first")
        );
        let site = Site::new(&["node1", "node2", "node3"]);
        assert!(site.refusal(ClusterDestroy::new()).message.contains("2 node(s)"));
    }
}
