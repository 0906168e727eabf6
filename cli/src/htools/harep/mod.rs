//! `harep`: mends instances whose nodes are gone, as far as tags allow it.
//!
//! ```text
//!   load ─► tags say: state ─► jobs of pending repairs ended? ─► broken? ─► policy ─► job, tag ─► counts
//! ```
//!
//! It is run again and again, by cron. What it remembers is in tags, see [`roost_htools::repair`], which decides;
//! here are jobs and words. Unlike Ganeti's, it leaves nodes alone that are drained and not offline: their plain
//! disks are there, and a repair would make them anew, empty.

#[cfg(test)]
mod tests;

use super::Tool;
use super::options::LuxiData;
use super::sources::{master, why};
use super::values::number;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::job_follow::{Show, follow};
use crate::{clock, say};
use clap::Args;
use roost_htools::model::Cluster;
use roost_htools::repair::{Broken, Ended, Policy, Refusal, State, Watched, detect, policies};
use roost_proto::choices::TagKind;
use roost_proto::opcodes::{Common, OpCode, OpInput, TagsDel, TagsSet, TestDelay};
use roost_proto::query::{Filter, Resource};
use std::collections::{BTreeMap, HashMap};

/// The options.
#[derive(Args, Clone, Debug)]
pub struct Harep {
    #[command(flatten)]
    luxi: LuxiData,
    /// Let repair jobs wait so long before they begin, so that tags can be set meanwhile
    #[arg(long, value_name = "SECONDS", default_value = "10", allow_hyphen_values = true,
          value_parser = number::<f64>("job delay"))]
    job_delay: f64,
    /// Why, as recorded with the jobs
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Tool for Harep {
    const NAME: &'static str = "harep";
    const ABOUT: &'static str = "auto-repair tool that detects certain kind of problems with instances and \
                                 applies the allowed set of solutions";

    async fn run(self, cx: &Cx) -> Outcome {
        let failed =
            |why: String| Failure::say(format!("Error: failed to load data, aborting: {why}"));
        let socket = self.luxi.luxi.as_deref().unwrap_or_default();
        let client = cx.client_at(socket).await.map_err(|failure| failed(why(failure)))?;
        let known = master::load(client).await.map_err(failed)?;
        let run = Run { cx, options: &self, cluster: &known.cluster };
        let mut watched = run.states()?;
        run.settle(&mut watched).await?;
        let policies = policies(&known.cluster, now());
        for (at, instance) in known.cluster.instances.iter().enumerate() {
            if let Some(broken) = detect(&known.cluster, &known.down, instance) {
                run.mend(&mut watched[at], &instance.name, policies[at], broken).await?;
            }
        }
        run.count(&watched)
    }
}

/// What a run has at hand.
struct Run<'a> {
    cx: &'a Cx,
    options: &'a Harep,
    cluster: &'a Cluster,
}

/// Seconds since 1970.
fn now() -> i64 {
    i64::try_from(clock::now_nanos() / 1_000_000_000).unwrap_or(i64::MAX)
}

#[allow(clippy::disallowed_methods, reason = "this is where repairs get their identifiers")]
fn new_id() -> String {
    uuid::Uuid::new_v4().hyphenated().to_string()
}

impl Run<'_> {
    /// By instance: what its tags say.
    fn states(&self) -> Outcome<Vec<Watched>> {
        let instances = self.cluster.instances.iter();
        let all: Result<Vec<_>, String> =
            instances.map(|instance| Watched::of(&instance.name, &instance.tags)).collect();
        all.map_err(|why| Failure::say(format!("Error: when parsing auto-repair tags: {why}")))
    }

    /// Notes how repairs ended that were pending.
    async fn settle(&self, watched: &mut [Watched]) -> Outcome {
        let jobs = |watched: &Watched| match &watched.state {
            State::Pending(record) => record.jobs.clone(),
            _ => vec![],
        };
        let ended = self.ended(watched.iter().flat_map(jobs).collect()).await?;
        for (at, instance) in self.cluster.instances.iter().enumerate() {
            let jobs: Vec<Ended> = jobs(&watched[at]).iter().map(|job| ended[job]).collect();
            let Some(next) = watched[at].settle(&jobs, now()) else { continue };
            let (name, from, to) = (&instance.name, watched[at].state.name(), next.state.name());
            say!(self.cx, "Moving {name} from {from:?} to {to:?}");
            self.commit(name, next, &mut watched[at]).await?;
        }
        Ok(())
    }

    /// How jobs are; of archived ones, too.
    async fn ended(&self, jobs: Vec<u64>) -> Outcome<HashMap<u64, Ended>> {
        let mut ended: HashMap<u64, Ended> = jobs.iter().map(|job| (*job, Ended::Badly)).collect();
        if jobs.is_empty() {
            return Ok(ended);
        }
        let number = |job: &u64| Filter::equal("id", i64::try_from(*job).unwrap_or(i64::MAX));
        let filter = Filter::Or(jobs.iter().map(number).collect());
        let fields = ["id", "status", "archived"];
        let answer = self.cx.client().await?.query(Resource::Job, &fields, Some(&filter)).await;
        let failed =
            |failure| Failure::say(format!("Error: could not check job status: {}", why(failure)));
        for row in answer.map_err(failed)?.data {
            let [id, status, ..] = &row[..] else { continue };
            let Some(id) = id.value.as_u64() else { continue };
            ended.insert(
                id,
                match status.value.as_str() {
                    Some("success") => Ended::Well,
                    Some("error" | "canceled") => Ended::Badly,
                    _ => Ended::NotYet,
                },
            );
        }
        Ok(ended)
    }

    /// Mends a broken instance, or says why not.
    async fn mend(
        &self,
        watched: &mut Watched,
        name: &str,
        policy: Policy,
        broken: Broken,
    ) -> Outcome {
        let Broken { repair, opcodes } = broken;
        let shown = repair.shown();
        match watched.may(repair, policy) {
            None => Ok(()),
            Some(Err(Refusal::Policy(policy))) => {
                say!(self.cx, "Not repairing {name} because it's in state {}", in_words(policy));
                Ok(())
            }
            Some(Err(refusal @ (Refusal::AtMost(most) | Refusal::Known(most)))) => {
                say!(
                    self.cx,
                    "Not performing a repair of type {shown} on {name} because only repairs up to {} are allowed",
                    most.shown()
                );
                if let Refusal::Known(_) = refusal {
                    *watched = watched.clone().still_refused();
                    return Ok(());
                }
                let next = watched.clone().refuse(repair, new_id(), now());
                self.commit(name, next, watched).await
            }
            Some(Ok(())) => {
                say!(self.cx, "Executing {shown} repair on {name}");
                if self.options.dry_run {
                    for opcode in &opcodes {
                        say!(self.cx, ">>> Not submitting {}", opcode.summary());
                    }
                    return Ok(());
                }
                let delay = self.options.job_delay;
                // The tag's job wants the same lock, and is waited for: the repair lets it go first.
                let wait: Option<OpCode> = (delay > 0.0)
                    .then(|| TestDelay { no_locks: false, ..TestDelay::new(delay) }.into());
                let job = self.submit(wait.into_iter().chain(opcodes).collect()).await?;
                let next = watched.clone().begin(repair, new_id(), now(), vec![job.0]);
                self.commit(name, next, watched).await
            }
        }
    }

    async fn submit(&self, opcodes: Vec<OpCode>) -> Outcome<roost_proto::ids::JobId> {
        let why = self.options.reason.clone().unwrap_or_else(|| "repairing".into());
        let common = Common {
            reason: vec![(Harep::NAME.into(), why, clock::now_nanos())],
            ..Common::default()
        };
        let input = |op| OpInput { common: common.clone(), op }.to_json();
        let job = vec![opcodes.into_iter().map(input).collect()];
        let submitted = self.cx.client().await?.submit(&job, false).await?;
        match submitted.into_iter().next() {
            Some(job) => Ok(job?),
            None => Err(Failure::say("Error: masterd did not answer about the job")),
        }
    }

    /// Sets the tag of a state and removes those that are wrong by now. In this order: between the two, a result
    /// goes before what was pending.
    async fn commit(&self, name: &str, mut next: Watched, watched: &mut Watched) -> Outcome {
        let kind = TagKind::Instance;
        let job = |opcode: OpCode| async move {
            if self.options.dry_run {
                return Ok(());
            }
            let job = self.submit(vec![opcode]).await?;
            follow(self.cx, job, Show::Nothing).await.map(drop)
        };
        if let Some(record) = next.state.record() {
            let tag = record.tag();
            say!(self.cx, ">>> Adding the following tag to {name}:\n{tag:?}");
            job(TagsSet { name: Some(name.into()), ..TagsSet::new(kind, vec![tag]) }.into())
                .await?;
        }
        let stale = std::mem::take(&mut next.stale);
        if !stale.is_empty() {
            say!(self.cx, ">>> Removing the following tags from {name}:");
            for tag in &stale {
                say!(self.cx, "{tag:?}");
            }
            job(TagsDel { name: Some(name.into()), ..TagsDel::new(kind, stale) }.into()).await?;
        }
        *watched = next;
        Ok(())
    }

    fn count(&self, watched: &[Watched]) -> Outcome {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for watched in watched {
            *counts.entry(watched.state.name()).or_default() += 1;
        }
        let line = "---------------------";
        say!(self.cx, "{line}\nInstance status count\n{line}");
        for (name, count) in counts {
            say!(self.cx, "{name}: {count}");
        }
        Ok(())
    }
}

/// A policy that allows nothing, in Ganeti's words.
fn in_words(policy: Policy) -> String {
    match policy {
        Policy::NotEnabled => "ArNotEnabled".into(),
        Policy::Suspended(None) => "ArSuspended Forever".into(),
        Policy::Suspended(Some(until)) => {
            format!("ArSuspended (Until {})", clock::ctime(until.unsigned_abs()))
        }
        Policy::Enabled(most) => format!("ArEnabled {}", most.shown()),
    }
}
