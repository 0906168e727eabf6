//! `OP_CLUSTER_ACTIVATE_MASTER_IP`: the master takes the master IP.
//!
//! ```text
//!   │ nothing to store │ up
//! ```
//!
//! It is the step after the pivot, so it is tried again and not taken back: an address that is there
//! already must not vanish because its neighbours could not be told.

use super::master_ip;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::Result;
use roost_proto::opcodes::ClusterActivateMasterIp;

impl Operate for ClusterActivateMasterIp {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut plan = cx.start_plan();
        plan.after.push(master_ip::up(config, &config.cluster)?);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::plan::OnFailure;
    use crate::ops::testing::{Site, node_id};

    #[test]
    fn the_master_takes_it() {
        let mut site = Site::new(&["node1", "node2"]);
        site.cluster(|c| c.use_external_mip_script = true);
        let plan = site.run(ClusterActivateMasterIp::new());
        let [(what, node, address)] = &master_ip::steps(&plan)[..] else { panic!("{plan:?}") };
        assert_eq!((*what, *node), ("up", node_id("node1")));
        assert_eq!(address.ip.to_string(), "192.0.2.100");
        assert_eq!((address.netdev.as_str(), address.netmask), ("eth0", 32));
        assert_eq!((address.cluster.as_str(), address.master.as_str()), ("site", "node1"));
        assert!(address.external_script && address.version() == 4);
        assert_eq!(plan.after[0].on_failure, OnFailure::Fail, "the job says whether it worked");
        assert!(plan.pivot.changes.is_empty());
    }

    #[test]
    fn a_cluster_without_an_address_is_told_what_to_do() {
        let mut site = Site::new(&["node1"]);
        site.cluster(|c| c.master_ip = "soon".into());
        let error = site.refusal(ClusterActivateMasterIp::new());
        assert!(error.message.contains("'soon'"), "{error}");
        assert!(error.message.contains("gnt-cluster rename"), "{error}");
    }
}
