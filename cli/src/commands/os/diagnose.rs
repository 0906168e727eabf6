//! `gnt-os diagnose`, and what all commands about operating systems know.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::submit::{self, How, PriorityOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::nicesort;
use roost_proto::opcodes::OsDiagnose;
use roost_proto::query::pyrepr;
use serde_json::{Map, Value};

/// What `OP_OS_DIAGNOSE` tells of one: its fields by name.
#[derive(Clone, Debug)]
pub struct Os(Map<String, Value>);

impl Os {
    /// A field.
    pub fn get(&self, field: &str) -> &Value {
        self.0.get(field).unwrap_or(&Value::Null)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.get("name").as_str().unwrap_or_default()
    }

    /// A flag.
    pub fn is(&self, field: &str) -> bool {
        self.get(field) == &Value::Bool(true)
    }

    /// The names it is installed by: with a variant, if it has any.
    pub fn full_names(&self) -> Vec<String> {
        let variants = words(self.get("variants"));
        if variants.is_empty() {
            return vec![self.name().to_owned()];
        }
        variants.iter().map(|variant| format!("{}+{variant}", self.name())).collect()
    }
}

/// The items of a list as text.
pub fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(pyrepr::str).collect()
}

/// Asks for fields of operating systems.
pub async fn query(cx: &Cx, fields: &[&str], names: &[String], how: &How) -> Outcome<Vec<Os>> {
    let columns: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let op = OsDiagnose { names: names.to_vec(), ..OsDiagnose::new(columns.clone()) };
    let rows = submit::run(cx, op, how).await?;
    let os = |row: &Value| {
        let values = row.as_array().into_iter().flatten().cloned();
        Os(columns.iter().cloned().zip(values).collect())
    };
    Ok(rows.as_array().into_iter().flatten().map(os).collect())
}

/// Those that can be installed.
pub async fn usable(cx: &Cx) -> Outcome<Vec<Os>> {
    query(cx, &["name", "variants"], &[], &How::default()).await
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

const FIELDS: [&str; 9] = [
    "name",
    "valid",
    "variants",
    "parameters",
    "api_versions",
    "node_status",
    "hidden",
    "blacklisted",
    "trusted",
];

impl Verb for Diagnose {
    const NAME: &'static str = "diagnose";
    const ABOUT: &'static str = "Analyses the operating systems on all nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let list = query(cx, &FIELDS, &[], &self.job.how()).await?;
        if self.json {
            let list = list.iter().map(|os| Value::Object(os.0.clone())).collect();
            return cx.io.write_out(&crate::table::pretty(&Value::Array(list)));
        }
        let mut all_valid = true;
        for os in &list {
            let (text, valid) = report(os);
            all_valid &= valid;
            say!(cx, "{text}");
        }
        if all_valid { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}

/// What is said of one, and whether it is valid on all nodes.
///
/// A node's status is a list, one entry per directory it was found in; the first is used: path,
/// valid, message, variants, parameters, API versions, trusted.
fn report(os: &Os) -> (String, bool) {
    let mut nodes: Vec<(&String, &Value)> =
        os.get("node_status").as_object().into_iter().flatten().collect();
    nicesort::sort_by_key(&mut nodes, |(name, _)| name.as_str());
    let mut valid = 0;
    let mut lines = Vec::new();
    for (node, found) in &nodes {
        let Some(first) = found.get(0) else {
            lines.push(format!("  Node: {node}, status: invalid (not found)"));
            continue;
        };
        let part = |i: usize| first.get(i).unwrap_or(&Value::Null);
        let mut line = format!("  Node: {node}, status: ");
        if part(1) == &Value::Bool(true) {
            valid += 1;
            line.push_str(&format!("valid (path: {})", pyrepr::str(part(0))));
        } else {
            let why = pyrepr::str(part(2));
            line.push_str(&format!("invalid - {why} (path: {})", pyrepr::str(part(0))));
        }
        line.push_str(&format!(" [API versions: {}]", words(part(5)).join(", ")));
        if !words(part(3)).is_empty() {
            line.push_str(&format!(" [variants: {}]", words(part(3)).join(", ")));
        }
        let parameters: Vec<String> = part(4)
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| pyrepr::str(parameter.get(0).unwrap_or(parameter)))
            .collect();
        if !parameters.is_empty() {
            line.push_str(&format!(" [parameters: {}]", parameters.join(", ")));
        }
        let trusted = part(6) != &Value::Bool(false);
        line.push_str(if trusted { " [trusted]" } else { " [untrusted]" });
        lines.push(line);
        for other in found.as_array().into_iter().flatten().skip(1) {
            let path = pyrepr::str(other.get(0).unwrap_or(&Value::Null));
            lines.push(format!("    [hidden] path: {path}"));
        }
    }
    let global = match (valid, os.is("valid")) {
        (_, true) => "valid",
        (0, _) => "invalid",
        _ => "partial valid",
    };
    let mut title = format!("OS: {} [global status: {global}]", os.name());
    for flag in ["hidden", "blacklisted"] {
        if os.is(flag) {
            title.push_str(&format!(" [{flag}]"));
        }
    }
    let mut text = vec![title];
    let variants = words(os.get("variants"));
    if !variants.is_empty() {
        text.push(format!("  Variants: [{}]", variants.join(", ")));
    }
    text.extend(lines);
    text.push(String::new());
    (text.join("\n"), os.is("valid"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report() {
        let Value::Object(fields) = json!({
            "name": "debian", "valid": false, "variants": ["min"], "hidden": true,
            "node_status": {
                "n10": [],
                "n2": [["/srv/os/debian", true, "", ["min"], [["a", "text"]], [20], true]],
                "n3": [["/srv/os/debian", false, "no create script", [], [], [20], false]],
            },
        }) else {
            panic!("an object")
        };
        let (text, valid) = report(&Os(fields));
        assert!(!valid);
        assert_eq!(
            text,
            "OS: debian [global status: partial valid] [hidden]\n  Variants: [min]\n  \
             Node: n2, status: valid (path: /srv/os/debian) [API versions: 20] [variants: min] \
             [parameters: a] [trusted]\n  Node: n3, status: invalid - no create script (path: \
             /srv/os/debian) [API versions: 20] [untrusted]\n  \
             Node: n10, status: invalid (not found)\n"
        );
    }
}
