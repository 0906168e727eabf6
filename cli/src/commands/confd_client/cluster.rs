//! Questions about the cluster: `ping`, `master`, `nodes`, `candidates`, `config`, `collectors`.

use super::how::{How, lines, pretty, table};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::verb::Verb;
use clap::{Args, ValueEnum};
use roost_confd::client::Collector;
use roost_confd::wire::{Dict, Field, Query, QueryType};
use roost_proto::query::FieldKind;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `ping`.
#[derive(Args, Debug)]
pub struct Ping {
    #[command(flatten)]
    how: How,
}

impl Verb for Ping {
    const NAME: &'static str = "ping";
    const ABOUT: &'static str =
        "Asks whether confd answers; prints the version of its configuration";

    async fn run(self, cx: &Cx) -> Outcome {
        let line = |version: &u64| format!("{version}\n");
        self.how.show(cx, (QueryType::Ping, Query::Empty), line).await
    }
}

/// What one can know of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MasterField {
    /// Its name
    Name,
    /// The cluster's address
    Ip,
    /// Its primary address
    Pip,
}

/// `master`.
#[derive(Args, Debug)]
pub struct Master {
    #[command(flatten)]
    how: How,
    /// What to print, a line each (usually the name)
    #[arg(long, value_name = "FIELDS", value_enum, value_delimiter = ',')]
    fields: Vec<MasterField>,
}

impl Verb for Master {
    const NAME: &'static str = "master";
    const ABOUT: &'static str = "Prints who the master is";

    async fn run(self, cx: &Cx) -> Outcome {
        let kind = QueryType::ClusterMaster;
        if self.fields.is_empty() {
            let line = |name: &String| format!("{name}\n");
            return self.how.show(cx, (kind, Query::Empty), line).await;
        }
        let field = |field: &MasterField| match field {
            MasterField::Name => Field::Name,
            MasterField::Ip => Field::Ip,
            MasterField::Pip => Field::MasterPip,
        };
        let dict = Dict { fields: self.fields.iter().map(field).collect(), ..Dict::default() };
        self.how.show(cx, (kind, Query::Dict(dict)), |values: &Vec<String>| lines(values)).await
    }
}

/// `nodes`.
#[derive(Args, Debug)]
pub struct Nodes {
    #[command(flatten)]
    how: How,
}

impl Verb for Nodes {
    const NAME: &'static str = "nodes";
    const ABOUT: &'static str = "Lists the primary addresses of all nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let question = (QueryType::NodePipList, Query::Empty);
        self.how.show(cx, question, |ips: &Vec<String>| lines(ips)).await
    }
}

/// `candidates`.
#[derive(Args, Debug)]
pub struct Candidates {
    #[command(flatten)]
    how: How,
}

impl Verb for Candidates {
    const NAME: &'static str = "candidates";
    const ABOUT: &'static str = "Lists the primary addresses of the master candidates";

    async fn run(self, cx: &Cx) -> Outcome {
        let question = (QueryType::McPipList, Query::Empty);
        self.how.show(cx, question, |ips: &Vec<String>| lines(ips)).await
    }
}

/// `config`.
#[derive(Args, Debug)]
pub struct Config {
    #[command(flatten)]
    how: How,
    /// Where in config.data, as /cluster/cluster_name; ~1 stands for a slash in a name, ~0 for a tilde
    #[arg(value_name = "POINTER")]
    pointer: String,
}

impl Verb for Config {
    const NAME: &'static str = "config";
    const ABOUT: &'static str = "Prints a value of the configuration, as JSON";

    async fn run(self, cx: &Cx) -> Outcome {
        let question = (QueryType::ConfigQuery, Query::Text(self.pointer.into()));
        self.how.show(cx, question, |value: &Value| pretty(value)).await
    }
}

/// `collectors`.
#[derive(Args, Debug)]
pub struct Collectors {
    #[command(flatten)]
    how: How,
}

impl Verb for Collectors {
    const NAME: &'static str = "collectors";
    const ABOUT: &'static str = "Lists which collectors of mond are active, and their interval";

    async fn run(self, cx: &Cx) -> Outcome {
        let show = |all: &BTreeMap<String, Collector>| {
            let row = |(name, collector): (&String, &Collector)| {
                vec![json!(name), json!(collector.active), json!(collector.interval / 1e6)]
            };
            let headers = [
                ("Collector", FieldKind::Text),
                ("Active", FieldKind::Boolean),
                ("Seconds", FieldKind::Float),
            ];
            table(&headers, all.iter().map(row).collect())
        };
        self.how.show(cx, (QueryType::DataCollectors, Query::Empty), show).await
    }
}
