//! `OP_CLUSTER_ACTIVATE_MASTER_IP`: the master takes the master IP.
//!
//! ```text
//!   │ nothing to store │ down on other nodes that have it; up
//! ```
//!
//! A former master that was out of reach when it was deposed has kept the address. Up is the step
//! after the pivot, so it is tried again and not taken back: an address that is there already must
//! not vanish because its neighbours could not be told.

use super::master_ip;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan};
use crate::ops::{Context, Operate, locking};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::ClusterActivateMasterIp;

impl Operate for ClusterActivateMasterIp {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let address = master_ip::of(config, &config.cluster)?;
        let others = config.online_nodes().map(|n| n.uuid).filter(|id| *id != config.master());
        Ok(others.map(|id| (id, master_ip::question(&address, false))).collect())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut plan = cx.start_plan();
        for (node, _, answer) in cx.answers() {
            // Whoever does not answer cannot be told; up is refused if it has the address.
            if matches!(answer, Ok(Answer::IpAddress(report)) if report.here) {
                let step = master_ip::down_on(config, *node)?;
                plan.after.push(step.on_failure(OnFailure::Warn));
            }
        }
        plan.after.push(master_ip::up(config, &config.cluster)?);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::error::Error;
    use roost_proto::node::IpReport;

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
    fn a_former_master_gives_it_up_first() {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        site.node("node4", |n| n.offline = true);
        let asked = site.questions(ClusterActivateMasterIp::new());
        let nodes: Vec<_> = asked.iter().map(|(node, _)| node.as_str()).collect();
        assert_eq!(nodes.len(), 2, "neither the master nor who is offline: {nodes:?}");
        for (node, question) in asked {
            let answer = match node.as_str() {
                "node2" => Ok(Answer::IpAddress(IpReport { here: true, answers: None })),
                _ => Err(Error::exec("no route")),
            };
            site.answer(&node, question, answer);
        }
        let plan = site.run(ClusterActivateMasterIp::new());
        let steps = master_ip::steps(&plan).into_iter();
        let short: Vec<_> = steps.map(|(what, node, _)| (what, node)).collect();
        assert_eq!(short, [("down", node_id("node2")), ("up", node_id("node1"))]);
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
