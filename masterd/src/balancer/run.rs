//! The balancer at work: time, the store, jobs.
//!
//! ```text
//!   every second      moves under way: has their job ended?
//!   every interval    look at all groups, one after the other; a plan is made on a thread of its own
//!   off               nothing, until the configuration changes
//! ```

use super::decide::{Group, Next, Sight};
use super::ledger::{End, Ledger};
use super::plan::{self, Beginning, Found};
use super::sight::{self, Scene, Work, World};
use super::tell::{self, Board};
use crate::clock;
use crate::config::Config;
use crate::jobs::Engine;
use crate::nodes::Nodes;
use crate::state::{Commit, State};
use roost_proto::balancer::REASON;
use roost_proto::choices::BalancerMode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, InstanceId};
use roost_proto::job::JobStatus;
use roost_proto::nicesort;
use roost_proto::objects::Balancer;
use roost_proto::opcodes::{Common, OpInput};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often moves under way are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Users' low priority: what people want comes first.
const PRIORITY: i32 = 10;

/// Runs until `shutdown`; `board` says what it does.
pub async fn run(
    state: State,
    nodes: Nodes,
    engine: Engine,
    board: Board,
    shutdown: CancellationToken,
) {
    let ledger = loop {
        match load(&state).await {
            Ok(ledger) => break ledger,
            // Without it nobody knows what the hour has used.
            Err(error) => tracing::warn!(%error, "the balancer cannot begin"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
    };
    let mut serial = state.serial();
    let mut runner = Runner {
        state,
        nodes,
        engine,
        board,
        ledger,
        groups: HashMap::new(),
        since: HashMap::new(),
        logged: HashMap::new(),
        looked: None,
        next: Instant::now(),
        settings: Balancer::default(),
    };
    loop {
        serial.borrow_and_update();
        if let Err(error) = runner.turn().await {
            tracing::warn!(%error, "the balancer cannot go on");
        }
        let off = runner.settings.mode == BalancerMode::Off;
        let idle = off && runner.ledger.open().next().is_none();
        tokio::select! {
            () = shutdown.cancelled() => return,
            Ok(()) = serial.changed(), if off => {}
            () = tokio::time::sleep(TICK), if !idle => {}
        }
    }
}

async fn load(state: &State) -> Result<Ledger> {
    let Some(text) = state.get(Ledger::key()).await? else { return Ok(Ledger::default()) };
    serde_json::from_str(&text)
        .map_err(|e| Error::internal(format!("What the balancer did cannot be read: {e}")))
}

struct Runner {
    state: State,
    nodes: Nodes,
    engine: Engine,
    board: Board,
    ledger: Ledger,
    groups: HashMap<GroupId, Group>,
    /// Nodes of a group have to report after that, see [`clock::forward_millis`].
    since: HashMap<GroupId, u64>,
    /// The plan that was logged last, in report mode.
    logged: HashMap<GroupId, Vec<String>>,
    looked: Option<f64>,
    next: Instant,
    settings: Balancer,
}

impl Runner {
    async fn turn(&mut self) -> Result<()> {
        let config = self.state.config();
        let settings = config.cluster.balancer.clone();
        if settings != self.settings {
            self.next = Instant::now();
            self.settings = settings;
        }
        let reaped = self.reap().await;
        if self.settings.mode == BalancerMode::Off {
            self.groups.clear();
            self.logged.clear();
            self.looked = None;
        } else if reaped.is_ok() && Instant::now() >= self.next {
            self.next = Instant::now() + Duration::from_secs(self.settings.interval);
            self.look().await?;
        }
        self.tell(&config);
        reaped
    }

    fn tell(&self, config: &Config) {
        let mut groups: Vec<_> = self.groups.values().map(Group::told).collect();
        nicesort::sort_by_key(&mut groups, |group| group.name.clone());
        let now = clock::seconds();
        self.board.write(tell::told(config, &self.ledger, groups, self.looked, now));
    }

    /// The ledger becomes this one when it is durable.
    async fn save(&mut self, ledger: Ledger) -> Result<()> {
        if ledger == self.ledger {
            return Ok(());
        }
        let text = serde_json::to_string(&ledger).map_err(|e| {
            Error::internal(format!("What the balancer did cannot be written: {e}"))
        })?;
        let puts = vec![(Ledger::key(), text)];
        self.state.commit(Commit { puts, ..Commit::default() }).await?;
        self.ledger = ledger;
        Ok(())
    }

    /// Notes which moves have come to an end.
    async fn reap(&mut self) -> Result<()> {
        let mut ledger = self.ledger.clone();
        for charge in self.ledger.open() {
            let now = clock::seconds();
            let record = match charge.job {
                Some(job) => self.engine.job_or_archived(job).await?,
                // The leader before did not come to note it.
                None => {
                    let records = self.engine.jobs().into_iter().map(|job| job.record());
                    let mut records = records.filter(|r| sight::mark_of(r) == Some(charge.mark));
                    records.next()
                }
            };
            let Some(record) = record else {
                ledger.ended(charge.mark, End::NotSubmitted, now);
                continue;
            };
            if charge.job.is_none() {
                ledger.submitted(charge.mark, record.id);
            }
            let Some(end) = End::of(record.status()) else { continue };
            ledger.ended(charge.mark, end, now);
            self.since.insert(charge.group, clock::forward_millis());
            if record.status() != JobStatus::Success {
                let name = self.instance_name(charge.instance);
                tracing::warn!(job = %record.id, instance = %name, "a move of the balancer failed");
            }
        }
        if self.settings.mode != BalancerMode::Off {
            ledger.tidy(clock::seconds());
        }
        self.save(ledger).await
    }

    fn instance_name(&self, id: InstanceId) -> String {
        let config = self.state.config();
        config.instances.get(&id).map_or_else(|| id.to_string(), |found| found.name.to_string())
    }

    async fn world(&self) -> World {
        let jobs = self.engine.jobs().into_iter().filter(|job| !job.status().is_final());
        World {
            jobs: jobs.map(|job| job.record()).collect(),
            active: self.engine.active_plans().await,
            config: self.state.config(),
            seen: self.nodes.observed().all(),
            clock: clock::forward_millis(),
        }
    }

    /// Looks at all groups; where it is time, plans, and begins.
    async fn look(&mut self) -> Result<()> {
        let world = self.world().await;
        let work = Work::of(&world.config, &world.jobs);
        let config = world.config.clone();
        self.groups.retain(|id, _| config.groups.contains_key(id));
        self.since.retain(|id, _| config.groups.contains_key(id));
        self.looked = Some(clock::seconds());
        let mut obstacles = HashMap::new();
        for id in config.groups.keys() {
            if self.engine.is_drained() {
                obstacles.insert(*id, Sight::Busy("the job queue, which is drained".into()));
                continue;
            }
            if work.groups.contains_key(id) {
                self.since.insert(*id, world.clock);
            }
            let since = self.since.get(id).copied().unwrap_or(0);
            if let Some(sight) = sight::obstacle(&world, &work, *id, since) {
                obstacles.insert(*id, sight);
            }
        }
        let mut ids: Vec<GroupId> = config.groups.keys().copied().collect();
        nicesort::sort_by_key(&mut ids, |id| config.group_name(*id));
        let known: Vec<GroupId> =
            ids.iter().copied().filter(|id| !obstacles.contains_key(id)).collect();
        let (scene, scores) = match known.is_empty() {
            true => (None, HashMap::new()),
            false => {
                let (scene, scores) = apart(move || {
                    let scene = Scene::new(&world, &work);
                    let scores: HashMap<_, _> =
                        known.iter().map(|id| (*id, scene.sight(*id))).collect();
                    (Arc::new(scene), scores)
                })
                .await?;
                (Some(scene), scores)
            }
        };
        for id in ids {
            let name = config.group_name(id);
            let Some(sight) = obstacles.get(&id).or_else(|| scores.get(&id)) else { continue };
            let now = clock::seconds();
            let open = self.ledger.open().filter(|charge| charge.group == id).count();
            let budget = (open, self.ledger.left(&self.settings, now), self.ledger.more_at(now));
            let group = self.groups.entry(id).or_insert_with(|| Group::new(name.clone()));
            group.rename(&name);
            let next = group.look(sight, &self.settings, budget, now);
            let (Next::Plan { moves, copy }, Some(scene)) = (next, &scene) else { continue };
            let resting: Vec<_> = self.ledger.resting(now).map(|(instance, _)| instance).collect();
            let (scene, began) = (scene.clone(), Instant::now());
            let found = apart(move || plan::plan(&scene, id, (moves, copy), &resting, now)).await?;
            let took = began.elapsed().as_secs_f64();
            self.planned(id, found, took).await?;
        }
        Ok(())
    }

    /// There is a plan: it is told, or begun.
    async fn planned(&mut self, id: GroupId, found: Found, took: f64) -> Result<()> {
        let Some(group) = self.groups.get_mut(&id) else { return Ok(()) };
        let begin = group.planned(found.told.clone(), took, &self.settings, clock::seconds());
        let told = group.told();
        if !begin {
            self.log(id, &told);
            return Ok(());
        }
        let begun = self.begin(id, &found.first).await?;
        match (begun, self.groups.get_mut(&id)) {
            (Ok(count), _) => {
                let (before, after) = (found.told.before, found.told.after);
                let moves = found.told.moves.len();
                tracing::info!(
                    group = %told.name, jobs = count, moves, before, after, "the balancer moves instances"
                );
            }
            (Err(why), Some(group)) => group.not_begun(&why),
            (Err(_), None) => {}
        }
        Ok(())
    }

    /// Submits jobs, if what was planned is still true. The inner error says why nothing was submitted.
    async fn begin(
        &mut self,
        id: GroupId,
        first: &[Beginning],
    ) -> Result<std::result::Result<usize, String>> {
        let world = self.world().await;
        let work = Work::of(&world.config, &world.jobs);
        let since = self.since.get(&id).copied().unwrap_or(0);
        let at_work = |b: &Beginning| work.instances.contains(&b.cost.instance);
        if world.config.cluster.balancer != self.settings
            || sight::obstacle(&world, &work, id, since).is_some()
            || first.iter().any(|b| at_work(b) || !b.is_true(&world.config))
        {
            return Ok(Err("something has changed while it was made".into()));
        }
        let costs: Vec<_> = first.iter().map(|beginning| beginning.cost).collect();
        let mut ledger = self.ledger.clone();
        let Some(marks) = ledger.charge(&self.settings, id, &costs, clock::seconds()) else {
            return Ok(Err("its budget is used up".into()));
        };
        self.save(ledger).await?;
        let group = world.config.group_name(id);
        let job = |(beginning, mark): (&Beginning, &u64)| {
            let text = format!("move={mark};group={group}");
            let reason = vec![(REASON.to_owned(), text, clock::micros().saturating_mul(1000))];
            let common = Common { priority: PRIORITY, reason, ..Common::default() };
            let ops = beginning.ops.iter().cloned();
            ops.map(|op| OpInput { common: common.clone(), op }).collect::<Vec<_>>()
        };
        let jobs = first.iter().zip(&marks).map(job).collect();
        let submitted = self.engine.submit(jobs, false).await;
        let (mut ledger, mut count, mut refused) = (self.ledger.clone(), 0, String::new());
        for (mark, result) in marks.into_iter().zip(submitted) {
            match result {
                Ok(job) => {
                    ledger.submitted(mark, job);
                    count += 1;
                }
                Err(error) => {
                    ledger.ended(mark, End::NotSubmitted, clock::seconds());
                    refused = error.message;
                }
            }
        }
        self.save(ledger).await?;
        Ok(if count > 0 { Ok(count) } else { Err(refused) })
    }

    /// A line for a plan that only is reported, when it is another than before.
    fn log(&mut self, id: GroupId, told: &roost_proto::balancer::GroupTold) {
        let Some(plan) = told.plan.as_ref().filter(|_| self.settings.mode == BalancerMode::Report)
        else {
            self.logged.remove(&id);
            return;
        };
        let moves: Vec<String> =
            plan.moves.iter().map(|m| format!("{} to {}", m.instance, m.to.join(":"))).collect();
        if self.logged.get(&id) == Some(&moves) {
            return;
        }
        let list = moves.join(", ");
        let (before, after) = (plan.before, plan.after);
        tracing::info!(group = %told.name, before, after, moves = %list, "the balancer would move instances");
        self.logged.insert(id, moves);
    }
}

/// Does what takes long on a thread that nobody waits for when masterd ends.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new().name("balancer".into()).spawn(move || {
        // Nobody may be there any more.
        sender.send(work()).ok();
    });
    spawned.map_err(|e| Error::environment(format!("The balancer gets no thread: {e}")))?;
    receiver.await.map_err(|_| Error::internal("The balancer's planning broke off"))
}
