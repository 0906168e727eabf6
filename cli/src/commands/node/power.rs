//! `gnt-node power`.

use super::out_of_band::{self, TableLook};
use crate::confirm;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::submit::{self, SubmitPriority};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::OobAction;
use roost_proto::opcodes::{NodeSetParams, OobCommand, OpCode};
use serde_json::Value;

/// `power`.
#[derive(Args, Debug)]
pub struct Power {
    #[command(flatten)]
    look: TableLook,
    #[command(flatten)]
    job: SubmitPriority,
    /// Make other nodes candidates if marking these offline leaves too few
    #[arg(long)]
    auto_promote: bool,
    /// Power off nodes that are not marked offline, and do not mark them
    #[arg(long)]
    ignore_status: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Seconds after which an out-of-band helper is given up
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    oob_timeout: u64,
    /// Seconds to wait between nodes that are powered on
    #[arg(long, value_name = "SECS", default_value_t = 2.0)]
    power_delay: f64,
    /// What to do: on, off, cycle, status
    #[arg(value_name = "on|off|cycle|status")]
    command: String,
    /// The nodes; for 'on' and 'status' all, if there are none
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl Power {
    fn opcodes(&self, action: OobAction) -> Vec<OpCode> {
        let mut ops: Vec<OpCode> = Vec::new();
        if action == OobAction::PowerOff && !self.ignore_status {
            ops.extend(self.nodes.iter().map(|node| -> OpCode {
                NodeSetParams {
                    offline: Some(true),
                    auto_promote: self.auto_promote,
                    ..NodeSetParams::new(node.clone())
                }
                .into()
            }));
        }
        let command = OobCommand {
            node_names: self.nodes.clone(),
            timeout: self.oob_timeout,
            ignore_status: self.ignore_status,
            power_delay: self.power_delay,
            ..OobCommand::new(action)
        };
        ops.push(command.into());
        ops
    }
}

impl Verb for Power {
    const NAME: &'static str = "power";
    const ABOUT: &'static str =
        "Changes the power state of nodes, or shows it, by their out-of-band helpers";

    async fn run(self, cx: &Cx) -> Outcome {
        let action = match self.command.as_str() {
            "on" => OobAction::PowerOn,
            "off" => OobAction::PowerOff,
            "cycle" => OobAction::PowerCycle,
            "status" => OobAction::PowerStatus,
            other => {
                return Err(Failure::say(format!("power subcommand {other} not supported.")));
            }
        };
        if matches!(action, OobAction::PowerOff | OobAction::PowerCycle) {
            if self.nodes.is_empty() {
                return Err(Failure::say("Please provide at least one node for this command"));
            }
            let operation = format!("power {}", self.command);
            if !self.force && !confirm::several(cx, &self.nodes, "nodes", &operation, "") {
                return Err(Failure::Exit(1));
            }
        }
        let results = submit::run_all(cx, self.opcodes(action), &self.job.how()).await?;
        let rows = results.last().cloned().unwrap_or_default();
        out_of_band::print(cx, &rows, &self.look, |value| vec![tell(action, value).to_owned()])
    }
}

fn tell(action: OobAction, value: &Value) -> &'static str {
    match (action, value["powered"].as_bool()) {
        (OobAction::PowerStatus, Some(true)) => "powered",
        (OobAction::PowerStatus, _) => "unpowered",
        _ => "invoked",
    }
}
