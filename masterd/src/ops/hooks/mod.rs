//! Hooks: the administrator's scripts on nodes, before and after an operation.
//!
//! Added around the plan of any opcode, so that opcodes know nothing of them. Nodes report which
//! hooks they have: where there are none, nothing is added.
//!
//! ```text
//!   before: running pre hooks (may veto), the opcode's steps │ pivot │ its steps, running post hooks
//! ```

mod env;
mod instance;
mod set;

use crate::config::Config;
use crate::jobs::PlanInput;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use env::Vars;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, HookPhase};
use std::collections::BTreeSet;

/// What is run for changes of the configuration, whatever the opcode.
const CONFIG_UPDATE: &str = "config-update";

/// The hooks of an opcode: where they run, and with which variables.
#[derive(Debug)]
pub struct HookSet {
    /// `instance-add`
    pub path: &'static str,
    pub pre_nodes: Vec<NodeId>,
    pub post_nodes: Vec<NodeId>,
    /// All variables of the pre phase.
    pub env: Vars,
    /// All variables of the post phase.
    pub post_env: Vars,
}

/// The plan with the hooks that nodes have for it.
///
/// Errors: the plan's changes do not fit the configuration.
pub fn around(mut plan: Plan, input: &PlanInput<'_>) -> Result<Plan> {
    let seen = &input.facts.seen;
    if input.op.common.dry_run || seen.values().all(|view| view.report.hooks.is_empty()) {
        return Ok(plan);
    }
    let before = input.config;
    let (after, _) = before.apply(&plan.pivot.changes, 0.0).map_err(|rejected| {
        Error::wrong_state(format!("The configuration would refuse the changes: {rejected}"))
    })?;
    let draft = set::draft(&input.op.op, before, &after);
    let op_id = input.op.op.op_id();
    let mut silent = BTreeSet::new();

    let mut steps = Vec::new();
    if let Some(set) = draft.as_ref().map(|draft| draft.finish(op_id, before, &after)) {
        let pre = having(input, before, &set.pre_nodes, set.path, HookPhase::Pre, &mut silent);
        if let Some(step) = step(set.path, HookPhase::Pre, pre, set.env) {
            plan.before.insert(0, step);
        }
        let post = having(input, &after, &set.post_nodes, set.path, HookPhase::Post, &mut silent);
        steps.extend(step(set.path, HookPhase::Post, post, set.post_env));
    }
    if !plan.pivot.changes.is_empty() || !plan.pivot.rows.is_empty() {
        let master = [after.master()];
        let on = having(input, &after, &master, CONFIG_UPDATE, HookPhase::Post, &mut silent);
        let env = env::config_update(op_id, &after, draft.as_ref());
        steps.extend(step(CONFIG_UPDATE, HookPhase::Post, on, env));
    }
    plan.after.extend(steps.into_iter().map(|step| step.on_failure(OnFailure::Warn)));
    for node in silent {
        let node = before.node_name(node);
        plan.say.push(format!(" - WARNING: Node {node} does not answer: its hooks are not run"));
    }
    Ok(plan)
}

/// Those of the nodes that have hooks of a path and phase. Those that do not answer are left out and
/// put into `silent`.
fn having(
    input: &PlanInput<'_>,
    config: &Config,
    nodes: &[NodeId],
    path: &str,
    phase: HookPhase,
    silent: &mut BTreeSet<NodeId>,
) -> Vec<NodeId> {
    let directory = match phase {
        HookPhase::Pre => format!("{path}-pre.d"),
        HookPhase::Post => format!("{path}-post.d"),
    };
    let mut found = Vec::new();
    for id in nodes {
        let Some(view) = input.facts.seen.get(id) else { continue };
        let online = config.nodes.get(id).is_some_and(|node| !node.offline);
        if !online || !view.report.hooks.contains(&directory) || found.contains(id) {
            continue;
        }
        if view.up {
            found.push(*id);
        } else {
            silent.insert(*id);
        }
    }
    found
}

fn step(path: &str, phase: HookPhase, nodes: Vec<NodeId>, env: Vars) -> Option<Step> {
    if nodes.is_empty() {
        return None;
    }
    let name = match phase {
        HookPhase::Pre => "running pre hooks",
        HookPhase::Post => "running post hooks",
    };
    let action = Action::Hooks { path: path.to_owned(), phase, env };
    Some(Step::new(name, Task::Nodes { nodes, action: Box::new(action) }))
}

#[cfg(test)]
mod tests;
