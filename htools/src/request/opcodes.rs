//! Jobs as an answer has them: opcodes with the fields, and in the order, that clients of the protocol know.

use crate::model::{Cluster, InstanceIdx, NodeIdx};
use crate::moves::Kind;
use std::fmt::Write;

/// How long a guest may take to stop, seconds.
const SHUTDOWN_TIMEOUT: u32 = 120;

/// One job: the opcodes of some steps.
pub(super) fn job(cluster: &Cluster, instance: InstanceIdx, steps: &[Kind]) -> String {
    let instance = &cluster.instances[instance.at()];
    let name = quoted(&instance.name);
    let node = |node: NodeIdx| quoted(&cluster.nodes[node.at()].name);
    let go = |to: Option<NodeIdx>| {
        let target = to.map(|to| format!(r#","target_node":{}"#, node(to))).unwrap_or_default();
        match instance.forthcoming {
            true => format!(
                r#"{{"OP_ID":"OP_INSTANCE_FAILOVER","instance_name":{name},"shutdown_timeout":{SHUTDOWN_TIMEOUT},"ignore_consistency":false{target},"ignore_ipolicy":false,"cleanup":false}}"#
            ),
            false => format!(
                r#"{{"OP_ID":"OP_INSTANCE_MIGRATE","instance_name":{name}{target},"allow_runtime_changes":false,"ignore_ipolicy":false,"cleanup":false,"allow_failover":true,"ignore_hvversions":true}}"#
            ),
        }
    };
    let replace = |to: NodeIdx| {
        let to = node(to);
        format!(
            r#"{{"OP_ID":"OP_INSTANCE_REPLACE_DISKS","instance_name":{name},"early_release":false,"ignore_ipolicy":false,"mode":"replace_new_secondary","disks":[],"remote_node":{to}}}"#
        )
    };
    let mut opcodes = vec![];
    for step in steps {
        match *step {
            Kind::Failover => opcodes.push(go(None)),
            Kind::FailoverToAny(to) => opcodes.push(go(Some(to))),
            Kind::ReplaceSecondary(to) => opcodes.push(replace(to)),
            Kind::ReplaceAndFailover(to) => opcodes.extend([replace(to), go(None)]),
            Kind::FailoverAndReplace(to) => opcodes.extend([go(None), replace(to)]),
            Kind::ReplacePrimary(to) => opcodes.extend([go(None), replace(to), go(None)]),
        }
    }
    format!("[{}]", opcodes.join(","))
}

/// A text as JSON has it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                // Writing to a string cannot fail.
                write!(out, "\\u{:04x}", u32::from(c)).ok();
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A list of texts as JSON has it.
pub(super) fn quoted_list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(quoted).collect();
    format!("[{}]", texts.join(","))
}
