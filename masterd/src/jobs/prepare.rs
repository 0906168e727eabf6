//! Preparing an opcode: dependencies, locks, facts, plan, and the first journal entry.
//!
//! Nothing has been done until this is over, so whatever goes wrong here needs no undoing.

use super::carry_out::Run;
use super::drive::Ended;
use super::engine::Engine;
use super::entry::JobEntry;
use super::journal::{StoredPlan, cursor_body, cursor_key, plan_key};
use super::locks::{Held, Level, LockName, LockSet};
use super::plan::{Cursor, Plan};
use super::{Facts, PlanInput};
use crate::clock;
use crate::state::Commit;
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::ids::{JobId, NodeId};
use roost_proto::job::JobStatus;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::OpInput;
use std::collections::HashSet;
use std::sync::Arc;

/// How often planning starts over because the world changed while it waited for locks.
const REPLANS: usize = 10;

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

impl Engine {
    /// Dependencies, locks, facts, plan, first journal entry.
    pub(super) async fn prepare<'a>(
        &'a self,
        entry: &'a Arc<JobEntry>,
        op: usize,
    ) -> std::result::Result<(Run<'a>, Held, Cursor), Ended> {
        let input = entry.input(op).map_err(Ended::Failed)?;
        self.look_at_dependencies(entry, op, &input).await?;
        entry.update(|record| {
            record.ops[op].status = JobStatus::Waiting;
            record.ops[op].start_timestamp = Some(clock::now());
        });
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
            self.0.store(commit).await?;
        }
        Ok((run, held, cursor))
    }

    /// Looks at how the jobs ended that this opcode depends on. Those that have not are waited for
    /// in the queue, not here.
    async fn look_at_dependencies(
        &self,
        entry: &JobEntry,
        op: usize,
        input: &OpInput,
    ) -> std::result::Result<(), Ended> {
        let failed = |text: String| Err(Ended::Failed(Error::generic(text)));
        let mut unfinished = HashSet::new();
        for (other, accepted) in &input.common.depends {
            let id = JobId(other.unsigned_abs());
            if id == entry.id {
                return failed("Job can't depend on itself".into());
            }
            let status = match self.job_or_archived(id).await {
                Ok(Some(record)) => record.status(),
                Ok(None) => return failed(format!("Dependency error: job {id} does not exist")),
                Err(error) => return failed(format!("Dependency error: job {id}: {error}")),
            };
            if !status.is_final() {
                unfinished.insert(id);
                continue;
            }
            if accepted.is_empty() || accepted.contains(&status) {
                continue;
            }
            if status == JobStatus::Canceled {
                entry.say(op, format!("Dependency job {id} was cancelled"));
                return Err(Ended::Canceled);
            }
            let words: Vec<_> = accepted.iter().map(|s| s.as_str()).collect();
            return failed(format!(
                "Dependency job {id} finished with status '{status}', not one of '{}' as required",
                words.join(", ")
            ));
        }
        if unfinished.is_empty() {
            return Ok(());
        }
        if self.0.queue().would_circle(entry.id, &unfinished) {
            let jobs: Vec<_> = unfinished.iter().map(ToString::to_string).collect();
            return failed(format!(
                "Dependency error: job {} waits for this one, so neither would ever go on",
                jobs.join(", ")
            ));
        }
        Err(Ended::Waiting(unfinished))
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
        let mut opportunistic = planner.is_opportunistic(input);
        for _ in 0..REPLANS {
            let held = self.acquire(entry, op, &wanted, opportunistic).await;
            let config = self.0.state.config();
            let again = planner.locks(input, &config)?;
            if !held.covers(&again) {
                wanted = again;
                continue;
            }
            let mut questions = planner.questions(input, &config)?;
            // A node that is not held is not asked, so it is not chosen.
            questions.retain(|(node, _)| !held.does_without(&LockName::new(Level::Node, node)));
            let mut facts = self.gather(questions).await;
            let asked = self.ask_further(entry, input, &mut facts).await;
            // One plan at a time: each must see what the others are about to take.
            let mut active = self.0.active.lock().await;
            let config = self.0.state.config();
            let plans: Vec<_> = active.values().cloned().collect();
            let planned = asked.and_then(|()| {
                planner.plan(&mut PlanInput {
                    op: input,
                    job: entry.id,
                    config: &config,
                    facts: &facts,
                    active: &plans,
                    ids: &mut Ids,
                })
            });
            if held.is_partial() && planned.as_ref().is_err_and(lacks_resources) {
                entry.say(op, "* falling back to full lock allocation");
                opportunistic = false;
                continue;
            }
            let plan = Arc::new(planned?);
            active.insert((entry.id, op), plan.clone());
            return Ok((held, plan));
        }
        Err(Error::wrong_state(
            "What this operation must lock changed again and again while it waited, please retry",
        ))
    }

    /// Asks what can only be asked with the first answers. Other plans go on meanwhile: what they take is
    /// found by the plan, which looks again.
    async fn ask_further(
        &self,
        entry: &Arc<JobEntry>,
        input: &OpInput,
        facts: &mut Facts,
    ) -> Result<()> {
        let config = self.0.state.config();
        let plans: Vec<_> = self.0.active.lock().await.values().cloned().collect();
        let questions = self.0.planner.further(&mut PlanInput {
            op: input,
            job: entry.id,
            config: &config,
            facts,
            active: &plans,
            ids: &mut Ids,
        })?;
        if !questions.is_empty() {
            let names = questions.iter().filter_map(|(_, question)| match question {
                Question::Iallocator { name, .. } => Some(name.as_str()),
                _ => None,
            });
            let names: Vec<_> = names.collect();
            entry.update_progress(|p| {
                p.waits_for = Some(format!("iallocator {}", names.join(", ")));
            });
            let answers = self.ask(questions).await;
            facts.answers.extend(answers);
        }
        Ok(())
    }

    /// Takes locks. With `opportunistic` those of nodes that are busy are done without, as long as
    /// one is free.
    async fn acquire(
        &self,
        entry: &Arc<JobEntry>,
        op: usize,
        wanted: &LockSet,
        opportunistic: bool,
    ) -> Held {
        let priority = entry.record().ops[op].priority;
        let waiting = |name: &super::locks::LockName, holders: &[JobId]| {
            let holders: Vec<_> = holders.iter().map(|job| format!("job {job}")).collect();
            let text = format!("{name}, held by {}", holders.join(", "));
            entry.update_progress(|p| p.waits_for = Some(text));
        };
        if opportunistic {
            let is_node = |name: &LockName| matches!(name.level, Level::Node | Level::NodeRes);
            let held =
                self.0.locks.acquire_free(entry.id, priority, wanted, is_node, waiting).await;
            if held.set().0.keys().any(is_node) {
                return held;
            }
        }
        self.0.locks.acquire(entry.id, priority, wanted, waiting).await
    }

    /// What is known of the nodes.
    async fn gather(&self, questions: Vec<(NodeId, Question)>) -> Facts {
        Facts {
            answers: self.ask(questions).await,
            seen: self.0.hands.seen(),
            joined: self.0.hands.joined(),
            debris: self.debris(),
            copies: self.0.hands.copies(),
            members: self.0.hands.members(),
        }
    }

    /// Asks nodes, in parallel.
    async fn ask(
        &self,
        questions: Vec<(NodeId, Question)>,
    ) -> Vec<(NodeId, Question, Result<Answer>)> {
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
        answers.into_iter().map(|(_, node, question, answer)| (node, question, answer)).collect()
    }
}

/// More nodes might help.
fn lacks_resources(error: &Error) -> bool {
    use ErrorType::{InsufficientResources, TempInsufficientResources};
    matches!(error.error_type, Some(InsufficientResources | TempInsufficientResources))
}
