//! One step: doing what its task says, on nodes or here.

use super::carry_out::Run;
use super::plan::{Step, Task};
use super::{StepId, hooks};
use roost_proto::error::{Error, Result};
use roost_proto::node::{Action, ExportAction, Outcome};
use roost_proto::params::ParamMap;
use serde_json::Value;
use std::time::Duration;

impl Run<'_> {
    fn step_id(&self, step: usize, undo: bool) -> StepId {
        StepId { job: self.entry.id, op: self.op, step, undo }
    }

    /// Does the task of a step. Returns the devices it found, if that is what it does.
    pub(super) async fn step(
        &self,
        step: &Step,
        number: usize,
        task: &Task,
        undo: bool,
    ) -> Result<Vec<String>> {
        let total = self.plan.before.len() + self.plan.after.len();
        self.entry.update_progress(|p| {
            *p = roost_proto::job::JobProgress {
                op: self.op,
                step: number,
                steps: total,
                doing: if undo { format!("undoing: {}", step.name) } else { step.name.clone() },
                ..Default::default()
            };
        });
        if let (Some(line), false) = (&step.say, undo) {
            self.entry.say(self.op, line);
        }
        let id = self.step_id(number, undo);
        match task {
            Task::Sleep { duration } => {
                let pause = Duration::try_from_secs_f64(*duration)
                    .map_err(|e| Error::wrong_input(format!("Invalid duration: {e}")))?;
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.entry.cancel.cancelled(), if !undo => {}
                }
                Ok(vec![])
            }
            Task::Node { node, action } => self.on_node(id, *node, action).await,
            Task::Nodes { nodes, action } => {
                // All at once; the first failure counts, but all are waited for.
                let all = nodes.iter().map(|node| self.on_node(id, *node, action));
                let results = hooks::merged(join_all(all).await);
                let all: Vec<Vec<String>> = results.into_iter().collect::<Result<_>>()?;
                Ok(all.concat())
            }
        }
    }

    async fn on_node(
        &self,
        id: StepId,
        node: roost_proto::ids::NodeId,
        action: &Action,
    ) -> Result<Vec<String>> {
        let progress = |p: roost_proto::node::Progress| {
            if let Some(line) = &p.message {
                self.entry.say(self.op, line);
            }
            self.entry.update_progress(|now| {
                now.percent = p.percent;
                now.rate = p.rate;
                now.eta = p.eta;
            });
        };
        let action = self.with_secrets(action)?;
        let ran = self.engine.0.hands.run(id, node, &action, &progress).await;
        let ran = match ran {
            Err(error) if hooks::may_veto(&action) => {
                // Who does not answer does not object.
                let name = self.engine.0.state.config().node_name(node);
                self.entry.warn(self.op, format!("Hooks of node {name} are not run: {error}"));
                return Ok(vec![]);
            }
            ran => ran?,
        };
        let Outcome { messages, hooks, devices, .. } = ran;
        for line in messages {
            self.entry.say(self.op, line);
        }
        if hooks::may_veto(&action) {
            let name = self.engine.0.state.config().node_name(node);
            return hooks::verdict(&name, &hooks).map(|()| devices);
        }
        for hook in hooks.iter().filter(|h| h.ok == Some(false)) {
            let config = self.engine.0.state.config();
            self.entry.warn(
                self.op,
                format!(
                    "On {} script {} failed, output: {}",
                    config.node_name(node),
                    hook.script,
                    hook.output.trim()
                ),
            );
        }
        Ok(devices)
    }

    /// Secret OS parameters are in no journal: they are put in at the last moment.
    fn with_secrets<'b>(&self, given: &'b Action) -> Result<std::borrow::Cow<'b, Action>> {
        use std::borrow::Cow;
        let redacted = Value::String(roost_proto::opcodes::REDACTED.into());
        let mut action = given.clone();
        let hidden = private_params(&mut action).into_iter().flatten();
        let mut hidden: Vec<_> = hidden.filter(|(_, value)| **value == redacted).collect();
        if hidden.is_empty() {
            return Ok(Cow::Borrowed(given));
        }
        let input = self.entry.input(self.op)?.to_json();
        let secrets = input.get("osparams_secret").cloned().unwrap_or_default();
        for (name, value) in &mut hidden {
            match secrets.get(name.as_str()) {
                Some(secret) if *secret != redacted => **value = secret.clone(),
                _ => {
                    return Err(Error::wrong_state("Please re-submit secret parameters to job."));
                }
            }
        }
        drop(hidden);
        Ok(Cow::Owned(action))
    }
}

/// The parameters of an OS that are not for everybody, where an action has some.
fn private_params(action: &mut Action) -> Option<&mut ParamMap> {
    match action {
        Action::OsRun { osparams_private, .. } => Some(osparams_private),
        Action::Export(
            ExportAction::Accept { scripts, .. } | ExportAction::Send { scripts, .. },
        ) => Some(&mut scripts.osparams_private),
        _ => None,
    }
}

/// Waits for all futures; results in order.
pub(super) async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<T>> = pinned.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, slot) in pinned.iter_mut().zip(results.iter_mut()) {
            if slot.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *slot = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    results.into_iter().flatten().collect()
}
