//! `gnt-cluster verify-disks`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::jobs::{self, NamedJob};
use crate::submit::{self, PriorityOption};
use crate::verb::Verb;
use crate::{note, say};
use clap::Args;
use roost_proto::opcodes::{ClusterVerifyDisks, InstanceActivateDisks};
use roost_proto::query::{Filter, Resource};
use serde_json::Value;
use std::collections::BTreeMap;

/// `verify-disks`.
#[derive(Args, Debug)]
pub struct VerifyDisks {
    #[command(flatten)]
    priority: PriorityOption,
    /// Only this group
    #[arg(short = 'g', long, value_name = "GROUP")]
    node_group: Option<String>,
    /// Skip what other jobs work on instead of waiting for it
    #[arg(long)]
    no_strict: bool,
}

/// What the jobs of the groups found.
#[derive(Debug, Default)]
struct Found {
    /// Nodes that did not tell, by UUID, and why.
    silent: BTreeMap<String, String>,
    /// Instances whose disks should be active.
    idle: Vec<String>,
    /// By instance: node and disk.
    missing: BTreeMap<String, Vec<(String, String)>>,
}

impl Found {
    /// Adds a result: `[{node: error}, [instance], {instance: [[node, disk]]}]`.
    fn add(&mut self, result: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
        self.silent.extend(object(&result[0]).into_iter().map(|(node, why)| (node, text(&why))));
        self.idle.extend(result[1].as_array().into_iter().flatten().map(text));
        for (instance, disks) in object(&result[2]) {
            let disks = disks.as_array().cloned().unwrap_or_default();
            let disks = disks.iter().map(|disk| (text(&disk[0]), text(&disk[1])));
            self.missing.entry(instance).or_default().extend(disks);
        }
    }
}

impl Verb for VerifyDisks {
    const NAME: &'static str = "verify-disks";
    const ABOUT: &'static str =
        "Looks for missing disks, and activates those that should be active";

    async fn run(self, cx: &Cx) -> Outcome {
        let how = self.priority.how();
        let op = ClusterVerifyDisks { group_name: self.node_group, is_strict: !self.no_strict };
        let result = submit::run(cx, op, &how).await?;
        let ended = jobs::wait_for_children(cx, &result).await?;
        let mut found = Found::default();
        for results in ended.iter().filter_map(|(_, results)| results.as_ref()) {
            results.iter().for_each(|result| found.add(result));
        }
        let mut good = jobs::failures(&ended) == 0;
        good &= found.silent.is_empty() && found.missing.is_empty();
        for (node, why) in &found.silent {
            note!(cx, "Error gathering data on node {}: {why}", name(cx, node).await?);
        }
        if found.idle.is_empty() {
            say!(cx, "No disks need to be activated.");
        }
        let activate = |name: String| {
            let op = InstanceActivateDisks::new(name.clone());
            NamedJob::new(name, op)
        };
        for name in &found.idle {
            say!(cx, "Activating disks for instance '{name}'");
        }
        if !found.idle.is_empty() {
            let activations = found.idle.into_iter().map(activate).collect();
            good &= jobs::failures(&jobs::run(cx, activations, &how, false).await?) == 0;
        }
        for (instance, disks) in &found.missing {
            say!(cx, "Instance {instance} has missing disks:");
            for (node, disk) in disks {
                say!(cx, "\t{node} {disk}");
            }
        }
        if !found.missing.is_empty() {
            say!(
                cx,
                "You need to replace or recreate disks for all the above instances if this message \
                 persists after fixing broken nodes."
            );
        }
        if good { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}

/// The name of a node, of which only the UUID is known.
async fn name(cx: &Cx, uuid: &str) -> Outcome<String> {
    let filter = Filter::Or(vec![Filter::equal("uuid", uuid)]);
    let response = cx.client().await?.query(Resource::Node, &["name"], Some(&filter)).await?;
    let name = response.data.first().and_then(|row| row[0].value.as_str());
    Ok(name.unwrap_or(uuid).to_owned())
}

#[cfg(test)]
mod tests {
    use crate::testing::FakeMaster;
    use roost_proto::query::Resource;
    use serde_json::json;

    #[tokio::test]
    async fn what_is_idle_is_activated_and_what_is_missing_told() {
        let master = |found: serde_json::Value| {
            FakeMaster::start()
                .answer("OP_CLUSTER_VERIFY_DISKS", Ok(json!({"jobs": [[true, 100]]})))
                .answer("CHILD", Ok(found))
                .table(Resource::Node, json!([{"uuid": "u2", "name": "node2"}]))
        };
        let clean = master(json!([{}, [], {}])).run("gnt-cluster verify-disks").await;
        assert!(clean.out.ends_with("No disks need to be activated.\n"), "{clean:?}");
        assert_eq!(clean.code, 0);

        let idle = master(json!([{}, ["web"], {}]));
        let ran = idle.run("gnt-cluster verify-disks").await;
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("Activating disks for instance 'web'"), "{ran:?}");
        let jobs = idle.submitted();
        assert_eq!(jobs[1][0]["OP_ID"], "OP_INSTANCE_ACTIVATE_DISKS");
        assert_eq!(jobs[1][0]["instance_name"], "web");

        let bad = master(json!([{"u2": "no route"}, [], {"db": [["node1", "xenvg/x"]]}]));
        let ran = bad.run("gnt-cluster verify-disks").await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains("Error gathering data on node node2: no route"), "{ran:?}");
        assert!(ran.out.contains("Instance db has missing disks:\n\tnode1 xenvg/x\n"), "{ran:?}");
    }
}
