//! Questions about a node or an instance: `role`, `drbd`, `instances`, `guests`, `disks`.

use super::how::{How, minors_table, pretty, say, table, text_of};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::verb::Verb;
use clap::Args;
use roost_confd::client::{DrbdMinor, Guest, NodeInstances};
use roost_confd::wire::{Query, QueryType};
use roost_proto::query::FieldKind;
use serde_json::{Value, json};

/// `role`.
#[derive(Args, Debug)]
pub struct Role {
    #[command(flatten)]
    how: How,
    /// The node; the master is known as such by its full name only
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Role {
    const NAME: &'static str = "role";
    const ABOUT: &'static str =
        "Prints what a node is: master, candidate, offline, drained or regular";

    async fn run(self, cx: &Cx) -> Outcome {
        let show = |role: &i64| {
            let words = ["master", "candidate", "offline", "drained", "regular"];
            let word = usize::try_from(*role).ok().and_then(|role| words.get(role));
            word.map_or_else(|| format!("unknown role {role}\n"), |word| format!("{word}\n"))
        };
        let question = (QueryType::NodeRoleByName, Query::Text(self.node.into()));
        self.how.show(cx, question, show).await
    }
}

/// `drbd`.
#[derive(Args, Debug)]
pub struct Drbd {
    #[command(flatten)]
    how: How,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Drbd {
    const NAME: &'static str = "drbd";
    const ABOUT: &'static str = "Lists the DRBD minors in use on a node";

    async fn run(self, cx: &Cx) -> Outcome {
        let show = |minors: &Vec<DrbdMinor>| text_of(&minors_table(minors));
        let question = (QueryType::NodeDrbd, Query::Text(self.node.into()));
        self.how.show(cx, question, show).await
    }
}

/// `instances`.
#[derive(Args, Debug)]
pub struct Instances {
    #[command(flatten)]
    how: How,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Instances {
    const NAME: &'static str = "instances";
    const ABOUT: &'static str =
        "Lists the instances of a node; with --json all that the configuration has of them";

    async fn run(self, cx: &Cx) -> Outcome {
        let show = |instances: &NodeInstances| {
            let field = |instance: &Value, name: &str| match &instance[name] {
                Value::Null => json!("-"),
                value => value.clone(),
            };
            let row = |role: &str, instance: &Value| {
                vec![
                    field(instance, "name"),
                    json!(role),
                    field(instance, "admin_state"),
                    field(instance, "uuid"),
                ]
            };
            let primary = instances.primary.iter().map(|one| row("primary", one));
            let secondary = instances.secondary.iter().map(|one| row("secondary", one));
            let headers = ["Instance", "Role", "State", "UUID"].map(|h| (h, FieldKind::Text));
            table(&headers, primary.chain(secondary).collect())
        };
        let question = (QueryType::NodeInstances, Query::Text(self.node.into()));
        self.how.show(cx, question, show).await
    }
}

/// `guests`.
#[derive(Args, Debug)]
pub struct Guests {
    #[command(flatten)]
    how: How,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Guests {
    const NAME: &'static str = "guests";
    const ABOUT: &'static str =
        "Lists the instances of a node in short, however many; only Roost's confd answers this";

    async fn run(self, cx: &Cx) -> Outcome {
        // It comes in pages, which are of one serial together: there is nothing to show of each daemon.
        let told = self.how.client(cx)?.node_guests(&self.node).await;
        let told = told.map_err(|error| match error.is_silence() {
            true => Failure::say(format!(
                "{error}. Ganeti's confd does not know this question; 'gnt-confd-client instances {}' asks \
                 what both know",
                self.node
            )),
            false => say(error),
        })?;
        if self.how.json() {
            let guest = |guest: &Guest| {
                json!({
                    "name": guest.name,
                    "uuid": guest.uuid,
                    "admin_state": guest.admin_state,
                    "hypervisor": guest.hypervisor,
                    "primary": guest.primary,
                    "volumes": guest.volumes,
                })
            };
            let guests: Vec<Value> = told.value.iter().map(guest).collect();
            let report = json!({
                "answer": guests,
                "serial": told.serial,
                "from": told.from,
                "consistent": told.consistent,
            });
            return cx.io.write_out(&pretty(&report));
        }
        let row = |guest: &Guest| {
            let volumes: Vec<String> =
                guest.volumes.iter().map(|(group, name)| format!("{group}/{name}")).collect();
            vec![
                json!(guest.name),
                json!(if guest.primary { "primary" } else { "secondary" }),
                json!(guest.admin_state),
                json!(guest.hypervisor),
                json!(if volumes.is_empty() { "-".to_owned() } else { volumes.join(",") }),
            ]
        };
        let headers = ["Instance", "Role", "State", "Hypervisor", "Volumes"];
        let headers = headers.map(|header| (header, FieldKind::Text));
        cx.io.write_out(&table(&headers, told.value.iter().map(row).collect()))
    }
}

/// `disks`.
#[derive(Args, Debug)]
pub struct Disks {
    #[command(flatten)]
    how: How,
    /// The instance: name or UUID
    #[arg(value_name = "INSTANCE")]
    instance: String,
}

impl Verb for Disks {
    const NAME: &'static str = "disks";
    const ABOUT: &'static str =
        "Lists the disks of an instance; with --json all that the configuration has of them";

    async fn run(self, cx: &Cx) -> Outcome {
        let show = |disks: &Vec<Value>| {
            let row = |(index, disk): (usize, &Value)| {
                vec![
                    json!(format!("disk/{index}")),
                    disk["dev_type"].clone(),
                    disk["size"].clone(),
                    disk["uuid"].clone(),
                    json!(disk["logical_id"].to_string()),
                ]
            };
            let headers = [
                ("Disk", FieldKind::Text),
                ("Template", FieldKind::Text),
                ("MiB", FieldKind::Number),
                ("UUID", FieldKind::Text),
                ("LogicalId", FieldKind::Text),
            ];
            table(&headers, disks.iter().enumerate().map(row).collect())
        };
        let question = (QueryType::InstanceDisks, Query::Text(self.instance.into()));
        self.how.show(cx, question, show).await
    }
}
