//! `OP_CLUSTER_RENAME`: another name, and the address that it stands for.
//!
//! ```text
//!   master IP down │ name and address │ ssconf to all nodes; master IP up, or a warning
//! ```
//!
//! Plans look nothing up: the master's node is asked what the name stands for and whether somebody
//! has that address.

use super::master_ip;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::ids::NodeId;
use roost_proto::names::ClusterName;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::ClusterRename;
use serde_json::json;

/// The family of version 6, as the configuration has it.
const AF_INET6: u32 = 10;

impl Operate for ClusterRename {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let name = ClusterName::new(self.name.to_ascii_lowercase())?;
        let cluster = &config.cluster;
        let question = Question::Resolve {
            name: name.to_string(),
            ipv6: cluster.primary_ip_family == AF_INET6,
            netdev: cluster.master_netdev.clone(),
        };
        Ok(vec![(config.master(), question)])
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let found = cx.answer(
            config.master(),
            |question| matches!(question, Question::Resolve { .. }),
            |answer| match answer {
                Answer::Resolved(found) => Some(found),
                _ => None,
            },
        )?;
        let mut cluster = (*config.cluster).clone();
        let ip = found.ip.to_string();
        cluster.cluster_name = ClusterName::new(found.name.to_ascii_lowercase())?;
        if (&cluster.cluster_name, &ip) == (&config.cluster.cluster_name, &cluster.master_ip) {
            return Err(Error::wrong_input(
                "Neither the name nor the IP address of the cluster has changed",
            ));
        }
        if ip != cluster.master_ip {
            check_free(config, &ip, found.taken)?;
            // A mask that fitted the old address need not fit one of the other family.
            if found.ip.is_ipv6() != cluster.master_ip.contains(':') {
                cluster.master_netmask = if found.ip.is_ipv6() { 128 } else { 32 };
            }
            cx.info(format!("The master IP changes from {} to {ip}", cluster.master_ip));
            cluster.master_ip = ip;
        }
        let mut plan = cx.start_plan();
        plan.result = json!(cluster.cluster_name);
        master_ip::moved(&mut plan, config, &cluster, false)?;
        plan.pivot.changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
        Ok(plan)
    }
}

/// Nobody has the new address, neither a node of ours nor a stranger.
fn check_free(config: &Config, ip: &str, taken: bool) -> Result<()> {
    let not_unique = |text: String| Err(Error::prereq(ErrorType::ResourceNotUnique, text));
    if let Some(node) = config.nodes.values().find(|n| n.primary_ip == ip || n.secondary_ip == ip) {
        return not_unique(format!(
            "The given cluster IP address ({ip}) is that of node {}; give the cluster's name an \
             address of its own",
            node.name
        ));
    }
    if taken {
        return not_unique(format!(
            "The given cluster IP address ({ip}) is reachable on the network; give the cluster's \
             name one that nobody has"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::node::ResolvedName;

    /// A cluster whose master finds this.
    fn site(name: &str, ip: &str, taken: bool) -> Site {
        let mut site = Site::new(&["node1", "node2"]);
        let question = site.questions(ClusterRename::new(name)).remove(0);
        let found = ResolvedName { name: name.into(), ip: ip.parse().expect("an address"), taken };
        site.answer(&question.0, question.1, Ok(Answer::Resolved(found)));
        site
    }

    #[test]
    fn the_masters_resolver_is_asked() {
        let site = site("House.example.com", "192.0.2.101", false);
        let asked = site.questions(ClusterRename::new("House.example.com"));
        let question = Question::Resolve {
            name: "house.example.com".into(),
            ipv6: false,
            netdev: "eth0".into(),
        };
        assert_eq!(asked, [("node1".to_owned(), question)]);
        assert!(site.refusal(ClusterRename::new("a b")).message.contains("Invalid cluster name"));
    }

    #[test]
    fn name_and_address_change_and_the_master_moves_over() {
        let mut site = site("House.example.com", "192.0.2.101", false);
        let plan = site.run(ClusterRename::new("House.example.com"));
        assert_eq!(plan.result, "house.example.com");
        let cluster = &site.config.cluster;
        assert_eq!(cluster.cluster_name.as_str(), "house.example.com");
        assert_eq!(cluster.master_ip, "192.0.2.101");
        let steps: Vec<_> = master_ip::steps(&plan)
            .into_iter()
            .map(|(what, node, address)| (what, node, address.ip.to_string(), address.cluster))
            .collect();
        let (old, new) = (ClusterName::new("site"), ClusterName::new("house.example.com"));
        assert_eq!(
            steps,
            [
                ("down", node_id("node1"), "192.0.2.100".into(), old.expect("good")),
                ("up", node_id("node1"), "192.0.2.101".into(), new.expect("good")),
            ]
        );
        assert_eq!(
            plan.before[0].undo.as_ref().map(|undo| undo.nodes()),
            Some(&[node_id("node1")][..])
        );
    }

    #[test]
    fn the_address_may_stay() {
        let mut site = site("house", "192.0.2.100", true);
        let plan = site.run(ClusterRename::new("house"));
        assert!(master_ip::steps(&plan).is_empty());
        assert_eq!(site.config.cluster.cluster_name.as_str(), "house");
    }

    #[test]
    fn the_other_family_has_other_masks() {
        let mut site = site("house", "2001:db8::1", false);
        site.run(ClusterRename::new("house"));
        assert_eq!(site.config.cluster.master_netmask, 128);
    }

    #[test]
    fn refusals() {
        let refusal =
            |name: &str, ip: &str, taken| site(name, ip, taken).refusal(ClusterRename::new(name));
        assert_eq!(
            refusal("site", "192.0.2.100", true),
            Error::wrong_input("Neither the name nor the IP address of the cluster has changed")
        );
        let taken = refusal("house", "192.0.2.101", true);
        assert_eq!(taken.error_type, Some(ErrorType::ResourceNotUnique));
        assert!(taken.message.contains("(192.0.2.101) is reachable"), "{taken}");
        assert!(refusal("house", "192.0.2.2", true).message.contains("that of node node2"));
    }
}
