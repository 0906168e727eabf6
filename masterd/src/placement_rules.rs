//! The placement rules of a configuration, and how they are kept: for lists, the verification, and whoever
//! plans where instances go.
//!
//! Only what is configured counts: a rule does not become satisfied because a node does not answer.

use crate::config::Config;
use roost_htools::model::{
    Cluster, DiskTemplate, Group, GroupIdx, Instance as Placed, Node as Place, NodeIdx, Policy,
    Status, Utilisation,
};
use roost_htools::rules::{self, Rule, Verdict};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::objects::{Instance, Node, PlacementRule};
use roost_proto::params::fill;
use roost_proto::placement::RuleSpec;
use std::collections::HashMap;
use std::sync::Arc;

/// All rules, in nice order of their names.
pub fn all(config: &Config) -> Vec<&Arc<PlacementRule>> {
    nicesort::sort_many(config.rules.values().collect(), |rule| rule.spec.name.as_str())
}

/// The rule of a name or UUID. Errors: `unknown_entity`.
pub fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Arc<PlacementRule>> {
    let is = |rule: &&Arc<PlacementRule>| rule.spec.name == name || rule.uuid.to_string() == name;
    config.rules.values().find(is).ok_or_else(|| {
        Error::unknown(format!(
            "Placement rule '{name}' not known; 'gnt-rule list' shows those there are"
        ))
    })
}

/// The enabled rules, for a cluster made of this configuration. One that a newer version stored and this one
/// does not understand is left out: it must not keep instances from being placed.
pub fn resolved(config: &Config, cluster: &Cluster) -> Vec<Rule> {
    let specs: Vec<&RuleSpec> = all(config).into_iter().map(|rule| &rule.spec).collect();
    let enabled = specs.into_iter().filter(|spec| spec.enabled);
    enabled.filter_map(|spec| Rule::resolve(cluster, spec).ok()).collect()
}

/// Enabled rules in a cluster, and what became of each.
#[derive(Debug)]
pub struct Judged {
    pub cluster: Cluster,
    /// In the order of the cluster's rules.
    pub verdicts: Vec<Verdict>,
}

impl Judged {
    /// As configured.
    pub fn new(config: &Config) -> Judged {
        let mut cluster = as_configured(config);
        cluster.rules = resolved(config, &cluster);
        let verdicts = rules::judge(&cluster);
        Judged { cluster, verdicts }
    }

    /// What became of a rule. None: it is disabled.
    pub fn of(&self, name: &str) -> Option<(&Rule, &Verdict)> {
        let mut both = self.cluster.rules.iter().zip(&self.verdicts);
        both.find(|(rule, _)| rule.spec.name == name)
    }

    /// The names of instances.
    pub fn names<'a>(
        &'a self,
        instances: impl IntoIterator<Item = roost_htools::model::InstanceIdx> + 'a,
    ) -> impl Iterator<Item = &'a str> {
        instances.into_iter().map(|index| self.cluster.instances[index.at()].name.as_str())
    }
}

/// Names, tags and places, all that rules ask for; nothing of what nodes have. Drained nodes count as offline,
/// as for all that plans.
fn as_configured(config: &Config) -> Cluster {
    let groups: Vec<_> =
        nicesort::sort_many(config.groups.values().collect(), |group| group.name.as_str());
    let mut nodes: Vec<&Arc<Node>> = config.nodes.values().collect();
    nicesort::sort_by_key(&mut nodes, |node| node.name.to_string());
    let instances: Vec<&Arc<Instance>> = config.instances.values().collect();
    let instances = nicesort::sort_many(instances, |instance| instance.name.as_str());
    let index: HashMap<NodeId, NodeIdx> =
        nodes.iter().enumerate().map(|(at, node)| (node.uuid, NodeIdx::of(at))).collect();
    let place = |node: &&Arc<Node>| Place {
        name: node.name.to_string(),
        group: GroupIdx::of(
            groups.iter().position(|group| group.uuid == node.group).unwrap_or_default(),
        ),
        total_memory: 0.0,
        node_memory: 0,
        free_memory: 0,
        total_disk: 0.0,
        free_disk: 0,
        total_cpus: 0.0,
        node_cpus: 0,
        cpu_speed: 1.0,
        spindles: 0,
        free_spindles: 0,
        exclusive_storage: false,
        offline: node.offline || node.drained,
        master: node.uuid == config.master(),
        tags: node.tags.clone(),
    };
    let placed = |instance: &&Arc<Instance>| {
        let be = fill::instance_beparams(&config.cluster, instance);
        let secondary = config.secondaries(instance).first().and_then(|id| index.get(id)).copied();
        Placed {
            name: instance.name.to_string(),
            memory: i64::try_from(be.maxmem).unwrap_or(i64::MAX),
            disk: 0,
            disks: vec![],
            vcpus: i64::from(be.vcpus),
            status: Status::Running,
            auto_balance: be.auto_balance,
            primary: index.get(&instance.primary_node).copied().unwrap_or(NodeIdx::NONE),
            secondary,
            template: config.disk_template(instance).unwrap_or(DiskTemplate::Diskless),
            tags: instance.tags.clone(),
            spindle_use: i64::from(be.spindle_use),
            forthcoming: instance.forthcoming,
            utilisation: Utilisation::ONE,
            networks: vec![],
        }
    };
    Cluster {
        groups: groups
            .iter()
            .map(|group| Group {
                name: group.name.to_string(),
                uuid: group.uuid.to_string(),
                alloc_policy: group.alloc_policy,
                tags: group.tags.clone(),
                networks: vec![],
                policy: Policy::default(),
                own_policy: false,
            })
            .collect(),
        nodes: nodes.iter().map(place).collect(),
        instances: instances.iter().map(placed).collect(),
        ..Cluster::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::RuleKind;
    use roost_proto::opcodes::PlacementRuleAdd;

    #[test]
    fn only_what_is_configured_counts() {
        let mut site = Site::new(&["node1", "node2", "node10"]);
        for (name, node) in [("db1", "node2"), ("db2", "node2"), ("db10", "node10")] {
            site.instance(name, node, |_| {});
        }
        site.run(PlacementRuleAdd::new("db", RuleKind::Apart, r#"name =* "db*""#));
        let judged = Judged::new(&site.config);
        let (rule, verdict) = judged.of("db").expect("an enabled rule");
        assert_eq!(judged.names(rule.members.clone()).collect::<Vec<_>>(), ["db1", "db2", "db10"]);
        assert_eq!(verdict.problems[0].text, "db1, db2 are on node2");
        site.node("node2", |node| node.drained = true);
        let judged = Judged::new(&site.config);
        assert_eq!(judged.verdicts[0].broken, 0, "they have to leave anyway");
        assert!(find(&site.config, "db").is_ok() && find(&site.config, "x").is_err());
    }
}
