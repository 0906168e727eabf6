//! `OP_CLUSTER_POST_INIT`: the first job of a new cluster. It proves that the cluster works, and
//! brings its address up.

use super::master_ip;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan};
use crate::ops::{Context, Operate, locking};
use roost_proto::error::Result;
use roost_proto::opcodes::ClusterPostInit;

impl Operate for ClusterPostInit {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut plan = Plan { result: true.into(), ..cx.start_plan() };
        let step = master_ip::up(config, &config.cluster)?;
        plan.after.push(step.on_failure(OnFailure::Warn));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    #[test]
    fn a_new_cluster_gets_its_address() {
        let mut site = Site::new(&["node1"]);
        let plan = site.run(ClusterPostInit::new());
        assert_eq!(plan.result, true);
        let [("up", node, _)] = &master_ip::steps(&plan)[..] else { panic!("{plan:?}") };
        assert_eq!(*node, node_id("node1"));
    }
}
