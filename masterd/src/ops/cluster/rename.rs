//! `OP_CLUSTER_RENAME`.
//!
//! The master IP stays: plans look nothing up, so an address that went with the new name would have
//! to be given.

use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, Result};
use roost_proto::names::ClusterName;
use roost_proto::opcodes::ClusterRename;
use serde_json::json;

impl Operate for ClusterRename {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let name = ClusterName::new(self.name.to_ascii_lowercase())?;
        if name == config.cluster.cluster_name {
            return Err(Error::wrong_input(
                "Neither the name nor the IP address of the cluster has changed",
            ));
        }
        let mut cluster = (*config.cluster).clone();
        cluster.cluster_name = name;
        cx.info(format!("The master IP stays {}", cluster.master_ip));
        let mut plan = cx.start_plan();
        plan.result = json!(cluster.cluster_name);
        plan.pivot.changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;

    #[test]
    fn the_cluster_gets_a_name() {
        let mut site = Site::new(&["node1"]);
        let plan = site.run(ClusterRename::new("House.example.com"));
        assert_eq!(plan.result, "house.example.com");
        assert_eq!(site.config.cluster.cluster_name.as_str(), "house.example.com");
        assert_eq!(
            site.refusal(ClusterRename::new("house.example.com")),
            Error::wrong_input("Neither the name nor the IP address of the cluster has changed")
        );
        assert!(site.refusal(ClusterRename::new("a b")).message.contains("Invalid cluster name"));
    }
}
