//! Carrying out a plan from wherever its cursor is: before-steps, pivot, after-steps, undoing.
//!
//! ```text
//!   Before ──► pivot ──► After ──► concluded
//!     └─ failure, cancel ─► Undo ─► failed, canceled
//! ```

use super::debris;
use super::drive::Ended;
use super::engine::Engine;
use super::entry::JobEntry;
use super::journal::{self, cursor_body, cursor_key};
use super::plan::{Cursor, Debris, OnFailure, Phase, Plan, Step, Task};
use crate::clock;
use crate::state::Commit;
use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::job::{JobRecord, JobStatus, Timestamp};
use roost_proto::opcodes::OpInput;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often a step after the pivot is tried.
const FORWARD_TRIES: u32 = 3;
/// The pause before the second try; doubles each time.
const FORWARD_PAUSE: Duration = Duration::from_secs(1);

/// An opcode at work: what all its steps need.
pub(super) struct Run<'a> {
    pub engine: &'a Engine,
    pub entry: &'a Arc<JobEntry>,
    pub op: usize,
    pub plan: Arc<Plan>,
    /// From before a restart: its next step may have been done already.
    pub resumed: bool,
}

impl Run<'_> {
    /// From wherever the cursor is to the end.
    pub(super) async fn carry_on(&self, mut cursor: Cursor) -> Ended {
        loop {
            let ended = match cursor.phase.clone() {
                Phase::Before => self.before(&mut cursor).await,
                Phase::Undo { error } => return self.undo(&mut cursor, error).await,
                Phase::After => return self.after(&mut cursor).await,
            };
            if let Err(error) = ended {
                // The pivot was refused, or nothing can be stored any more.
                cursor.phase = Phase::Undo { error: Some(error) };
            }
        }
    }

    async fn save(&self, cursor: &Cursor) -> Result<()> {
        let key = cursor_key(self.entry.id, self.op);
        let puts = vec![self.entry.document(), (key, cursor_body(cursor))];
        Ok(self.engine.0.store(Commit { puts, ..Commit::default() }).await?)
    }

    /// The reversible steps, then the pivot. Leaves the cursor in another phase.
    async fn before(&self, cursor: &mut Cursor) -> Result<()> {
        while cursor.next < self.plan.before.len() {
            let step = &self.plan.before[cursor.next];
            if self.may_cancel(cursor) {
                cursor.phase = Phase::Undo { error: None };
                return self.save(cursor).await;
            }
            let mut done = self.step(step, cursor.next, &step.task, false).await;
            if let (Err(error), true) = (&done, step.no_return) {
                tracing::info!(job = self.entry.id.0, step = step.name, %error, "trying again");
                done = self.step(step, cursor.next, &step.task, false).await;
            }
            cursor.next += 1;
            match done {
                Ok(devices) if step.returns_devices => {
                    cursor.result = self.name_devices(&step.task, &devices);
                }
                Ok(_) => {}
                Err(error) if step.on_failure == OnFailure::Warn => {
                    self.entry.warn(self.op, format!("{}: {error}", step.name));
                }
                Err(error) => {
                    cursor.phase = Phase::Undo { error: Some(error) };
                    return self.save(cursor).await;
                }
            }
            if cursor.next < self.plan.before.len() {
                self.save(cursor).await?;
            }
        }
        if self.may_cancel(cursor) {
            cursor.phase = Phase::Undo { error: None };
            return self.save(cursor).await;
        }
        self.pivot(cursor).await
    }

    /// It is to stop, and nothing was done yet that cannot be taken back.
    fn may_cancel(&self, cursor: &Cursor) -> bool {
        let done = cursor.next + usize::from(self.resumed);
        self.entry.cancel.is_cancelled()
            && !self.plan.before.iter().take(done).any(|step| step.no_return)
    }

    /// One commit: the configuration, child jobs, and the fact that it happened.
    async fn pivot(&self, cursor: &mut Cursor) -> Result<()> {
        let pivot = &self.plan.pivot;
        for line in &pivot.say {
            self.entry.say(self.op, line);
        }
        let mut children = Vec::new();
        if !pivot.jobs.is_empty() {
            let reason = self.entry.record().ops[self.op].input.get("reason").cloned();
            let inputs = pivot.jobs.iter().map(|ops| child_ops(ops, reason.as_ref()));
            let mut listed = Vec::new();
            for entry in self.engine.admit_children(inputs.collect::<Result<_>>()?) {
                match entry {
                    Ok(entry) => {
                        listed.push(json!([true, entry.id]));
                        children.push(entry);
                    }
                    Err(error) => listed.push(json!([false, error.message])),
                }
            }
            if let Value::Object(result) = &mut cursor.result {
                result.insert("jobs".into(), listed.into());
            } else {
                cursor.result = json!({ "jobs": listed });
            }
        }
        let next = Cursor { phase: Phase::After, next: 0, ..cursor.clone() };
        let mut commit = Commit { changes: pivot.changes.clone(), ..Commit::default() };
        commit.puts.extend(children.iter().map(|child| child.document()));
        let over = self.plan.after.is_empty();
        let now = clock::now();
        if over {
            self.conclude(&mut commit, &next, now);
        } else {
            commit.puts.push(self.entry.document());
            commit.puts.push((cursor_key(self.entry.id, self.op), cursor_body(&next)));
        }
        self.engine.0.store(commit).await?;
        if !children.is_empty() {
            self.engine.enqueue(children);
        }
        if over {
            self.entry.update(|record| self.succeed(record, &next.result, now));
        }
        *cursor = next;
        Ok(())
    }

    /// The forward steps, then the end. Never undone.
    async fn after(&self, cursor: &mut Cursor) -> Ended {
        if self.plan.after.is_empty() {
            return Ended::Success; // concluded by the pivot's commit
        }
        while cursor.next < self.plan.after.len() {
            let step = &self.plan.after[cursor.next];
            let number = self.plan.before.len() + cursor.next;
            let mut extra = Commit::default();
            if let Err(error) = self.forward(step, number).await {
                match step.on_failure {
                    OnFailure::Fail => {
                        cursor.failure = Some(error.at(&step.name));
                    }
                    OnFailure::Warn => {
                        self.entry.warn(self.op, format!("{}: {error}", step.name));
                    }
                    OnFailure::Debris => {
                        self.debris(step, &step.task, number, &error, &mut extra);
                    }
                }
            }
            cursor.next += 1;
            if cursor.failure.is_some() || cursor.next == self.plan.after.len() {
                if let Some(error) = cursor.failure.take() {
                    return Ended::Failed(error);
                }
                let now = clock::now();
                self.conclude(&mut extra, cursor, now);
                if let Err(error) = self.engine.0.store(extra).await {
                    return Ended::Failed(error.into());
                }
                self.entry.update(|record| self.succeed(record, &cursor.result, now));
                return Ended::Success;
            } else {
                extra.puts.push(self.entry.document());
                let key = cursor_key(self.entry.id, self.op);
                extra.puts.push((key, cursor_body(cursor)));
            }
            if let Err(error) = self.engine.0.store(extra).await {
                return Ended::Failed(error.into());
            }
        }
        Ended::Success
    }

    /// A forward step, tried again while that may help.
    async fn forward(&self, step: &Step, number: usize) -> Result<()> {
        let mut pause = FORWARD_PAUSE;
        let mut tries = 1;
        loop {
            match self.step(step, number, &step.task, false).await {
                Ok(_) => return Ok(()),
                Err(error) if tries == FORWARD_TRIES || error.error_type.is_some() => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::info!(job = self.entry.id.0, step = step.name, %error, "trying again");
                }
            }
            tries += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Takes back what was done, last first, including the step that failed.
    async fn undo(&self, cursor: &mut Cursor, error: Option<Error>) -> Ended {
        let why = match &error {
            Some(error) => error.to_string(),
            None => "canceled".into(),
        };
        while cursor.next > 0 {
            let number = cursor.next - 1;
            let step = &self.plan.before[number];
            let mut extra = Commit::default();
            if let Some(undo) = &step.undo {
                tracing::info!(job = self.entry.id.0, step = step.name, why, "undoing");
                match self.step(step, number, undo, true).await {
                    Ok(_) => {}
                    Err(error) if debris::can_wait(undo) => {
                        self.debris(step, undo, number, &error, &mut extra);
                    }
                    Err(error) => {
                        self.entry.warn(self.op, format!("undoing: {}: {error}", step.name));
                    }
                }
            }
            cursor.next = number;
            extra.puts.push(self.entry.document());
            extra.puts.push((cursor_key(self.entry.id, self.op), cursor_body(cursor)));
            if let Err(error) = self.engine.0.store(extra).await {
                return Ended::Failed(error.into());
            }
        }
        match error {
            Some(error) => Ended::Failed(error),
            None => Ended::Canceled,
        }
    }

    fn debris(&self, step: &Step, task: &Task, number: usize, error: &Error, commit: &mut Commit) {
        let key = format!("{:012}/{:03}/{number:03}", self.entry.id.0, self.op);
        let debris = Debris {
            job: self.entry.id,
            step: step.name.clone(),
            task: task.clone(),
            error: error.to_string(),
        };
        self.entry.warn(
            self.op,
            format!(
                "{}: could not be cleaned up: {error}. It is remembered; remove it with \
                 'gnt-cluster repair-debris'",
                step.name
            ),
        );
        let body = serde_json::to_string(&debris).expect("debris is plain data with text keys");
        commit.puts.push((Key::new(Space::Debris, &key), body));
        self.engine.set_debris(key, Some(debris));
    }

    /// Adds the opcode's success (and the job's, if it is the last) to a commit. Nobody is told
    /// before that is durable.
    fn conclude(&self, commit: &mut Commit, cursor: &Cursor, now: Timestamp) {
        let after = self.entry.document_after(|record| self.succeed(record, &cursor.result, now));
        commit.puts.push(after);
        commit.deletes.push(journal::plan_key(self.entry.id, self.op));
        commit.deletes.push(journal::cursor_key(self.entry.id, self.op));
    }

    fn succeed(&self, record: &mut JobRecord, result: &Value, now: Timestamp) {
        let op = &mut record.ops[self.op];
        op.status = JobStatus::Success;
        op.result = result.clone();
        op.end_timestamp = Some(now);
        if self.op + 1 == record.ops.len() {
            record.end_timestamp = Some(now);
        }
    }

    /// Ganeti's list of activated disks.
    fn name_devices(&self, task: &Task, devices: &[String]) -> Value {
        let config = self.engine.0.state.config();
        let node = task.nodes().first().map(|node| config.node_name(*node));
        let named = devices.iter().enumerate();
        named.map(|(i, device)| json!([node, format!("disk/{i}"), device])).collect()
    }
}

/// Opcodes of a child job: they inherit the reason trail.
fn child_ops(ops: &[Value], reason: Option<&Value>) -> Result<Vec<OpInput>> {
    ops.iter()
        .map(|op| {
            let mut op = op.clone();
            if let (Some(reason), Value::Object(fields)) = (reason, &mut op) {
                fields.entry("reason").or_insert_with(|| reason.clone());
            }
            OpInput::from_json(&op)
        })
        .collect()
}
