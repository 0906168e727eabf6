//! `OP_CLUSTER_QUERY` and `OP_CLUSTER_CONFIG_QUERY`: what the configuration says of the cluster.

use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use crate::query::cluster_info;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::{ClusterConfigQuery, ClusterQuery};
use serde_json::{Value, json};

impl Operate for ClusterQuery {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        Ok(Plan { result: cluster_info(cx.config()), ..cx.start_plan() })
    }
}

impl Operate for ClusterConfigQuery {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let values: Result<Vec<_>> =
            self.output_fields.iter().map(|field| value(config, field)).collect();
        Ok(Plan { result: Value::Array(values?), ..cx.start_plan() })
    }
}

/// Names that [`value`] knows.
const FIELDS: [&str; 7] = [
    "cluster_name",
    "master_node",
    "modify_ssh_setup",
    "ssh_key_bits",
    "ssh_key_type",
    "tags",
    "volume_group_name",
];

fn value(config: &Config, field: &str) -> Result<Value> {
    let cluster = &config.cluster;
    Ok(match field {
        "cluster_name" => json!(cluster.cluster_name),
        "master_node" => json!(config.node_name(cluster.master_node)),
        "modify_ssh_setup" => json!(cluster.modify_ssh_setup),
        "ssh_key_bits" => json!(cluster.ssh_key_bits),
        "ssh_key_type" => json!(cluster.ssh_key_type),
        "tags" => json!(cluster.tags),
        "volume_group_name" => json!(cluster.volume_group_name),
        _ => {
            return Err(Error::wrong_input(format!(
                "Unknown output fields selected: {field}; there are: {}",
                FIELDS.join(", ")
            )));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;

    #[test]
    fn what_the_configuration_says() {
        let site = Site::new(&["node1"]);
        let info = site.plan(ClusterQuery::new()).expect("a plan").result;
        assert_eq!((&info["name"], &info["master"]), (&json!("site"), &json!("node1")));
        let all: Vec<_> = FIELDS.map(str::to_owned).to_vec();
        let values = site.plan(ClusterConfigQuery::new(all)).expect("a plan").result;
        assert_eq!(values, json!(["site", "node1", false, 0, "", [], null]));
        let odd = site.refusal(ClusterConfigQuery::new(vec!["colour".to_owned()]));
        assert!(odd.message.starts_with("Unknown output fields selected: colour"), "{odd}");
    }
}
