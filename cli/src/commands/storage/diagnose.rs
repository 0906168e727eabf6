//! `gnt-storage diagnose`, and how all its commands ask.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::submit::{self, How, PriorityOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::nicesort;
use roost_proto::opcodes::ExtStorageDiagnose;
use roost_proto::query::pyrepr;
use serde_json::{Map, Value};

/// A provider: the fields that were asked for, by name.
pub type Provider = Map<String, Value>;

/// Asks for fields of all providers. Errors: there are none.
pub async fn query(cx: &Cx, fields: &[&str], how: &How) -> Outcome<Vec<Provider>> {
    let columns: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let rows = submit::run(cx, ExtStorageDiagnose::new(columns.clone()), how).await?;
    let provider = |row: &Value| -> Provider {
        let values = row.as_array().into_iter().flatten().cloned();
        columns.iter().cloned().zip(values).collect()
    };
    let list: Vec<Provider> = rows.as_array().into_iter().flatten().map(provider).collect();
    if list.is_empty() {
        return Err(Failure::say("Can't get the ExtStorage providers list"));
    }
    Ok(list)
}

/// The entries of an object, in the order of their names.
pub fn sorted(object: &Value) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = object.as_object().into_iter().flatten().collect();
    nicesort::sort_by_key(&mut all, |(name, _)| name.as_str());
    all
}

/// `diagnose`.
#[derive(Args, Debug)]
pub struct Diagnose {
    #[command(flatten)]
    job: PriorityOption,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Verb for Diagnose {
    const NAME: &'static str = "diagnose";
    const ABOUT: &'static str = "Diagnose all ExtStorage providers";

    async fn run(self, cx: &Cx) -> Outcome {
        let fields = ["name", "node_status", "nodegroup_status"];
        let list = query(cx, &fields, &self.job.how()).await?;
        if self.json {
            let list = list.into_iter().map(Value::Object).collect();
            return cx.io.write_out(&crate::table::pretty(&Value::Array(list)));
        }
        for provider in &list {
            say!(cx, "{}", report(provider));
        }
        Ok(())
    }
}

/// A node's status is a list, one entry per directory it was found in; the first is used: path,
/// valid, message, parameters.
fn report(provider: &Provider) -> String {
    let field = |name: &str| provider.get(name).unwrap_or(&Value::Null);
    let mut valid = vec![];
    let mut bad = vec![];
    for (node, found) in sorted(field("node_status")) {
        let Some(first) = found.get(0) else {
            bad.push(format!("  For node: {node} --> ExtStorage provider not found"));
            continue;
        };
        let part = |i: usize| first.get(i).unwrap_or(&Value::Null);
        let is_valid = part(1) == &Value::Bool(true);
        let status = match is_valid {
            true => "valid".to_owned(),
            false => format!("invalid - {}", pyrepr::str(part(2))),
        };
        let names: Vec<String> = part(3)
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| pyrepr::str(parameter.get(0).unwrap_or(parameter)))
            .collect();
        let parameters = match names.is_empty() {
            true => "no parameters".to_owned(),
            false => format!("parameters: {}", names.join(", ")),
        };
        let path = pyrepr::str(part(0));
        let line = format!("  For node: {node} --> {status} (path: {path}) [{parameters}]");
        if is_valid { valid.push(line) } else { bad.push(line) }
    }
    let groups = sorted(field("nodegroup_status"));
    let (good, others): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|(_, status)| **status == Value::Bool(true));
    let title = format!("Provider: {}", pyrepr::str(field("name")));
    let mut lines = vec![title];
    lines.extend(valid.into_iter().chain(bad));
    lines.extend(good.iter().map(|(group, _)| format!("  For nodegroup: {group} --> valid")));
    lines.extend(others.iter().map(|(group, _)| format!("  For nodegroup: {group} --> invalid")));
    lines.push(String::new());
    lines.join("\n")
}
