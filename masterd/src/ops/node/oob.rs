//! `OP_OOB_COMMAND`: switches machines, or looks at them, by their out-of-band helpers.
//!
//! ```text
//!   health, power-status    asked before planning; the plan only says what helpers said
//!   power-on, -off, -cycle  a step on the master's node for each machine │ what is recorded as powered
//! ```
//!
//! The result has a row for each node: `[[0, name], [status, value]]`. What fails for one node is told
//! by its row and by a warning; the others are switched, and of what was switched the record changes.
//! A node without helper has the status *unavailable*. Source: Ganeti's reference on opcodes.

use super::oob_said::{self, Health};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::{Context, Operate, locking};
use roost_proto::choices::OobAction;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::{Action, Answer, OobCall, OobReply, Question};
use roost_proto::objects::Node;
use roost_proto::opcodes::OobCommand;
use roost_proto::params::fill;
use roost_proto::query::ResultStatus;
use serde_json::{Value, json};
use std::sync::Arc;

/// A helper may take so long, seconds: less than a node's answer is waited for.
const LONGEST: u64 = 840;
/// A pause between machines may be so long, seconds.
const LONGEST_PAUSE: f64 = 3600.0;

impl Operate for OobCommand {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        for node in nodes(self, config)? {
            locks.add(locking::node(node.uuid), Mode::Exclusive);
        }
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        check(self, config)?;
        let calls = calls(self, config)?;
        match switches(self.command) || calls.is_empty() {
            true => Ok(vec![]),
            false => Ok(vec![(config.master(), Question::Oob { calls })]),
        }
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        check(self, cx.config())?;
        match switches(self.command) {
            true => switch(self, cx),
            false => look(self, cx),
        }
    }
}

/// Whether it changes something.
fn switches(command: OobAction) -> bool {
    !matches!(command, OobAction::Health | OobAction::PowerStatus)
}

/// The master must not be switched off: nobody would switch it on again.
fn spares_master(command: OobAction) -> bool {
    matches!(command, OobAction::PowerOff | OobAction::PowerCycle)
}

/// The nodes it is about, in the order of their names.
fn nodes<'a>(op: &OobCommand, config: &'a Config) -> Result<Vec<&'a Arc<Node>>> {
    let names = op.node_uuids.as_ref().filter(|uuids| !uuids.is_empty());
    let names = names.unwrap_or(&op.node_names);
    let mut nodes = Vec::new();
    for id in super::named(config, names)? {
        if names.is_empty() && spares_master(op.command) && id == config.master() {
            continue;
        }
        nodes.extend(config.nodes.get(&id));
    }
    nicesort::sort_by_key(&mut nodes, |node| node.name.to_string());
    Ok(nodes)
}

/// A node's helper.
pub fn program(config: &Config, node: &Node) -> Option<String> {
    let group = config.groups.get(&node.group)?;
    let program = fill::ndparams(&config.cluster, group, node).oob_program;
    (!program.is_empty()).then_some(program)
}

fn check(op: &OobCommand, config: &Config) -> Result<()> {
    let command = op.command;
    if !(1..=LONGEST).contains(&op.timeout) {
        return Err(Error::wrong_input(format!(
            "The timeout of an out-of-band command must be between 1 and {LONGEST} seconds, not {}",
            op.timeout
        )));
    }
    if !(0.0..=LONGEST_PAUSE).contains(&op.power_delay) {
        return Err(Error::wrong_input(format!(
            "The delay between nodes must be between 0 and {LONGEST_PAUSE} seconds, not {}",
            op.power_delay
        )));
    }
    for node in nodes(op, config)? {
        if spares_master(command) && node.uuid == config.master() {
            let way_out = match program(config, node) {
                Some(program) => format!(
                    "run '{program} {command} {}' if you want to operate on the master regardless",
                    node.name
                ),
                None => "it does not support out-of-band operations".into(),
            };
            return Err(Error::wrong_input(format!(
                "Operating on the master node {} is not allowed for {command}; {way_out}",
                node.name
            )));
        }
        if command == OobAction::PowerOff && !op.ignore_status && !node.offline {
            return Err(Error::wrong_state(format!(
                "Cannot power off node {} because it is not marked offline; mark it with 'gnt-node \
                 modify --offline=yes', or give --ignore-status",
                node.name
            )));
        }
    }
    Ok(())
}

fn call(op: &OobCommand, config: &Config, node: &Node) -> Option<OobCall> {
    Some(OobCall {
        program: program(config, node)?,
        command: op.command,
        node: node.name.to_string(),
        timeout: op.timeout,
    })
}

fn calls(op: &OobCommand, config: &Config) -> Result<Vec<OobCall>> {
    Ok(nodes(op, config)?.into_iter().filter_map(|node| call(op, config, node)).collect())
}

fn row(node: &Node, status: ResultStatus, value: Value) -> Value {
    json!([[ResultStatus::Normal as u8, node.name.as_str()], [status as u8, value]])
}

/// A step for each machine, and what is recorded of it then.
fn switch(op: &OobCommand, cx: &mut Context<'_, '_>) -> Result<Plan> {
    let config = cx.config();
    let mut plan = cx.start_plan();
    let mut rows = Vec::new();
    for node in nodes(op, config)? {
        let Some(call) = call(op, config, node) else {
            rows.push(row(node, ResultStatus::Unavailable, Value::Null));
            continue;
        };
        if op.command == OobAction::PowerOn && op.power_delay > 0.0 && !plan.before.is_empty() {
            // So that not all of them draw the current of a start at once.
            let pause = Task::Sleep { duration: op.power_delay };
            let before = format!("waiting before node {} is powered on", node.name);
            plan.before.push(Step::new(before, pause));
        }
        let number = rows.len();
        let what = format!("Out-of-band command {} on node {}", op.command, node.name);
        let task = Task::on(config.master(), Action::Oob(call));
        let mut step = Step::new(what, task).for_row(number);
        step.stays = Some(format!(
            "Node {0} may have had its {1} already, which is not recorded: see 'gnt-node power status \
             {0}' and 'gnt-node modify --node-powered'",
            node.name, op.command
        ));
        plan.before.push(step);
        rows.push(row(node, ResultStatus::Normal, Value::Null));
        let powered = match op.command {
            OobAction::PowerOn => true,
            OobAction::PowerOff => false,
            _ => continue,
        };
        if node.powered != powered {
            let new = Node { powered, ..(**node).clone() };
            let change = Change::Update(Object::Node(Box::new(new)));
            plan.pivot.rows.push((number, change));
        }
    }
    plan.result = rows.into();
    Ok(plan)
}

/// What helpers said, and warnings about what is not well.
fn look(op: &OobCommand, cx: &mut Context<'_, '_>) -> Result<Plan> {
    let config = cx.config();
    let mut rows = Vec::new();
    for node in nodes(op, config)? {
        let Some(call) = call(op, config, node) else {
            rows.push(row(node, ResultStatus::Unavailable, Value::Null));
            continue;
        };
        match said(cx, &call).and_then(|text| read(op, cx, node, text)) {
            Ok(value) => rows.push(row(node, ResultStatus::Normal, value)),
            Err(error) => {
                let what = format!("Out-of-band command {} on node {}", op.command, node.name);
                cx.warn(format!("{what}: {error}"));
                rows.push(row(node, ResultStatus::NoData, Value::Null));
            }
        }
    }
    let mut plan = cx.start_plan();
    plan.result = rows.into();
    Ok(plan)
}

/// What the helper said in this run.
fn said<'b>(cx: &Context<'_, 'b>, call: &OobCall) -> Result<&'b str> {
    for (_, question, answer) in cx.answers() {
        let Question::Oob { calls } = question else { continue };
        let Some(place) = calls.iter().position(|asked| asked == call) else { continue };
        return match answer.as_ref().map_err(Clone::clone)? {
            Answer::Oob(replies) => match replies.get(place) {
                Some(OobReply::Said(text)) => Ok(text),
                Some(OobReply::Failed(why)) => Err(Error::exec(why)),
                None => Err(Error::internal("the master's node gave too few answers")),
            },
            _ => Err(Error::internal("the master's node gave an answer that does not fit")),
        };
    }
    // It came while the others were asked.
    Err(Error::wrong_state(
        "its helper was not asked, because its settings just changed; try again",
    ))
}

/// What the words of a helper mean.
fn read(op: &OobCommand, cx: &mut Context<'_, '_>, node: &Node, text: &str) -> Result<Value> {
    if op.command == OobAction::Health {
        let items = oob_said::health(text)?;
        for (item, health) in &items {
            if matches!(health, Health::Warning | Health::Critical) {
                let status = health.as_str();
                cx.warn(format!("Item '{item}' on node '{}' has status '{status}'", node.name));
            }
        }
        let rows = items.iter().map(|(item, health)| json!([item, health.as_str()]));
        return Ok(rows.collect());
    }
    let status = oob_said::power_status(text)?;
    if status.powered != node.powered {
        let word = |powered| if powered { "on" } else { "off" };
        cx.warn(format!(
            "Node {} is powered {}, but recorded as powered {}; correct it with 'gnt-node modify \
             --node-powered'",
            node.name,
            word(status.powered),
            word(node.powered)
        ));
    }
    Ok(status.whole)
}

#[cfg(test)]
#[path = "oob_tests.rs"]
mod tests;
