//! `OP_CLUSTER_SET_BALANCER`: what the cluster's balancer may do.
//!
//! ```text
//!   before   nothing
//!   pivot    the cluster, changed
//! ```

use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::ClusterSetBalancer;

impl Operate for ClusterSetBalancer {
    // Of two changes at once the second is refused at its pivot: it was made from an older cluster.
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let mut cluster = (*cx.config().cluster).clone();
        let new = &mut cluster.balancer;
        new.mode = self.mode.unwrap_or(new.mode);
        new.threshold = self.threshold.unwrap_or(new.threshold);
        new.hold = self.hold.unwrap_or(new.hold);
        new.margin = self.margin.unwrap_or(new.margin);
        new.moves_per_hour = self.moves_per_hour.unwrap_or(new.moves_per_hour);
        new.copy_per_hour = self.copy_per_hour.unwrap_or(new.copy_per_hour);
        new.interval = self.interval.unwrap_or(new.interval);
        if *new == cx.config().cluster.balancer {
            return Err(Error::wrong_input(
                "The balancer is set like that already; say what is to be different",
            ));
        }
        new.check()?;
        let mut plan = cx.start_plan();
        plan.pivot.changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::BalancerMode;
    use roost_proto::objects::Balancer;

    #[test]
    fn what_is_not_named_stays() {
        let mut site = Site::new(&["node1"]);
        let mode = Some(BalancerMode::Report);
        site.run(ClusterSetBalancer { mode, ..ClusterSetBalancer::new() });
        site.run(ClusterSetBalancer { hold: Some(60), ..ClusterSetBalancer::new() });
        let wanted = Balancer { mode: BalancerMode::Report, hold: 60, ..Balancer::default() };
        assert_eq!(site.config.cluster.balancer, wanted);
    }

    #[test]
    fn it_is_not_published() {
        let mut site = Site::new(&["node1"]);
        site.run(ClusterSetBalancer { hold: Some(60), ..ClusterSetBalancer::new() });
        let published = crate::publish::objects::cluster(&site.config).to_string();
        assert!(!published.contains("balancer"), "{published}");
    }

    #[test]
    fn refusals() {
        let site = Site::new(&["node1"]);
        let same = site.refusal(ClusterSetBalancer::new()).message;
        assert!(same.contains("like that already"), "{same}");
        let op = ClusterSetBalancer { margin: Some(-1.0), ..ClusterSetBalancer::new() };
        assert!(site.refusal(op).message.contains("margin is -1"));
    }
}
