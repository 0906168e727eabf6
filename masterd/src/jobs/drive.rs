//! Driving one job: from its first lock to its end.

use super::engine::{Engine, cancelled, end_rest};
use super::entry::JobEntry;
use super::journal::{self, StoredPlan, cursor_body, cursor_key, plan_key};
use super::locks::{Held, LockSet};
use super::plan::{Cursor, Debris, OnFailure, Phase, Plan, Step, Task};
use super::recover::Resumed;
use super::{Facts, PlanInput, StepId, debris, hooks};
use crate::clock;
use crate::state::Commit;
use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::ids::JobId;
use roost_proto::job::{JobRecord, JobStatus, Timestamp};
use roost_proto::node::{Action, Outcome};
use roost_proto::opcodes::OpInput;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often planning starts over because the world changed while it waited for locks.
const REPLANS: usize = 10;
/// How often a step after the pivot is tried.
const FORWARD_TRIES: u32 = 3;
/// The pause before the second try; doubles each time.
const FORWARD_PAUSE: Duration = Duration::from_secs(1);

/// How an opcode ended.
enum Ended {
    Success,
    Canceled,
    Failed(Error),
}

/// Randomness and time for planning.
struct Ids;

impl super::IdSource for Ids {
    fn uuid(&mut self) -> uuid::Uuid {
        #[allow(clippy::disallowed_methods, reason = "this is the id source")]
        uuid::Uuid::new_v4()
    }

    fn now(&mut self) -> f64 {
        clock::seconds()
    }
}

/// An opcode at work: what all its steps need.
struct Run<'a> {
    engine: &'a Engine,
    entry: &'a Arc<JobEntry>,
    op: usize,
    plan: Arc<Plan>,
    /// From before a restart: its next step may have been done already.
    resumed: bool,
}

impl Engine {
    /// Carries out what is left of a job.
    pub(super) async fn run_job(&self, entry: &Arc<JobEntry>, mut resumed: Option<Resumed>) {
        entry.update(|record| {
            record.start_timestamp.get_or_insert_with(clock::now);
        });
        for op in 0..entry.record().ops.len() {
            if entry.record().ops[op].status == JobStatus::Success {
                continue;
            }
            let resumed = resumed.take_if(|r| r.op == op);
            let result = self.run_op(entry, op, resumed).await;
            self.0.active.lock().await.remove(&(entry.id, op));
            match result {
                Ended::Success => {}
                Ended::Canceled => {
                    return self.end_job(entry, op, JobStatus::Canceled, cancelled()).await;
                }
                Ended::Failed(error) => {
                    return self.end_job(entry, op, JobStatus::Error, error.to_result()).await;
                }
            }
        }
        // The commit that ended the last opcode ended the job.
        self.0.ended(entry);
    }

    /// Makes a failure or cancellation durable.
    async fn end_job(&self, entry: &Arc<JobEntry>, op: usize, status: JobStatus, result: Value) {
        let now = clock::now();
        let end = |record: &mut JobRecord| {
            let failed = &mut record.ops[op];
            failed.status = status;
            failed.result = result.clone();
            failed.end_timestamp = Some(now);
            let rest = match status {
                JobStatus::Canceled => cancelled(),
                _ => Error::generic("Preceding opcode failed").to_result(),
            };
            end_rest(record, status, rest);
        };
        let commit = Commit {
            puts: vec![entry.document_after(end)],
            deletes: vec![plan_key(entry.id, op), cursor_key(entry.id, op)],
            ..Commit::default()
        };
        if self.0.store(commit).await.is_ok() {
            entry.update(end);
            self.0.ended(entry);
        }
    }

    async fn run_op(&self, entry: &Arc<JobEntry>, op: usize, resumed: Option<Resumed>) -> Ended {
        if let Some(resumed) = resumed {
            let run = Run { engine: self, entry, op, plan: resumed.plan, resumed: true };
            let _held: Held = resumed.held;
            return run.carry_on(resumed.cursor).await;
        }
        let cancel = entry.cancel.clone();
        let prepared = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ended::Canceled,
            prepared = self.prepare(entry, op) => prepared,
        };
        match prepared {
            Ok((run, _held, cursor)) => {
                let ended = run.carry_on(cursor).await;
                drop(_held);
                ended
            }
            Err(ended) => ended,
        }
    }

    /// Dependencies, locks, facts, plan, first journal entry.
    async fn prepare<'a>(
        &'a self,
        entry: &'a Arc<JobEntry>,
        op: usize,
    ) -> std::result::Result<(Run<'a>, Held, Cursor), Ended> {
        let input = entry.input(op).map_err(Ended::Failed)?;
        entry.update(|record| {
            record.ops[op].status = JobStatus::Waiting;
            record.ops[op].start_timestamp = Some(clock::now());
        });
        self.await_dependencies(entry.id, &input).await?;
        let (held, plan) = self.plan_under_locks(entry, op, &input).await.map_err(Ended::Failed)?;
        entry.set_progress(None);
        entry.update(|record| {
            record.ops[op].status = JobStatus::Running;
            record.ops[op].exec_timestamp = Some(clock::now());
        });
        for line in &plan.say {
            entry.say(op, line);
        }
        if input.common.dry_run {
            entry.say(op, "dry-run mode requested, not actually executing the operation");
            for step in plan.before.iter().chain(&plan.after) {
                entry.say(op, format!("would do: {}", step.name));
            }
            let plan = Plan { result: plan.result.clone(), ..Plan::default() };
            let run = Run { engine: self, entry, op, plan: Arc::new(plan), resumed: false };
            let cursor = Cursor::start(run.plan.result.clone());
            return Ok((run, held, cursor));
        }
        let run = Run { engine: self, entry, op, plan, resumed: false };
        let cursor = Cursor::start(run.plan.result.clone());
        if !run.plan.before.is_empty() || !run.plan.after.is_empty() {
            let stored = StoredPlan::new(&run.plan, held.set());
            let body = serde_json::to_string(&stored)
                .map_err(|e| Ended::Failed(Error::internal(format!("unstorable plan: {e}"))))?;
            let commit = Commit {
                puts: vec![
                    entry.document(),
                    (plan_key(entry.id, op), body),
                    (cursor_key(entry.id, op), cursor_body(&cursor)),
                ],
                ..Commit::default()
            };
            self.0.store(commit).await.map_err(|e| Ended::Failed(e.into()))?;
        }
        Ok((run, held, cursor))
    }

    /// Waits for the jobs this opcode depends on, and looks at how they ended.
    async fn await_dependencies(
        &self,
        job: JobId,
        input: &OpInput,
    ) -> std::result::Result<(), Ended> {
        for (other, accepted) in &input.common.depends {
            let id = JobId(other.unsigned_abs());
            let failed = |text: String| Err(Ended::Failed(Error::generic(text)));
            if id == job {
                return failed("Job can't depend on itself".into());
            }
            let status = match self.0.entry(id) {
                Some(entry) => {
                    let mut changed = entry.watch();
                    loop {
                        let status = entry.status();
                        if status.is_final() {
                            break status;
                        }
                        if changed.changed().await.is_err() {
                            break entry.status();
                        }
                    }
                }
                None => match self.archived(id).await {
                    Ok(Some(record)) => record.status(),
                    Ok(None) => {
                        return failed(format!("Dependency error: job {id} does not exist"));
                    }
                    Err(error) => return Err(Ended::Failed(error)),
                },
            };
            if accepted.is_empty() || accepted.contains(&status) {
                continue;
            }
            if status == JobStatus::Canceled {
                return Err(Ended::Canceled);
            }
            let words: Vec<_> = accepted.iter().map(|s| s.as_str()).collect();
            return failed(format!(
                "Dependency job {id} finished with status '{status}', not one of '{}' as required",
                words.join(", ")
            ));
        }
        Ok(())
    }

    /// Takes the locks, asks the nodes, decides. Locks are computed on a snapshot; if the newest
    /// one wants others after they were granted, they are given back and it starts over.
    async fn plan_under_locks(
        &self,
        entry: &Arc<JobEntry>,
        op: usize,
        input: &OpInput,
    ) -> Result<(Held, Arc<Plan>)> {
        let planner = &self.0.planner;
        let mut wanted = planner.locks(input, &self.0.state.config())?;
        for _ in 0..REPLANS {
            let held = self.acquire(entry, op, &wanted).await;
            let config = self.0.state.config();
            let again = planner.locks(input, &config)?;
            if !held.set().covers(&again) {
                wanted = again;
                continue;
            }
            let facts = self.gather(planner.questions(input, &config)?).await;
            // One plan at a time: each must see what the others are about to take.
            let mut active = self.0.active.lock().await;
            let config = self.0.state.config();
            let plans: Vec<_> = active.values().cloned().collect();
            let plan = planner.plan(&mut PlanInput {
                op: input,
                job: entry.id,
                config: &config,
                facts: &facts,
                active: &plans,
                ids: &mut Ids,
            })?;
            let plan = Arc::new(plan);
            active.insert((entry.id, op), plan.clone());
            return Ok((held, plan));
        }
        Err(Error::wrong_state(
            "What this operation must lock changed again and again while it waited, please retry",
        ))
    }

    async fn acquire(&self, entry: &Arc<JobEntry>, op: usize, wanted: &LockSet) -> Held {
        let priority = entry.record().ops[op].priority;
        let waiting = |name: &super::locks::LockName, holders: &[JobId]| {
            let holders: Vec<_> = holders.iter().map(|job| format!("job {job}")).collect();
            let text = format!("{name}, held by {}", holders.join(", "));
            entry.update_progress(|p| p.waits_for = Some(text));
        };
        self.0.locks.acquire(entry.id, priority, wanted, waiting).await
    }

    /// Asks nodes, in parallel.
    async fn gather(
        &self,
        questions: Vec<(roost_proto::ids::NodeId, roost_proto::node::Question)>,
    ) -> Facts {
        let mut asking = tokio::task::JoinSet::new();
        for (place, (node, question)) in questions.into_iter().enumerate() {
            let hands = self.0.hands.clone();
            asking.spawn(async move {
                let answer = hands.ask(node, &question).await;
                (place, node, question, answer)
            });
        }
        let mut answers: Vec<_> = asking.join_all().await;
        answers.sort_by_key(|(place, ..)| *place);
        let answers =
            answers.into_iter().map(|(_, node, question, answer)| (node, question, answer));
        Facts {
            answers: answers.collect(),
            seen: self.0.hands.seen(),
            joined: self.0.hands.joined(),
            debris: self.debris(),
        }
    }
}

impl Run<'_> {
    /// From wherever the cursor is to the end.
    async fn carry_on(&self, mut cursor: Cursor) -> Ended {
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

    fn step_id(&self, step: usize, undo: bool) -> StepId {
        StepId { job: self.entry.id, op: self.op, step, undo }
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

    /// Does the task of a step. Returns the devices it found, if that is what it does.
    async fn step(
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
    fn with_secrets<'b>(&self, action: &'b Action) -> Result<std::borrow::Cow<'b, Action>> {
        use std::borrow::Cow;
        let Action::OsRun { osparams_private, .. } = action else {
            return Ok(Cow::Borrowed(action));
        };
        let redacted = Value::String(roost_proto::opcodes::REDACTED.into());
        if !osparams_private.values().any(|value| *value == redacted) {
            return Ok(Cow::Borrowed(action));
        }
        let input = self.entry.input(self.op)?.to_json();
        let secrets = input.get("osparams_secret").cloned().unwrap_or_default();
        let mut action = action.clone();
        if let Action::OsRun { osparams_private, .. } = &mut action {
            for (name, value) in osparams_private.iter_mut().filter(|(_, v)| **v == redacted) {
                match secrets.get(name) {
                    Some(secret) if *secret != redacted => *value = secret.clone(),
                    _ => {
                        return Err(Error::wrong_state(
                            "Please re-submit secret parameters to job.",
                        ));
                    }
                }
            }
        }
        Ok(Cow::Owned(action))
    }
}

/// Waits for all futures; results in order.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
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
