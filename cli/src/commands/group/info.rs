//! `gnt-group info`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::info_dump::{Fields, Info as Dump};
use crate::table;
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::query::filter::names_filter;
use roost_proto::query::{Cell, Resource, pyrepr};
use serde_json::Value;

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Only these
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
}

const FIELDS: [&str; 7] = [
    "name",
    "ndparams",
    "custom_ndparams",
    "diskparams",
    "custom_diskparams",
    "ipolicy",
    "custom_ipolicy",
];

impl Verb for Info {
    const NAME: &'static str = "info";
    const ABOUT: &'static str = "Shows information about node groups";

    async fn run(self, cx: &Cx) -> Outcome {
        let filter = names_filter(&self.groups, "name", false)
            .map_err(|error| Error::wrong_input(error.to_string()))?;
        let response = cx.client().await?.query(Resource::Group, &FIELDS, filter.as_ref()).await?;
        cx.io.write_out(&match self.json {
            true => table::pretty(&table::json_rows(&response)),
            false => Dump::List(response.data.iter().map(|row| group(row)).collect()).render(),
        })
    }
}

fn group(row: &[Cell]) -> Dump {
    let mut fields = Fields::new();
    fields
        .text("Node group", pyrepr::str(&row[0].value))
        .add("Node parameters", Dump::params(&row[2].value, &row[1].value))
        .add("Disk parameters", Dump::params(&row[4].value, &row[3].value))
        .add("Instance policy", policy(&row[6].value, &row[5].value));
    fields.done()
}

/// The policy in force; parts that come from the cluster are marked.
fn policy(own: &Value, filled: &Value) -> Dump {
    let shown = |key: &str, text: String| match own.get(key) {
        Some(_) => text,
        None => format!("default ({text})"),
    };
    let part = |key: &str| filled.get(key).unwrap_or(&Value::Null);
    let mut fields = Fields::new();
    let bound = |(index, pair): (usize, &Value)| {
        let mut sides = Fields::new();
        for side in ["max", "min"] {
            let specs = pair.get(side).unwrap_or(&Value::Null);
            let specs = match own.get("minmax") {
                Some(_) => Dump::json(specs),
                None => Dump::params(&Value::Null, specs),
            };
            sides.add(format!("{side}/{index}"), specs);
        }
        sides.done()
    };
    let bounds = part("minmax").as_array().into_iter().flatten().enumerate();
    fields.add("bounds specs", Dump::List(bounds.map(bound).collect()));
    let templates: Vec<String> =
        part("disk-templates").as_array().into_iter().flatten().map(pyrepr::str).collect();
    fields.text("allowed disk templates", shown("disk-templates", templates.join(", ")));
    for ratio in ["spindle-ratio", "vcpu-ratio"] {
        fields.text(ratio, shown(ratio, pyrepr::str(part(ratio))));
    }
    fields.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inherited_parts_are_marked() {
        let row: Vec<Cell> = [
            json!("default"),
            json!({"ssh_port": 22}),
            json!({}),
            json!({"drbd": {"protocol": "C"}}),
            json!({"drbd": {"protocol": "C"}}),
            json!({"minmax": [{"min": {"cpu-count": 1}, "max": {"cpu-count": 8}}],
                   "disk-templates": ["file", "plain"], "vcpu-ratio": 4.0, "spindle-ratio": 32.0}),
            json!({"vcpu-ratio": 4.0}),
        ]
        .into_iter()
        .map(Cell::new)
        .collect();
        assert_eq!(
            Dump::List(vec![group(&row)]).render(),
            "- Node group: default\n  Node parameters: \n    ssh_port: default (22)\n  \
             Disk parameters: \n    drbd: \n      protocol: C\n  Instance policy: \n    \
             bounds specs: \n      - max/0: \n          cpu-count: default (8)\n        min/0: \n          \
             cpu-count: default (1)\n    allowed disk templates: default (file, plain)\n    \
             spindle-ratio: default (32.0)\n    vcpu-ratio: 4.0\n"
        );
    }
}
