//! Carrying out a plan from wherever its cursor is: before-steps, pivot, after-steps, undoing.
//!
//! ```text
//!   Before ──► pivot ──► After ──► concluded
//!     └─ failure, cancel ─► Undo ─► failed, canceled
//! ```
//!
//! A job that is killed lets go of the step it is at. What must follow does not wait for ever: an
//! undo gets some seconds, an after-step none; what is left is told, and kept as debris.

use super::debris;
use super::drive::{Ended, Stop};
use super::engine::Engine;
use super::entry::JobEntry;
use super::journal::{self, cursor_body, cursor_key};
use super::plan::{Cursor, Debris, OnFailure, Phase, Plan, Step, Task};
use crate::clock;
use crate::state::Commit;
use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::job::{JobRecord, JobStatus, OpRecord, Timestamp};
use roost_proto::opcodes::OpInput;
use roost_proto::query::ResultStatus;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often a step after the pivot is tried.
const FORWARD_TRIES: u32 = 3;
/// The pause before the second try; doubles each time.
const FORWARD_PAUSE: Duration = Duration::from_secs(1);
/// How long each undo may still take when a job is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

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
            self.entry.set_past_return(self.is_past_return(&cursor));
            let stopped = match cursor.phase.clone() {
                Phase::Before => self.before(&mut cursor).await,
                Phase::Undo { error } => return self.undo(&mut cursor, error).await,
                Phase::After => return self.after(&mut cursor).await,
            };
            match stopped {
                Ok(()) => {}
                Err(Stop::Wrong(error)) => cursor.phase = Phase::Undo { error: Some(error) },
                Err(Stop::Halted) => return Ended::Halted,
            }
        }
    }

    /// What was done cannot be taken back any more.
    fn is_past_return(&self, cursor: &Cursor) -> bool {
        let done = cursor.next + usize::from(self.resumed);
        match cursor.phase {
            Phase::Before => {
                let mut begun = self.plan.before.iter().take(done);
                begun.any(|step| step.no_return || step.row.is_some())
            }
            Phase::Undo { .. } => false,
            Phase::After => true,
        }
    }

    async fn save(&self, cursor: &Cursor) -> Result<(), Stop> {
        let key = cursor_key(self.entry.id, self.op);
        let puts = vec![self.entry.document(), (key, cursor_body(cursor))];
        Ok(self.engine.0.store(Commit { puts, ..Commit::default() }).await?)
    }

    /// The reversible steps, then the pivot. Leaves the cursor in another phase.
    async fn before(&self, cursor: &mut Cursor) -> Result<(), Stop> {
        while cursor.next < self.plan.before.len() {
            if self.may_cancel(cursor) {
                return self.turn_back(cursor, None).await;
            }
            let step = &self.plan.before[cursor.next];
            if step.row.is_some() && self.entry.cancel.is_cancelled() {
                self.no_data(step, &Error::exec("the job was canceled"), cursor);
                cursor.next += 1;
                continue;
            }
            let Some(done) = self.reversible(step, cursor).await else {
                // What it had done by then must be undone too.
                cursor.next += 1;
                return self.turn_back(cursor, None).await;
            };
            cursor.next += 1;
            match done {
                Ok(devices) if step.returns_devices => {
                    cursor.result = self.name_devices(&step.task, &devices);
                }
                Ok(_) => {}
                Err(error) if step.on_failure == OnFailure::Warn => {
                    self.entry.warn(self.op, format!("{}: {error}", step.name));
                }
                Err(error) if step.row.is_some() => self.no_data(step, &error, cursor),
                Err(error) => return self.turn_back(cursor, Some(error)).await,
            }
            if cursor.next < self.plan.before.len() {
                self.save(cursor).await?;
            }
        }
        if self.may_cancel(cursor) {
            return self.turn_back(cursor, None).await;
        }
        self.pivot(cursor).await
    }

    async fn turn_back(&self, cursor: &mut Cursor, error: Option<Error>) -> Result<(), Stop> {
        cursor.phase = Phase::Undo { error };
        self.save(cursor).await
    }

    /// Does a step before the pivot. Nothing: the job was killed meanwhile, and nobody knows how
    /// far the step is. A step that cannot be taken back is not let go of, because its undo would
    /// then meet it half way: the memory of a guest, say, between two machines.
    async fn reversible(&self, step: &Step, cursor: &Cursor) -> Option<Result<Vec<String>>> {
        let number = cursor.next;
        if step.no_return || step.row.is_some() || self.is_past_return(cursor) {
            self.entry.set_past_return(true);
            let done = self.step(step, number, &step.task, false).await;
            if let (Err(error), true) = (&done, step.no_return) {
                tracing::info!(job = self.entry.id.0, step = step.name, %error, "trying again");
                return Some(self.step(step, number, &step.task, false).await);
            }
            return Some(done);
        }
        tokio::select! {
            biased;
            () = self.entry.kill.cancelled() => None,
            done = self.step(step, number, &step.task, false) => Some(done),
        }
    }

    /// A step was not done: its row of the result says so, and the job's log why.
    fn no_data(&self, step: &Step, error: &Error, cursor: &mut Cursor) {
        self.entry.warn(self.op, format!("{}: {error}", step.name));
        let row = step.row.and_then(|row| cursor.result.get_mut(row));
        if let Some(value) = row.and_then(|row| row.get_mut(1)) {
            *value = json!([ResultStatus::NoData as u8, null]);
        }
    }

    /// It is to stop, and nothing was done yet that cannot be taken back.
    fn may_cancel(&self, cursor: &Cursor) -> bool {
        self.entry.cancel.is_cancelled() && !self.is_past_return(cursor)
    }

    /// One commit: the configuration, child jobs, and the fact that it happened.
    async fn pivot(&self, cursor: &mut Cursor) -> Result<(), Stop> {
        let pivot = &self.plan.pivot;
        for line in &pivot.say {
            self.entry.say(self.op, line);
        }
        let mut children = Vec::new();
        if !pivot.jobs.is_empty() {
            let trail = self.entry.trail_of(self.op);
            let parent = self.entry.record();
            let inputs = pivot.jobs.iter().map(|ops| child_ops(ops, &parent.ops[self.op], &trail));
            let inputs = inputs.collect::<Result<_>>().map_err(Stop::Wrong)?;
            let mut listed = Vec::new();
            for entry in self.engine.admit_children(inputs) {
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
        let done = pivot.rows.iter().filter(|(row, _)| is_normal(&cursor.result[*row]));
        commit.changes.extend(done.map(|(_, change)| change.clone()));
        commit.puts.extend(children.iter().map(|child| child.document()));
        for (place, left) in pivot.leaves.iter().enumerate() {
            let number = self.plan.before.len() + self.plan.after.len() + place;
            let why = Error::environment(&left.why);
            self.debris(&left.step, &left.step.task, number, &why, &mut commit);
        }
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
        if let Some(error) = cursor.failure.take() {
            return Ended::Failed(error);
        }
        if self.plan.after.is_empty() {
            return Ended::Success; // concluded by the pivot's commit
        }
        while cursor.next < self.plan.after.len() {
            let step = &self.plan.after[cursor.next];
            let number = self.plan.before.len() + cursor.next;
            let mut extra = Commit::default();
            let Some(done) = self.forward(step, number).await else {
                return self.leave_the_rest(cursor).await;
            };
            if let Err(error) = done {
                match step.on_failure {
                    OnFailure::Fail => return self.give_up(cursor, error.at(&step.name)).await,
                    OnFailure::Warn => {
                        self.entry.warn(self.op, format!("{}: {error}", step.name));
                    }
                    OnFailure::Debris => {
                        self.debris(step, &step.task, number, &error, &mut extra);
                    }
                }
            }
            cursor.next += 1;
            let over = cursor.next == self.plan.after.len();
            let now = clock::now();
            if over {
                self.conclude(&mut extra, cursor, now);
            } else {
                extra.puts.push(self.entry.document());
                let key = cursor_key(self.entry.id, self.op);
                extra.puts.push((key, cursor_body(cursor)));
            }
            if let Err(error) = self.engine.0.store(extra).await {
                return error.into();
            }
            if over {
                self.entry.update(|record| self.succeed(record, &cursor.result, now));
            }
        }
        Ended::Success
    }

    /// A forward step, tried again while that may help. Nothing: the job was killed.
    async fn forward(&self, step: &Step, number: usize) -> Option<Result<()>> {
        let tries = async {
            let mut pause = FORWARD_PAUSE;
            let mut tries = 1;
            loop {
                match self.step(step, number, &step.task, false).await {
                    Ok(_) => return Ok(()),
                    Err(error) if tries == FORWARD_TRIES || error.error_type.is_some() => {
                        return Err(error);
                    }
                    Err(error) => {
                        let job = self.entry.id.0;
                        tracing::info!(job, step = step.name, %error, "trying again");
                    }
                }
                tries += 1;
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        };
        tokio::select! {
            biased;
            () = self.entry.kill.cancelled() => None,
            done = tries => Some(done),
        }
    }

    /// A step that had to succeed did not, so those behind it are not done. What they would have
    /// removed may be the last that is left of somebody's data: it stays, and is remembered.
    async fn give_up(&self, cursor: &mut Cursor, error: Error) -> Ended {
        let mut extra = Commit::default();
        let left = self.plan.after.iter().enumerate().skip(cursor.next + 1);
        for (place, step) in left.filter(|(_, step)| step.on_failure == OnFailure::Debris) {
            let number = self.plan.before.len() + place;
            self.debris(step, &step.task, number, &error, &mut extra);
        }
        if extra.puts.is_empty() {
            return Ended::Failed(error);
        }
        self.end_failed(cursor, extra, error).await
    }

    /// Makes the opcode's failure durable, with what it leaves.
    async fn end_failed(&self, cursor: &mut Cursor, mut extra: Commit, error: Error) -> Ended {
        cursor.next = self.plan.after.len();
        cursor.failure = Some(error.clone());
        extra.puts.push(self.entry.document());
        extra.puts.push((cursor_key(self.entry.id, self.op), cursor_body(cursor)));
        match self.engine.0.store(extra).await {
            Ok(()) => Ended::Failed(error),
            Err(error) => error.into(),
        }
    }

    /// The job was killed after the pivot: what is left to do is not done but told, and what would
    /// have removed something is remembered as debris.
    async fn leave_the_rest(&self, cursor: &mut Cursor) -> Ended {
        let why = Error::exec("the job was killed");
        let mut extra = Commit::default();
        let mut left = Vec::new();
        let first = cursor.next;
        for (place, step) in self.plan.after.iter().enumerate().skip(first) {
            left.push(step.name.as_str());
            match step.on_failure {
                OnFailure::Debris => {
                    let number = self.plan.before.len() + place;
                    self.debris(step, &step.task, number, &why, &mut extra);
                }
                OnFailure::Fail | OnFailure::Warn => {
                    self.entry.warn(self.op, format!("{}: not finished, {why}", step.name));
                }
            }
        }
        let error = Error::exec(format!(
            "The job was killed when its change of the configuration was made already, which \
             stands; not finished: {}",
            left.join(", ")
        ));
        self.end_failed(cursor, extra, error).await
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
                match self.undo_step(step, number, undo).await {
                    Ok(_) => {}
                    Err(error) if debris::can_wait(undo) => {
                        self.debris(step, undo, number, &error, &mut extra);
                    }
                    Err(error) => {
                        self.entry.warn(self.op, format!("undoing: {}: {error}", step.name));
                    }
                }
            }
            if let Some(stays) = &step.stays {
                self.entry.warn(self.op, stays.clone());
            }
            cursor.next = number;
            extra.puts.push(self.entry.document());
            extra.puts.push((cursor_key(self.entry.id, self.op), cursor_body(cursor)));
            if let Err(error) = self.engine.0.store(extra).await {
                return error.into();
            }
        }
        match error {
            Some(error) => Ended::Failed(error),
            None => Ended::Canceled,
        }
    }

    /// Undoes a step. If the job is killed that does not take for ever: it becomes debris.
    async fn undo_step(&self, step: &Step, number: usize, undo: &Task) -> Result<()> {
        let overdue = async {
            self.entry.kill.cancelled().await;
            tokio::time::sleep(KILL_PATIENCE).await;
        };
        tokio::select! {
            biased;
            undone = self.step(step, number, undo, true) => undone.map(|_| ()),
            () = overdue => Err(Error::exec(format!(
                "it was not undone within {} seconds and the job was killed",
                KILL_PATIENCE.as_secs()
            ))),
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
        if self.op + 1 == self.entry.record().ops.len() {
            commit.deletes.extend(self.entry.stored_wish());
        }
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

/// Whether a row of the result has a value.
fn is_normal(row: &Value) -> bool {
    row[1][0] == ResultStatus::Normal as u8
}

/// Opcodes of a child job. What its parent was submitted with, and why, is true for it too.
fn child_ops(ops: &[Value], parent: &OpRecord, trail: &[Value]) -> Result<Vec<OpInput>> {
    let id = parent.input.get("OP_ID").and_then(Value::as_str).unwrap_or_default();
    ops.iter()
        .map(|op| {
            let mut op = op.clone();
            if let Value::Object(fields) = &mut op {
                let unset = |value: Option<&Value>| match value {
                    None | Some(Value::Null) => true,
                    Some(value) => value.as_i64() == Some(0) || value.as_str() == Some(""),
                };
                if let Some(level) = parent.input.get("debug_level") {
                    fields.insert("debug_level".into(), level.clone());
                }
                if unset(fields.get("priority")) {
                    fields.insert("priority".into(), parent.priority.into());
                }
                if unset(fields.get("comment")) {
                    fields.insert("comment".into(), format!("Submitted by {id}").into());
                }
                let own = fields.get("reason").and_then(Value::as_array).cloned();
                let reason = own.unwrap_or_default().into_iter().chain(trail.iter().cloned());
                fields.insert("reason".into(), reason.collect());
            }
            OpInput::from_json(&op)
        })
        .collect()
}
