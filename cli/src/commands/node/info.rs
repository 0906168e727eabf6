//! `gnt-node info`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::info_dump::{Fields, Info as Dump};
use crate::table;
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::filter::names_filter;
use roost_proto::query::{Cell, QueryResponse, Resource, pyrepr};
use serde_json::Value;

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Only these
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

const FIELDS: [&str; 14] = [
    "name",
    "pip",
    "sip",
    "master_candidate",
    "drained",
    "offline",
    "master_capable",
    "vm_capable",
    "powered",
    "pinst_list",
    "sinst_list",
    "ndparams",
    "custom_ndparams",
    "accelerators",
];

impl Verb for Info {
    const NAME: &'static str = "info";
    const ALIASES: &'static [&'static str] = &["show"];
    const ABOUT: &'static str = "Shows information about the nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let filter = names_filter(&self.nodes, "name", false)
            .map_err(|error| roost_proto::error::Error::wrong_input(error.to_string()))?;
        let response = cx.client().await?.query(Resource::Node, &FIELDS, filter.as_ref()).await?;
        cx.io.write_out(&match self.json {
            true => table::pretty(&table::json_rows(&response)),
            false => dump(&response).render(),
        })
    }
}

fn dump(response: &QueryResponse) -> Dump {
    Dump::List(response.data.iter().map(|row| node(row)).collect())
}

fn node(row: &[Cell]) -> Dump {
    let cell = |name: &str| FIELDS.iter().position(|field| *field == name).map(|i| &row[i]);
    let value = |name: &str| cell(name).map_or(&Value::Null, |cell| &cell.value);
    let mut fields = Fields::new();
    fields.text("Node name", pyrepr::str(value("name")));
    fields.text("primary ip", pyrepr::str(value("pip")));
    fields.text("secondary ip", pyrepr::str(value("sip")));
    fields.text("master candidate", pyrepr::str(value("master_candidate")));
    fields.text("drained", pyrepr::str(value("drained")));
    fields.text("offline", pyrepr::str(value("offline")));
    if cell("powered").is_some_and(Cell::is_normal) {
        fields.text("powered", pyrepr::str(value("powered")));
    }
    fields.text("master_capable", pyrepr::str(value("master_capable")));
    fields.text("vm_capable", pyrepr::str(value("vm_capable")));
    if value("vm_capable") == true {
        fields.add("primary for instances", Dump::json(value("pinst_list")));
        fields.add("secondary for instances", Dump::json(value("sinst_list")));
    }
    fields.add("node parameters", Dump::params(value("custom_ndparams"), value("ndparams")));
    if let Some(Value::Object(all)) = cell("accelerators").map(|cell| &cell.value) {
        let mut hypervisors = Fields::new();
        for (name, accelerator) in all {
            hypervisors.text(name, accelerator_text(accelerator));
        }
        fields.add("hypervisors", hypervisors.done());
    }
    fields.done()
}

/// `tcg (KVM does not run guests here: …; qemu 10.0.2, libvirt 11.3.0)`.
fn accelerator_text(accelerator: &Value) -> String {
    let text = |key: &str| accelerator.get(key).and_then(Value::as_str).unwrap_or_default();
    let state = match accelerator.get("usable") {
        Some(Value::Bool(false)) => "not usable",
        _ => text("accelerator"),
    };
    let notes: Vec<_> =
        [text("reason"), text("version")].into_iter().filter(|note| !note.is_empty()).collect();
    if notes.is_empty() { state.to_owned() } else { format!("{state} ({})", notes.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn looks_like_ganetis() {
        let mut row: Vec<Cell> = [
            json!("n1"),
            json!("10.0.0.1"),
            json!("10.1.0.1"),
            json!(true),
            json!(false),
            json!(false),
            json!(true),
            json!(true),
            json!(null),
            json!(["web1", "web2"]),
            json!([]),
            json!({"ssh_port": 22, "ovs": true}),
            json!({"ovs": true}),
            json!({"kvm": {"usable": true, "accelerator": "tcg", "reason": "no /dev/kvm",
                           "version": "qemu 10.0.2"}}),
        ]
        .into_iter()
        .map(Cell::new)
        .collect();
        row[8] = Cell::UNAVAILABLE;
        let text = dump(&QueryResponse { data: vec![row], fields: Vec::new() }).render();
        assert_eq!(
            text,
            "- Node name: n1\n  primary ip: 10.0.0.1\n  secondary ip: 10.1.0.1\n  \
             master candidate: True\n  drained: False\n  offline: False\n  master_capable: True\n  \
             vm_capable: True\n  primary for instances: \n    - web1\n    - web2\n  \
             secondary for instances: \n  node parameters: \n    ovs: True\n    \
             ssh_port: default (22)\n  hypervisors: \n    kvm: tcg (no /dev/kvm; qemu 10.0.2)\n"
        );
    }
}
