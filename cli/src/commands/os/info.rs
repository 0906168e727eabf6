//! `gnt-os info`.

use super::diagnose::{self, Os, words};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::info_dump::{Fields, Info as Dump};
use crate::submit::PriorityOption;
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::pyrepr;
use serde_json::{Value, json};

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    #[command(flatten)]
    job: PriorityOption,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Only these; with a variant its own settings are shown
    #[arg(value_name = "OS")]
    names: Vec<String>,
}

const FIELDS: [&str; 10] = [
    "name",
    "valid",
    "variants",
    "parameters",
    "api_versions",
    "blacklisted",
    "hidden",
    "os_hvp",
    "osparams",
    "trusted",
];

impl Verb for Info {
    const NAME: &'static str = "info";
    const ALIASES: &'static [&'static str] = &["show"];
    const ABOUT: &'static str = "Shows information about operating systems";

    async fn run(self, cx: &Cx) -> Outcome {
        let base = |name: &str| name.split('+').next().unwrap_or(name).to_owned();
        let list = diagnose::query(cx, &FIELDS, &[], &self.job.how()).await?;
        let names: Vec<String> = match self.names.is_empty() {
            true => list.iter().map(|os| os.name().to_owned()).collect(),
            false => self.names,
        };
        let find = |name: &str| list.iter().find(|os| os.name() == base(name));
        if self.json {
            let all = names.iter().map(|name| match find(name) {
                Some(os) => FIELDS.iter().map(|f| ((*f).to_owned(), os.get(f).clone())).collect(),
                None => json!({"name": name, "valid": false}),
            });
            return cx.io.write_out(&crate::table::pretty(&Value::Array(all.collect())));
        }
        let mut all = Vec::new();
        for name in &names {
            all.push((
                name.clone(),
                find(name).map_or_else(|| Dump::text("not found"), |os| one(name, os)),
            ));
        }
        cx.io.write_out(&Dump::Fields(all).render())
    }
}

fn one(name: &str, os: &Os) -> Dump {
    let mut fields = Fields::new();
    fields
        .text("valid", pyrepr::str(os.get("valid")))
        .text("hidden", pyrepr::str(os.get("hidden")))
        .text("blacklisted", pyrepr::str(os.get("blacklisted")))
        .text("API versions", words(os.get("api_versions")).join(", "))
        .text("variants", words(os.get("variants")).join(", "))
        .add("parameters", parameters(os.get("parameters")))
        .text("trusted", pyrepr::str(os.get("trusted")));
    if name.contains('+') {
        for (title, field) in [("hypervisor parameters", "os_hvp"), ("OS parameters", "osparams")] {
            let own = os.get(field).get(name).unwrap_or(&Value::Null);
            fields.add(title, if own.is_null() { Dump::Fields(vec![]) } else { Dump::json(own) });
        }
    }
    fields.done()
}

fn parameters(list: &Value) -> Dump {
    let entry = |pair: &Value| {
        let part = |i: usize| pyrepr::str(pair.get(i).unwrap_or(&Value::Null));
        (part(0), Dump::text(part(1)))
    };
    Dump::Fields(list.as_array().into_iter().flatten().map(entry).collect())
}
