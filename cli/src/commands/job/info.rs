//! `gnt-job info`.

use super::job_id;
use crate::clock;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::info_dump::{Fields, Info as Dump};
use crate::table;
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::{Filter, QueryResponse, Resource, ResultStatus, pyrepr};
use serde_json::{Map, Value};

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Numbers
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
}

const FIELDS: [&str; 12] = [
    "id",
    "status",
    "ops",
    "opresult",
    "opstatus",
    "oplog",
    "opstart",
    "opexec",
    "opend",
    "received_ts",
    "start_ts",
    "end_ts",
];

impl Verb for Info {
    const NAME: &'static str = "info";
    const ALIASES: &'static [&'static str] = &["show"];
    const ABOUT: &'static str = "Shows detailed information about the specified jobs";

    async fn run(self, cx: &Cx) -> Outcome {
        let ids = self.jobs.iter().map(|text| job_id(text)).collect::<Result<Vec<_>, _>>()?;
        let filter = Filter::Or(ids.iter().map(|id| Filter::equal("id", id.0 as i64)).collect());
        let response = cx.client().await?.query(Resource::Job, &FIELDS, Some(&filter)).await?;
        if self.json {
            return cx.io.write_out(&table::pretty(&table::json_rows(&response)));
        }
        cx.io.write_out(&dump(&ids.iter().map(|id| id.0).collect::<Vec<_>>(), &response).render())
    }
}

/// The jobs in the order asked; those that are not there are said to be missing.
fn dump(ids: &[u64], response: &QueryResponse) -> Dump {
    let rows: Vec<Map<String, Value>> = response
        .data
        .iter()
        .map(|row| {
            let known = row.iter().map(|cell| match cell.status {
                ResultStatus::Normal => cell.value.clone(),
                _ => Value::Null,
            });
            FIELDS.iter().map(|field| (*field).to_owned()).zip(known).collect()
        })
        .collect();
    let found = |id: u64| {
        rows.iter().find(|row| row["id"].as_u64() == Some(id) && !row["status"].is_null())
    };
    Dump::List(
        ids.iter()
            .map(|id| match found(*id) {
                Some(row) => job(*id, row),
                None => Dump::text(format!("Job ID {id} not found")),
            })
            .collect(),
    )
}

fn parts(time: &Value) -> Option<(u64, u32)> {
    Some((time.get(0)?.as_u64()?, time.get(1)?.as_u64()? as u32))
}

fn stamp(time: &Value) -> Option<String> {
    parts(time).map(|(seconds, micros)| clock::stamp_micros(seconds, micros))
}

fn seconds(time: &Value) -> Option<f64> {
    parts(time).map(|(seconds, micros)| seconds as f64 + f64::from(micros) / 1e6)
}

fn between(from: &Value, to: &Value) -> Option<f64> {
    Some(seconds(to)? - seconds(from)?)
}

fn job(id: u64, row: &Map<String, Value>) -> Dump {
    let (received, start, end) = (&row["received_ts"], &row["start_ts"], &row["end_ts"]);
    let unknown = || "unknown (None)".to_owned();
    let with_delta = |time: &Value, since: &Value| match (stamp(time), between(since, time)) {
        (Some(text), Some(delta)) => format!("{text} (delta {delta:.6}s)"),
        (Some(text), None) => text,
        (None, _) => unknown(),
    };
    let mut fields = Fields::new();
    fields
        .text("Job ID", id)
        .text("Status", pyrepr::str(&row["status"]))
        .aligned(&[
            ("Received", stamp(received).unwrap_or_else(unknown)),
            ("Processing start", with_delta(start, received)),
            ("Processing end", with_delta(end, start)),
        ])
        .text(
            "Total processing time",
            between(received, end).map_or_else(|| "N/A".into(), |t| format!("{t:.6} seconds")),
        )
        .add("Opcodes", opcodes(row));
    fields.done()
}

fn opcodes(row: &Map<String, Value>) -> Dump {
    let at = |field: &str, index: usize| row[field].get(index).cloned().unwrap_or_default();
    let count = row["ops"].as_array().map_or(0, Vec::len);
    Dump::List(
        (0..count)
            .map(|index| {
                let op = at("ops", index);
                let time = |field| stamp(&at(field, index)).unwrap_or_else(|| "N/A".into());
                let mut fields = Fields::new();
                fields
                    .text("Opcode", pyrepr::str(op.get("OP_ID").unwrap_or(&Value::Null)))
                    .text("Status", pyrepr::str(&at("opstatus", index)))
                    .aligned(&[
                        ("Processing start", time("opstart")),
                        ("Execution start", time("opexec")),
                        ("Processing end", time("opend")),
                    ])
                    .add("Input fields", Dump::json(&op))
                    .add("Result", result(&at("opresult", index)))
                    .add("Execution log", log(&at("oplog", index)));
                fields.done()
            })
            .collect(),
    )
}

fn result(value: &Value) -> Dump {
    match value {
        Value::Object(_) => Dump::json(value),
        Value::Array(items) if !items.is_empty() && !items.iter().any(is_container) => {
            Dump::Inline(items.iter().map(pyrepr::str).collect())
        }
        other => Dump::json(other),
    }
}

fn is_container(value: &Value) -> bool {
    value.is_array() || value.is_object()
}

fn log(entries: &Value) -> Dump {
    let entry = |entry: &Value| {
        let content = [0, 2, 3].map(|part| pyrepr::str(entry.get(part).unwrap_or(&Value::Null)));
        let mut fields = Fields::new();
        fields
            .text("Time", stamp(entry.get(1).unwrap_or(&Value::Null)).unwrap_or("N/A".into()))
            .add("Content", Dump::Inline(content.to_vec()));
        fields.done()
    };
    Dump::List(entries.as_array().into_iter().flatten().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::query::Cell;
    use serde_json::json;

    #[test]
    fn looks_like_ganetis() {
        let t = |s: u64, us: u32| json!([s, us]);
        let row = [
            json!(12),
            json!("success"),
            json!([{"OP_ID": "OP_TEST_DELAY", "duration": 0.5, "on_nodes": []}]),
            json!([null]),
            json!(["success"]),
            json!([[[1, t(100, 7), "message", "hello"]]]),
            json!([t(100, 5)]),
            json!([t(100, 6)]),
            json!([null]),
            t(100, 0),
            t(100, 10_000),
            json!(null),
        ];
        let response = QueryResponse {
            data: vec![row.into_iter().map(Cell::new).collect()],
            fields: Vec::new(),
        };
        let text = dump(&[12, 13], &response).render();
        let time = |micros| clock::stamp_micros(100, micros);
        let expected = [
            "- Job ID: 12".to_owned(),
            "  Status: success".to_owned(),
            format!("  Received:         {}", time(0)),
            format!("  Processing start: {} (delta 0.010000s)", time(10_000)),
            "  Processing end:   unknown (None)".to_owned(),
            "  Total processing time: N/A".to_owned(),
            "  Opcodes: ".to_owned(),
            "    - Opcode: OP_TEST_DELAY".to_owned(),
            "      Status: success".to_owned(),
            format!("      Processing start: {}", time(5)),
            format!("      Execution start:  {}", time(6)),
            "      Processing end:   N/A".to_owned(),
            "      Input fields: ".to_owned(),
            "        OP_ID: OP_TEST_DELAY".to_owned(),
            "        duration: 0.5".to_owned(),
            "        on_nodes: ".to_owned(),
            "      Result: None".to_owned(),
            "      Execution log: ".to_owned(),
            format!("        - Time: {}", time(7)),
            "          Content: [1, message, hello]".to_owned(),
            "- Job ID 13 not found\n".to_owned(),
        ];
        assert_eq!(text, expected.join("\n"));
    }
}
