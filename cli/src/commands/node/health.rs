//! `gnt-node health`.

use super::out_of_band::{self, TableLook};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, PriorityOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::OobAction;
use roost_proto::opcodes::OobCommand;
use serde_json::Value;

/// `health`.
#[derive(Args, Debug)]
pub struct Health {
    #[command(flatten)]
    look: TableLook,
    #[command(flatten)]
    priority: PriorityOption,
    /// Seconds after which an out-of-band helper is given up
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    oob_timeout: u64,
    /// Only these
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl Verb for Health {
    const NAME: &'static str = "health";
    const ABOUT: &'static str = "Lists the health of nodes, as their out-of-band helpers tell it";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = OobCommand {
            node_names: self.nodes,
            timeout: self.oob_timeout,
            ..OobCommand::new(OobAction::Health)
        };
        let rows = submit::run(cx, op, &self.priority.how()).await?;
        out_of_band::print(cx, &rows, &self.look, items)
    }
}

/// `item=STATUS` each; one line at least, for the node's name.
fn items(health: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let items = health.as_array().into_iter().flatten();
    let mut lines: Vec<_> =
        items.map(|item| format!("{}={}", text(&item[0]), text(&item[1]))).collect();
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}
