//! `gnt-filter info`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::table;
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::query::columns::default_columns;
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
    #[arg(value_name = "UUID")]
    uuids: Vec<String>,
}

impl Verb for Info {
    const NAME: &'static str = "info";
    const ABOUT: &'static str = "Shows everything about job filter rules";

    async fn run(self, cx: &Cx) -> Outcome {
        let filter = names_filter(&self.uuids, "uuid", false)
            .map_err(|error| Error::wrong_input(error.to_string()))?;
        let fields = default_columns(Resource::Filter);
        let response = cx.client().await?.query(Resource::Filter, fields, filter.as_ref()).await?;
        cx.io.write_out(&match self.json {
            true => table::pretty(&table::json_rows(&response)),
            false => response.data.iter().map(|row| rule(row)).collect(),
        })
    }
}

fn rule(row: &[Cell]) -> String {
    let names = ["UUID", "  Watermark", "  Priority", "  Predicates", "  Action", "  Reason trail"];
    let mut text = String::new();
    for (name, cell) in names.into_iter().zip(row) {
        let value = match &cell.value {
            list @ Value::Array(_) => json(list),
            other => pyrepr::str(other),
        };
        // Memory does not fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

/// JSON with blanks after commas, as Python writes it: what `--predicates` takes again.
fn json(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(json).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn looks_like_ganetis() {
        let row = [
            json!("u-1"),
            json!(5),
            json!(0),
            json!([["jobid", [">", "id", "watermark"]]]),
            json!("PAUSE"),
            json!([["gnt:user", "busy \"now\"", 7]]),
        ];
        assert_eq!(
            rule(&row.map(Cell::new)),
            "UUID: u-1\n  Watermark: 5\n  Priority: 0\n  \
             Predicates: [[\"jobid\", [\">\", \"id\", \"watermark\"]]]\n  Action: PAUSE\n  \
             Reason trail: [[\"gnt:user\", \"busy \\\"now\\\"\", 7]]\n"
        );
        let limit = [json!("u"), json!(5), json!(0), json!([]), json!(["RATE_LIMIT", 2])];
        assert!(rule(&limit.map(Cell::new)).ends_with("  Action: [\"RATE_LIMIT\", 2]\n"));
    }
}
