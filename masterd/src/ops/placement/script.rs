//! What allocator scripts answer: read, and checked before anything is done with it.
//!
//! ```text
//!   {"success": true, "info": "…", "result": …}     `nodes` instead of `result` is an older word for it
//! ```

use super::moves::{How, Moves, adapt};
use super::{Asking, Request, Several};
use crate::ops::Context;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::{OpCode, OpInput};
use serde_json::Value;

/// How much of an answer a message shows, characters.
const SHOWN: usize = 200;

/// What a script said. Errors: it failed, and why.
pub fn said<'b>(cx: &Context<'_, 'b>, name: &str) -> Result<&'b str> {
    let master = cx.config().master();
    let asked =
        |q: &Question| matches!(q, Question::Iallocator { name: asked, .. } if asked == name);
    cx.answer(master, asked, |answer| match answer {
        Answer::Iallocator(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The result in an answer. Errors: it is none, or there is no result.
fn result(cx: &Context<'_, '_>, asking: &Asking, name: &str) -> Result<Value> {
    let text = said(cx, name)?;
    let bad = |why: &str| {
        let shown: String = text.chars().take(SHOWN).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        Error::exec(format!(
            "Can't parse iallocator results of '{name}': {why}; it said: {}{more}",
            shown.trim()
        ))
    };
    let mut answer: Value = serde_json::from_str(text).map_err(|e| bad(&e.to_string()))?;
    let Some(answer) = answer.as_object_mut() else { return Err(bad("not a dict")) };
    if let Some(result) = answer.remove("nodes")
        && !answer.contains_key("result")
    {
        answer.insert("result".into(), result);
    }
    for key in ["success", "info", "result"] {
        if !answer.contains_key(key) {
            return Err(bad(&format!("missing key '{key}'")));
        }
    }
    let Some(success) = answer["success"].as_bool() else {
        return Err(bad("'success' is neither true nor false"));
    };
    let info = answer["info"].as_str().map_or_else(|| answer["info"].to_string(), str::to_owned);
    if !success {
        return Err(asking.failed(&info));
    }
    Ok(answer.remove("result").unwrap_or_default())
}

/// A result that is not what was asked for.
fn invalid(name: &str, expected: &str, got: &Value) -> Error {
    let shown: String = got.to_string().chars().take(SHOWN).collect();
    Error::exec(format!(
        "Iallocator '{name}' returned invalid result, expected {expected}, got {shown}"
    ))
}

/// A list of names of nodes.
fn node_list(cx: &Context<'_, '_>, name: &str, value: &Value) -> Result<Vec<NodeId>> {
    let expected = "a list of node names";
    let list = value.as_array().ok_or_else(|| invalid(name, expected, value))?;
    let known = |one: &Value| {
        let node = one.as_str().ok_or_else(|| invalid(name, expected, value))?;
        let known = cx.config().index.node_by_name.get(node).copied();
        known.ok_or_else(|| invalid(name, &format!("{expected}; '{node}' is none"), value))
    };
    list.iter().map(known).collect()
}

/// As many different nodes as are needed, all of which may be chosen.
fn chosen(
    cx: &Context<'_, '_>,
    asking: &Asking,
    (name, needed): (&str, usize),
    nodes: &[NodeId],
) -> Result<()> {
    if nodes.len() != needed {
        return Err(Error::exec(format!(
            "Invalid number of nodes ({}) returned by iallocator '{name}', required {needed}",
            nodes.len()
        )));
    }
    if nodes.len() == 2 && nodes[0] == nodes[1] {
        let node = cx.config().node_name(nodes[0]);
        return Err(Error::exec(format!("Iallocator '{name}' returned node {node} twice")));
    }
    match nodes.iter().find(|node| !asking.nodes.contains(node)) {
        None => Ok(()),
        Some(node) => Err(Error::exec(format!(
            "Iallocator '{name}' returned node {}, which can't be chosen here{}",
            cx.config().node_name(*node),
            match asking.refused.is_empty() {
                true => String::new(),
                false => format!(" ({})", asking.refused.join("; ")),
            }
        ))),
    }
}

/// Single nodes.
pub fn nodes(cx: &Context<'_, '_>, asking: &Asking, name: &str) -> Result<Vec<NodeId>> {
    let config = cx.config();
    let mut value = result(cx, asking, name)?;
    let needed = match &asking.request {
        Request::Allocate(new) => new.nodes(),
        // Told by its name alone.
        Request::AllocateSecondary(_) => {
            if value.is_string() {
                value = Value::Array(vec![value]);
            }
            1
        }
        _ => 1,
    };
    let nodes = node_list(cx, name, &value)?;
    chosen(cx, asking, (name, needed), &nodes)?;
    if let Request::Relocate(_, from) = &asking.request {
        let group = |id: NodeId| config.node_by_id(id).map(|node| config.group_name(node.group));
        let (was, is) = (group(*from)?, group(nodes[0])?);
        if was != is {
            return Err(Error::exec(format!(
                "Groups of nodes returned by iallocator '{name}' ({is}) differ from original \
                 groups ({was})"
            )));
        }
    }
    Ok(nodes)
}

/// Several new instances.
pub fn several(cx: &Context<'_, '_>, asking: &Asking, name: &str) -> Result<Several> {
    let Request::MultiAllocate(all) = &asking.request else {
        return Err(Error::internal("This request is not about new instances"));
    };
    let value = result(cx, asking, name)?;
    let expected = "[[[instance, [nodes]], …], [failed instances]]";
    let wrong = || invalid(name, expected, &value);
    let parts = value.as_array().ok_or_else(wrong)?;
    let [Value::Array(placed), Value::Array(failed)] = parts.as_slice() else {
        return Err(wrong());
    };
    let asked = |instance: &str| all.iter().find(|new| new.name == instance);
    let mut several = Several::default();
    for one in placed {
        let parts = one.as_array().map(Vec::as_slice);
        let Some([Value::String(instance), nodes]) = parts else { return Err(wrong()) };
        let new = asked(instance).ok_or_else(wrong)?;
        let nodes = node_list(cx, name, nodes)?;
        chosen(cx, asking, (name, new.nodes()), &nodes)?;
        several.placed.push((instance.clone(), nodes));
    }
    for one in failed {
        // With a reason, as hail tells them, or without.
        let (instance, why) = match one.as_array().map(Vec::as_slice) {
            Some([instance, why]) => (instance, why.as_str().unwrap_or_default()),
            _ => (one, ""),
        };
        let instance = instance.as_str().ok_or_else(wrong)?;
        asked(instance).ok_or_else(wrong)?;
        several.failed.push((instance.to_owned(), why.to_owned()));
    }
    for new in all {
        let told = |name: &String| *name == new.name;
        let times = several.placed.iter().filter(|(name, _)| told(name)).count()
            + several.failed.iter().filter(|(name, _)| told(name)).count();
        if times != 1 {
            return Err(Error::exec(format!(
                "Iallocator '{name}' told {times} times, not once, where instance '{}' goes",
                new.name
            )));
        }
    }
    Ok(several)
}

/// Moves: `[moved, failed, jobs]`.
pub fn moves(cx: &Context<'_, '_>, asking: &Asking, name: &str, how: &How) -> Result<Moves> {
    let value = result(cx, asking, name)?;
    let expected = "[[[instance, group, [nodes]], …], [[instance, reason], …], [jobs]]";
    let wrong = || invalid(name, expected, &value);
    let parts = value.as_array().map(Vec::as_slice);
    let Some([Value::Array(moved), Value::Array(failed), Value::Array(jobs)]) = parts else {
        return Err(wrong());
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
    let mut moves = Moves::default();
    for one in moved {
        let parts = one.as_array().map(Vec::as_slice);
        let Some([instance, group, Value::Array(nodes)]) = parts else { return Err(wrong()) };
        let nodes = nodes.iter().map(text).collect::<Result<_>>()?;
        moves.moved.push((text(instance)?, text(group)?, nodes));
    }
    for one in failed {
        let parts = one.as_array().map(Vec::as_slice);
        let Some([instance, why]) = parts else { return Err(wrong()) };
        moves.failed.push((text(instance)?, why.as_str().unwrap_or_default().to_owned()));
    }
    for one in jobs {
        let parts = one.as_array().ok_or_else(wrong)?;
        // A job, or a set of jobs.
        match parts.iter().all(Value::is_object) {
            true => moves.jobs.push(job(cx, name, parts, how)?),
            false => {
                for one in parts {
                    let ops = one.as_array().ok_or_else(wrong)?;
                    moves.jobs.push(job(cx, name, ops, how)?);
                }
            }
        }
    }
    Ok(moves)
}

/// A job: moves of instances and nothing else.
fn job(cx: &Context<'_, '_>, name: &str, ops: &[Value], how: &How) -> Result<Vec<OpInput>> {
    let mut job = Vec::new();
    for op in ops {
        let mut op = OpInput::from_json(op)
            .map_err(|error| error.at(format!("Job returned by iallocator '{name}'")))?;
        let instance = match &op.op {
            OpCode::InstanceFailover(op) => &op.instance_name,
            OpCode::InstanceMigrate(op) => &op.instance_name,
            OpCode::InstanceReplaceDisks(op) => &op.instance_name,
            other => {
                return Err(Error::exec(format!(
                    "Iallocator '{name}' returned a job with {}; it may have \
                     OP_INSTANCE_FAILOVER, OP_INSTANCE_MIGRATE and OP_INSTANCE_REPLACE_DISKS",
                    other.op_id()
                )));
            }
        };
        cx.config()
            .instance(instance)
            .map_err(|error| error.at(format!("Job returned by iallocator '{name}'")))?;
        adapt(&mut op, how);
        job.push(op);
    }
    match job.is_empty() {
        true => Err(Error::exec(format!("Iallocator '{name}' returned a job without opcodes"))),
        false => Ok(job),
    }
}
