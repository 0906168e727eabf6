//! The variables that scripts see, under their documented names.

use super::HookSet;
use crate::config::Config;
use roost_proto::ids::NodeId;
use serde_json::Value;
use std::collections::BTreeMap;

/// Variables by name.
pub type Vars = BTreeMap<String, String>;

/// Where administrators' scripts expect the state: Ganeti's path, whatever root the daemon has.
const DATA_DIR: &str = "/var/lib/ganeti";

/// The hooks of an opcode; names of variables still without prefix.
#[derive(Debug)]
pub struct Draft {
    pub path: &'static str,
    /// `INSTANCE`, `NODE`, `GROUP`, `CLUSTER`
    pub object: &'static str,
    pub pre_nodes: Vec<NodeId>,
    pub post_nodes: Vec<NodeId>,
    /// As it is; repeated in the post phase.
    pub before: Vars,
    /// As it will be: with the prefix `POST_`, in the post phase only.
    pub after: Vars,
}

impl Draft {
    /// All variables of both phases.
    pub fn finish(&self, op_id: &str, before: &Config, after: &Config) -> HookSet {
        let mut env = self.common(op_id, "pre", before);
        env.extend(prefixed("GANETI_", &self.before));
        let mut post_env = self.common(op_id, "post", after);
        post_env.extend(prefixed("GANETI_", &self.before));
        post_env.extend(prefixed("GANETI_POST_", &self.after));
        HookSet {
            path: self.path,
            pre_nodes: self.pre_nodes.clone(),
            post_nodes: self.post_nodes.clone(),
            env,
            post_env,
        }
    }

    fn common(&self, op_id: &str, phase: &str, config: &Config) -> Vars {
        let mut env = common(op_id, self.path, phase, config);
        env.insert("GANETI_OBJECT_TYPE".into(), self.object.into());
        env
    }
}

/// The variables of `config-update`: those of the opcode's pre phase, if it has hooks.
pub fn config_update(op_id: &str, config: &Config, draft: Option<&Draft>) -> Vars {
    let mut env = common(op_id, super::CONFIG_UPDATE, "post", config);
    if let Some(draft) = draft {
        env.insert("GANETI_OBJECT_TYPE".into(), draft.object.into());
        env.extend(prefixed("GANETI_", &draft.before));
    }
    env
}

fn common(op_id: &str, path: &str, phase: &str, config: &Config) -> Vars {
    let vars = [
        ("HOOKS_VERSION", "2".to_owned()),
        ("HOOKS_PHASE", phase.to_owned()),
        ("HOOKS_PATH", path.to_owned()),
        ("OP_CODE", op_id.to_owned()),
        ("DATA_DIR", DATA_DIR.to_owned()),
        ("CLUSTER", config.cluster.cluster_name.to_string()),
        ("MASTER", config.node_name(config.master())),
    ];
    vars.into_iter().map(|(name, value)| (format!("GANETI_{name}"), value)).collect()
}

fn prefixed(prefix: &str, vars: &Vars) -> Vars {
    vars.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())).collect()
}

/// Variables from pairs.
pub fn vars<const N: usize>(pairs: [(&str, String); N]) -> Vars {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A value as Python writes it, which is what existing scripts compare with.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `True` or `False`.
pub fn flag(value: bool) -> String {
    text(&Value::Bool(value))
}

/// The value, or `None`.
pub fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "None".into(), |value| value.to_string())
}

/// A flag that may be absent.
pub fn flag_or_none(value: Option<bool>) -> String {
    or_none(value.map(flag))
}

/// Tags in one variable.
pub fn joined(words: &[String]) -> String {
    let mut words = words.to_vec();
    words.sort();
    words.join(" ")
}
