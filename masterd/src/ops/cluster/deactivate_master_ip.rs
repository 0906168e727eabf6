//! `OP_CLUSTER_DEACTIVATE_MASTER_IP`: the master gives the master IP up, until somebody activates it
//! or a master begins to lead.
//!
//! ```text
//!   │ nothing to store │ down
//! ```

use super::master_ip;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::Result;
use roost_proto::opcodes::ClusterDeactivateMasterIp;

impl Operate for ClusterDeactivateMasterIp {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut plan = cx.start_plan();
        plan.after.push(master_ip::down(config, &config.cluster)?);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    #[test]
    fn the_master_gives_it_up() {
        let mut site = Site::new(&["node1", "node2"]);
        let plan = site.run(ClusterDeactivateMasterIp::new());
        let [(what, node, address)] = &master_ip::steps(&plan)[..] else { panic!("{plan:?}") };
        assert_eq!((*what, *node), ("down", node_id("node1")));
        assert_eq!(address.ip.to_string(), "192.0.2.100");
        assert!(plan.pivot.changes.is_empty());
    }
}
