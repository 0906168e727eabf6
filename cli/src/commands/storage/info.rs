//! `gnt-storage info`.

use super::diagnose::{Provider, query, sorted};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::submit::PriorityOption;
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::pyrepr;
use serde_json::Value;

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    #[command(flatten)]
    job: PriorityOption,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Only these
    #[arg(value_name = "PROVIDER")]
    names: Vec<String>,
}

impl Verb for Info {
    const NAME: &'static str = "info";
    const ALIASES: &'static [&'static str] = &["show"];
    const ABOUT: &'static str = "Show info about ExtStorage providers";

    async fn run(self, cx: &Cx) -> Outcome {
        let fields = ["name", "nodegroup_status", "parameters"];
        let mut list = query(cx, &fields, &self.job.how()).await?;
        let mut missing = self.names.clone();
        list.retain(|provider| self.names.is_empty() || self.names.contains(&name(provider)));
        missing.retain(|wanted| !list.iter().any(|provider| name(provider) == *wanted));
        if self.json {
            let list = list.into_iter().map(Value::Object).collect();
            return cx.io.write_out(&crate::table::pretty(&Value::Array(list)));
        }
        for provider in &list {
            say!(cx, "{}", report(provider));
        }
        for name in missing {
            say!(cx, "{name}: Not Found\n");
        }
        Ok(())
    }
}

fn name(provider: &Provider) -> String {
    provider.get("name").map(pyrepr::str).unwrap_or_default()
}

fn report(provider: &Provider) -> String {
    let field = |name: &str| provider.get(name).unwrap_or(&Value::Null);
    let mut lines = vec![format!("{}:", name(provider))];
    let mut groups = sorted(field("nodegroup_status"));
    groups.retain(|(_, status)| **status == Value::Bool(true));
    if groups.is_empty() {
        lines.push("  - Invalid for all nodegroups".into());
    } else {
        lines.push("  - Valid for nodegroups:".into());
        lines.extend(groups.iter().map(|(group, _)| format!("      {group}")));
        lines.push("  - Supported parameters:".into());
        for parameter in field("parameters").as_array().into_iter().flatten() {
            let part = |i: usize| pyrepr::str(parameter.get(i).unwrap_or(&Value::Null));
            lines.push(format!("      {}: {}", part(0), part(1)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}
