//! `gnt-rule info`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::table;
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::query::filter::names_filter;
use roost_proto::query::{Cell, Resource, pyrepr};
use serde_json::Value;
use std::fmt::Write;

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Only these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// What is shown, and how it is called.
const FIELDS: [(&str, &str); 15] = [
    ("Rule", "name"),
    ("UUID", "uuid"),
    ("Kind", "kind"),
    ("Instances", "instances"),
    ("Nodes", "nodes"),
    ("Domain", "domain"),
    ("Mirrors", "mirrors"),
    ("Strength", "strength"),
    ("Enabled", "enabled"),
    ("Comment", "comment"),
    ("As a line", "line"),
    ("Status", "status"),
    ("Violations", "violations"),
    ("Problems", "problems"),
    ("Members", "members"),
];

impl Verb for Info {
    const NAME: &'static str = "info";
    const ABOUT: &'static str = "Shows everything about placement rules";

    async fn run(self, cx: &Cx) -> Outcome {
        let filter = names_filter(&self.names, "name", false)
            .map_err(|error| Error::wrong_input(error.to_string()))?;
        let fields = FIELDS.map(|(_, field)| field);
        let response = cx.client().await?.query(Resource::Rule, &fields, filter.as_ref()).await?;
        cx.io.write_out(&match self.json {
            true => table::pretty(&table::json_rows(&response)),
            false => response.data.iter().map(|row| rule(row)).collect(),
        })
    }
}

fn rule(row: &[Cell]) -> String {
    let mut text = String::new();
    for (at, ((title, _), cell)) in FIELDS.iter().zip(row).enumerate() {
        let indent = if at == 0 { "" } else { "  " };
        // Memory does not fail.
        let _ = match &cell.value {
            _ if !cell.is_normal() => continue,
            Value::Array(items) if items.is_empty() => writeln!(text, "{indent}{title}: none"),
            Value::Array(items) => {
                let _ = writeln!(text, "{indent}{title}:");
                items
                    .iter()
                    .try_for_each(|item| writeln!(text, "{indent}  - {}", pyrepr::str(item)))
            }
            Value::Bool(truth) => {
                writeln!(text, "{indent}{title}: {}", if *truth { "yes" } else { "no" })
            }
            Value::String(word) if word.is_empty() => continue,
            value => writeln!(text, "{indent}{title}: {}", pyrepr::str(value)),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_it_does_not_have_is_left_out() {
        let mut row = vec![Cell::UNAVAILABLE; FIELDS.len()];
        row[0] = Cell::new("db");
        row[6] = Cell::new(true);
        row[9] = Cell::new("");
        row[13] = Cell::new(json!(["db1, db2 are on node1"]));
        row[14] = Cell::new(json!([]));
        assert_eq!(
            rule(&row),
            "Rule: db\n  Mirrors: yes\n  Problems:\n    - db1, db2 are on node1\n  Members: none\n"
        );
    }
}
