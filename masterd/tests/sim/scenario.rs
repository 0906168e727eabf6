//! What every opcode must stand: each step failing, each step repeated, and the end of the process
//! at each commit and each outside effect.
//!
//! A scenario is what to do first, and an opcode. Everything else is generated: it runs once
//! undisturbed, which says how many calls and commits there are, and then once for each of them and
//! each thing that may go wrong there.

use super::compare;
use super::hands::{Call, Faults, When};
use super::site::{Master, Site};
use super::store::Ledger;
use super::world::World;
use roost_masterd::config::{Change, Config};
use roost_masterd::store::Space;
use roost_proto::ids::JobId;
use roost_proto::job::JobStatus;
use roost_proto::node::Action;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Something done before.
pub enum Step {
    /// A job, which succeeds.
    Do(Value),
    /// Machines are changed behind masterd's back.
    World(fn(&mut World)),
    /// So is the configuration.
    Config(fn(&Config) -> Vec<Change>),
}
/// See the module.
pub struct Scenario {
    pub name: &'static str,
    pub setup: Vec<Step>,
    pub op: Value,
    /// Data on disks cannot be brought back: reinstalling.
    pub lossy: bool,
    /// What has grown does not shrink: undone, volumes may be larger than they were.
    pub grows: bool,
    /// Debris of a machine that is gone for good stays.
    pub leaves: bool,
    /// What fails is told by a row of the result, and the rest goes on.
    pub rows: bool,
    /// Configuration and machines disagree on purpose before.
    pub disturbed: bool,
}

impl Scenario {
    /// One without anything special.
    pub fn new(name: &'static str, setup: Vec<Step>, op: Value) -> Scenario {
        Scenario {
            name,
            setup,
            op,
            lossy: false,
            grows: false,
            leaves: false,
            rows: false,
            disturbed: false,
        }
    }
}

/// Where something ended.
struct End {
    exact: BTreeMap<roost_masterd::store::Key, String>,
    config: Config,
    world: World,
    jobs: BTreeMap<JobId, JobStatus>,
    /// Documents that must be gone in the end.
    journal: usize,
    debris: usize,
}

impl End {
    fn of(site: &Site) -> End {
        let contents = site.contents();
        let count = |space| contents.documents.iter().filter(|(k, _)| k.space == space).count();
        let jobs = contents.documents.iter().filter(|(key, _)| key.space == Space::Job);
        let jobs = jobs.map(|(_, body)| {
            let record: roost_proto::job::JobRecord =
                serde_json::from_str(body).expect("a job record");
            (record.id, record.status())
        });
        End {
            exact: compare::exact(&contents),
            config: Config::load(&contents).expect("a sound configuration"),
            world: site.world(),
            jobs: jobs.collect(),
            journal: count(Space::Journal),
            debris: count(Space::Debris),
        }
    }

    fn config(&self) -> Vec<String> {
        compare::config(&self.config)
    }

    fn world(&self) -> Vec<String> {
        compare::world(&self.world, &self.config)
    }
}

/// What was seen of a run from outside.
struct Seen {
    calls: Vec<Call>,
    asks: usize,
    commits: usize,
    /// How many steps come before the pivot, by (job, opcode).
    before: BTreeMap<(JobId, usize), usize>,
    job: JobId,
}

impl Seen {
    fn of(master: &Master, job: JobId) -> Seen {
        let entries = master.ledger.entries();
        let before = entries.plans.iter().map(|(key, plan)| (*key, plan.plan.before.len()));
        Seen {
            calls: master.hands.calls(),
            asks: master.hands.asks(),
            commits: entries.commits,
            before: before.collect(),
            job,
        }
    }

    fn is_before_pivot(&self, call: &Call) -> bool {
        call.id.step < self.before[&(call.id.job, call.id.op)]
    }
}

/// Differences between two lists of lines, for people.
fn difference(left: &[String], right: &[String]) -> String {
    let mut text = String::new();
    for line in left.iter().filter(|line| !right.contains(line)) {
        writeln!(text, "  - {line}").expect("memory");
    }
    for line in right.iter().filter(|line| !left.contains(line)) {
        writeln!(text, "  + {line}").expect("memory");
    }
    text
}

/// A scenario that was run undisturbed.
struct Test {
    scenario: Scenario,
    site: Site,
    before: End,
    after: End,
    seen: Seen,
    points: usize,
    /// What is wrong, by point.
    problems: Vec<String>,
    /// Of the last run that was disturbed.
    calls: Vec<Call>,
}

impl Test {
    fn prepare(scenario: Scenario) -> Test {
        let site = Site::new();
        for step in &scenario.setup {
            match step {
                Step::Do(op) => site
                    .run(Faults::default(), async |master| {
                        let job = master.submit(std::slice::from_ref(op)).await;
                        master.settle().await;
                        let record = master.job(job).record();
                        assert_eq!(record.status(), JobStatus::Success, "setup: {record:?}");
                    })
                    .expect("nothing crashes"),
                Step::World(change) => change(&mut site.world.lock().expect("not poisoned")),
                Step::Config(change) => site.edit(change),
            }
        }
        let before = End::of(&site);
        if !scenario.disturbed {
            let problems = compare::disagreements(&before.config, &before.world);
            assert!(problems.is_empty(), "before: {problems:#?}");
        }
        let clean = site.fork();
        let op = scenario.op.clone();
        let seen = clean.run(Faults::default(), async |master| {
            let job = master.submit(&[op]).await;
            master.settle().await;
            let record = master.job(job).record();
            assert_eq!(record.status(), JobStatus::Success, "{:#?}", record.ops[0]);
            assert!(master.hands.forgotten().contains(&job), "nodes are told to forget");
            Seen::of(master, job)
        });
        let after = End::of(&clean);
        let problems = compare::disagreements(&after.config, &after.world);
        assert!(problems.is_empty(), "after: {problems:#?}");
        assert_eq!(after.journal, 0, "nothing is left in the journal");
        assert_eq!(after.debris > 0, scenario.leaves, "debris");
        assert!(after.jobs.values().all(|status| *status == JobStatus::Success));
        let seen = seen.expect("nothing crashes");
        Test { scenario, site, before, after, seen, points: 0, problems: vec![], calls: Vec::new() }
    }

    fn problem(&mut self, point: &str, what: impl AsRef<str>) {
        self.problems.push(format!("{point}: {}", what.as_ref()));
    }

    fn describe(&self, number: usize) -> String {
        let call = &self.seen.calls[number];
        let action = serde_json::to_value(&call.action).expect("plain data");
        let place = if self.seen.is_before_pivot(call) { "before" } else { "after" };
        format!("call {number} ({}, {place} the pivot)", action["do"].as_str().unwrap_or_default())
    }

    fn machines(&self, end: &End) -> Vec<String> {
        let mut world = end.world.clone();
        if self.scenario.lossy {
            world = compare::without_content(world);
        }
        if self.scenario.grows {
            world = compare::without_sizes(world);
        }
        compare::world(&world, &end.config)
    }

    /// Exactly as if nothing had been done.
    fn expect_before(&mut self, point: &str, end: &End) {
        if end.exact != self.before.exact {
            let text = difference(&self.before.config(), &end.config());
            self.problem(point, format!("the configuration changed:\n{text}"));
        }
        let (before, now) = (self.machines(&self.before), self.machines(end));
        if before != now {
            self.problem(point, format!("machines changed:\n{}", difference(&before, &now)));
        }
        self.expect_tidy(point, end);
    }

    /// As after the undisturbed run.
    fn expect_after(&mut self, point: &str, end: &End) {
        let (after, now) = (self.after.config(), end.config());
        if after != now {
            self.problem(point, format!("another configuration:\n{}", difference(&after, &now)));
        }
        let (after, now) = (self.machines(&self.after), self.machines(end));
        if after != now {
            self.problem(point, format!("other machines:\n{}", difference(&after, &now)));
        }
        for problem in compare::disagreements(&end.config, &end.world) {
            self.problem(point, problem);
        }
        self.expect_tidy(point, end);
    }

    /// As after a run in which some things were not done: what was recorded anew is so.
    fn expect_rows(&mut self, point: &str, end: &End) {
        if self.status(end) != Some(JobStatus::Success) {
            self.problem(point, format!("the job is {:?}", self.status(end)));
        }
        for (id, node) in &end.config.nodes {
            let before = self.before.config.nodes.get(id);
            let off = end.world.off.contains(node.name.as_str());
            if before.is_some_and(|old| old.powered != node.powered) && off == node.powered {
                self.problem(point, format!("{} is recorded as it is not", node.name));
            }
        }
        for problem in compare::disagreements(&end.config, &end.world) {
            self.problem(point, problem);
        }
        self.expect_tidy(point, end);
    }

    fn expect_tidy(&mut self, point: &str, end: &End) {
        if end.journal > 0 {
            self.problem(point, "the journal is not empty");
        }
        if end.debris > 0 && !self.scenario.leaves {
            self.problem(point, "there is debris");
        }
        for violation in &end.world.violations {
            self.problem(point, violation);
        }
        for (job, status) in &end.jobs {
            if !status.is_final() {
                self.problem(point, format!("job {job} is {status}"));
            }
        }
    }

    /// Runs the scenario's opcode once more.
    fn disturb(&mut self, faults: Faults) -> (Site, Option<(JobStatus, String)>) {
        self.points += 1;
        let site = self.site.fork();
        let op = self.scenario.op.clone();
        let ended = site.run(faults, async |master| {
            let job = master.submit(&[op]).await;
            master.settle().await;
            let record = master.job(job).record();
            (record.status(), record.ops[0].result.to_string(), master.hands.calls())
        });
        let ended = ended.map(|(status, result, calls)| {
            self.calls = calls;
            (status, result)
        });
        (site, ended)
    }

    fn status(&self, end: &End) -> Option<JobStatus> {
        end.jobs.get(&self.seen.job).copied()
    }

    /// Each call fails once, before or after it took effect.
    fn fail_each_call(&mut self) {
        for number in 0..self.seen.calls.len() {
            for when in [When::Before, When::After] {
                let point = format!("{} fails {when:?} its effect", self.describe(number));
                let (site, ended) =
                    self.disturb(Faults { fail: Some((number, when)), ..Faults::default() });
                let (status, result) = ended.expect("nothing crashes");
                let end = End::of(&site);
                // Jobs that run at the same time may have come in another order this time.
                let call = self.calls[number].clone();
                if self.scenario.rows {
                    self.expect_rows(&point, &end);
                } else if status == JobStatus::Error
                    && self.seen.is_before_pivot(&call)
                    && call.id.job == self.seen.job
                {
                    if !result.contains("injected") {
                        self.problem(&point, format!("another error: {result}"));
                    }
                    self.expect_before(&point, &end);
                } else {
                    // Tried again, or not vital.
                    self.expect_children_or_after(&point, &call, &end);
                }
            }
        }
    }

    fn expect_children_or_after(&mut self, point: &str, call: &Call, end: &End) {
        if call.id.job != self.seen.job && self.seen.is_before_pivot(call) {
            // A child job failed and undid what it did: the others went on.
            for problem in compare::disagreements(&end.config, &end.world) {
                self.problem(point, problem);
            }
            self.expect_tidy(point, end);
        } else {
            self.expect_after(point, end);
        }
    }

    /// Each call fails, and so does every new try of the same step.
    fn fail_each_call_for_good(&mut self) {
        for number in 0..self.seen.calls.len() {
            let call = self.seen.calls[number].clone();
            let point = format!("{} fails for good", self.describe(number));
            let fail = Some((number, When::Before));
            let (site, _) = self.disturb(Faults { fail, for_good: true, ..Faults::default() });
            let end = End::of(&site);
            if call.id.job != self.seen.job {
                continue;
            }
            if self.scenario.rows {
                self.expect_rows(&point, &end);
                continue;
            }
            if self.seen.is_before_pivot(&call) && self.status(&end) == Some(JobStatus::Error) {
                self.expect_before(&point, &end);
                continue;
            }
            let (after, now) = (self.after.config(), end.config());
            if after != now {
                let text = difference(&after, &now);
                self.problem(&point, format!("the pivot did not stand:\n{text}"));
            }
            if end.debris > self.after.debris {
                self.repair(&point, &site);
                let end = End::of(&site);
                self.expect_after(&point, &end);
            } else if matches!(call.action, Action::DisksRemove { .. }) {
                self.problem(&point, "disks are left and nobody knows of them");
            }
        }
    }

    /// Removes debris, now that nothing fails any more.
    fn repair(&mut self, point: &str, site: &Site) {
        let left = site.run(Faults::default(), async |master| {
            let left = master.engine.repair_debris().await.expect("it can be stored");
            left.into_iter()
                .map(|(_, debris, error)| format!("{}: {error}", debris.step))
                .collect::<Vec<_>>()
        });
        for left in left.expect("nothing crashes") {
            if self.scenario.leaves {
                continue;
            }
            self.problem(point, format!("debris stays: {left}"));
        }
    }

    /// A call fails and nothing can be undone.
    fn fail_undos(&mut self) {
        for number in 0..self.seen.calls.len() {
            let call = self.seen.calls[number].clone();
            if !self.seen.is_before_pivot(&call) || call.id.job != self.seen.job {
                continue;
            }
            let point = format!("{} fails and nothing can be undone", self.describe(number));
            let fail = Some((number, When::Before));
            let faults = Faults { fail, for_good: true, fail_undos: true, ..Faults::default() };
            let (site, ended) = self.disturb(faults);
            let end = End::of(&site);
            if self.scenario.rows {
                self.expect_rows(&point, &end);
                continue;
            }
            if ended.expect("nothing crashes").0 != JobStatus::Error {
                self.expect_after(&point, &end);
                continue;
            }
            if end.exact != self.before.exact {
                self.problem(&point, "the configuration changed");
            }
            self.repair(&point, &site);
            let end = End::of(&site);
            // What was stopped is not debris: to start it later, unasked, could be a disaster.
            let stopped = self.seen.calls[..number].iter().any(|call| {
                matches!(
                    call.action,
                    Action::GuestStop { .. }
                        | Action::DisksShutdown { .. }
                        | Action::MirrorsDisconnect { .. }
                )
            });
            if !stopped {
                self.expect_before(&point, &end);
            } else {
                self.expect_tidy(&point, &end);
            }
        }
    }

    /// Each question stays without an answer.
    fn fail_each_ask(&mut self) {
        for number in 0..self.seen.asks {
            let point = format!("question {number} stays without answer");
            let (site, _) = self.disturb(Faults { fail_ask: Some(number), ..Faults::default() });
            let end = End::of(&site);
            let untouched = self.scenario.disturbed && end.exact == self.before.exact;
            if self.status(&end) == Some(JobStatus::Error) || untouched {
                self.expect_before(&point, &end);
            } else {
                // Another node was chosen, or a child job was refused.
                for problem in compare::disagreements(&end.config, &end.world) {
                    self.problem(&point, problem);
                }
                self.expect_tidy(&point, &end);
            }
        }
    }

    /// Everything is done twice.
    fn repeat(&mut self) {
        let (site, ended) = self.disturb(Faults { twice: true, ..Faults::default() });
        let (status, result) = ended.expect("nothing crashes");
        if status != JobStatus::Success {
            self.problem("everything twice", result);
        }
        let end = End::of(&site);
        self.expect_after("everything twice", &end);
    }

    /// Everything stops at each call and each commit, and goes on in another process.
    fn crash_everywhere(&mut self) {
        let both = [When::Before, When::After];
        for (number, when) in (0..self.seen.calls.len()).flat_map(|n| both.map(|when| (n, when))) {
            let point = format!("crash {when:?} {}", self.describe(number));
            let crash = Faults { crash_call: Some((number, when)), ..Faults::default() };
            self.crash(&point, crash.clone(), None);
            if when == When::After {
                let again = Faults { crash_call: Some((0, When::After)), ..Faults::default() };
                self.crash(&format!("{point}, then again"), crash, Some(again));
            }
        }
        for (number, when) in (0..self.seen.commits).flat_map(|n| both.map(|when| (n, when))) {
            let point = format!("crash {when:?} commit {number}");
            let crash = Faults { crash_commit: Some((number, when)), ..Faults::default() };
            self.crash(&point, crash, None);
        }
    }

    fn crash(&mut self, point: &str, faults: Faults, second: Option<Faults>) {
        let (site, _) = self.disturb(faults);
        if let Some(second) = second {
            site.run(second, async |master| master.settle().await);
        }
        site.run(Faults::default(), async |master| master.settle().await).expect("no crash");
        let end = End::of(&site);
        match self.status(&end) {
            None => self.expect_before(point, &end),
            Some(JobStatus::Success) => self.expect_after(point, &end),
            Some(status) => {
                let job =
                    site.contents().documents.into_iter().find(|(k, _)| k.space == Space::Job);
                self.problem(point, format!("the job is {status}: {job:?}"));
            }
        }
    }

    /// The last step before the pivot fails, and the process dies while all is undone.
    fn crash_while_undoing(&mut self) {
        let ours = |c: &Call| c.id.job == self.seen.job && self.seen.is_before_pivot(c);
        let Some(last) = self.seen.calls.iter().rposition(ours) else { return };
        let fail = Some((last, When::Before));
        let failing = Faults { fail, for_good: true, ..Faults::default() };
        let ledger = Ledger::default();
        let site = self.site.fork();
        let op = self.scenario.op.clone();
        let planner = std::sync::Arc::new(roost_masterd::ops::Operations);
        let (status, calls) = site
            .run_with(failing.clone(), ledger.clone(), planner, async |master| {
                let job = master.submit(&[op]).await;
                master.settle().await;
                (master.job(job).status(), master.hands.calls().len())
            })
            .expect("nothing crashes");
        if status != JobStatus::Error {
            return; // not vital
        }
        let commits = ledger.entries().commits;
        let both = [When::Before, When::After];
        let mut crashes = Vec::new();
        for when in both {
            crashes.extend((last + 1..calls).map(|n| {
                let crash = Faults { crash_call: Some((n, when)), ..failing.clone() };
                (format!("undoing, crash {when:?} call {n}"), crash)
            }));
            // The first ones are those of the way there.
            crashes.extend((commits.saturating_sub(calls - last + 1)..commits).map(|n| {
                let crash = Faults { crash_commit: Some((n, when)), ..failing.clone() };
                (format!("undoing, crash {when:?} commit {n}"), crash)
            }));
        }
        for (point, crash) in crashes {
            let (site, _) = self.disturb(crash);
            site.run(Faults::default(), async |master| master.settle().await).expect("no crash");
            let end = End::of(&site);
            match self.status(&end) {
                // It was not known yet that the step failed: it was tried again.
                Some(JobStatus::Success) => self.expect_after(&point, &end),
                _ => self.expect_before(&point, &end),
            }
        }
    }

    /// Cancelled during each call.
    fn cancel_everywhere(&mut self) {
        for number in 0..self.seen.calls.len() {
            let call = self.seen.calls[number].clone();
            if call.id.job != self.seen.job {
                continue;
            }
            self.points += 1;
            let point = format!("canceled during {}", self.describe(number));
            let site = self.site.fork();
            let op = self.scenario.op.clone();
            let hold = Faults { hold: Some(number), ..Faults::default() };
            let in_time = self.can_be_taken_back(&call);
            let rows = self.scenario.rows;
            let status = site.run(hold, async |master| {
                let job = master.submit(&[op]).await;
                master.hands.gate.reached(1).await;
                let reply = master.engine.cancel(job, false).await.expect("it can be stored");
                assert_eq!(reply.done, in_time, "{reply:?}");
                master.hands.gate.open();
                master.settle().await;
                master.job(job).status()
            });
            let end = End::of(&site);
            match (status.expect("nothing crashes"), self.seen.is_before_pivot(&call)) {
                (JobStatus::Canceled, true) => self.expect_before(&point, &end),
                (JobStatus::Success, true) if rows => self.expect_rows(&point, &end),
                // A moved guest is not moved back.
                (JobStatus::Success, true) if has_no_return(&call.action) => {
                    self.expect_after(&point, &end);
                }
                (JobStatus::Success, false) => self.expect_after(&point, &end),
                (status, _) => self.problem(&point, format!("the job is {status}")),
            }
        }
    }

    fn can_be_taken_back(&self, call: &Call) -> bool {
        self.seen.is_before_pivot(call) && !has_no_return(&call.action)
    }

    /// Killed during each call, which is never heard of again.
    fn kill_everywhere(&mut self) {
        for number in 0..self.seen.calls.len() {
            let call = self.seen.calls[number].clone();
            if call.id.job != self.seen.job {
                continue;
            }
            self.points += 1;
            let point = format!("killed during {}", self.describe(number));
            let site = self.site.fork();
            let op = self.scenario.op.clone();
            let hold = Faults { hold: Some(number), ..Faults::default() };
            let status = site.run(hold, async |master| {
                let job = master.submit(&[op]).await;
                master.hands.gate.reached(1).await;
                let reply = master.engine.cancel(job, true).await.expect("it can be stored");
                assert!(reply.done, "{reply:?}");
                master.hands.gate.open();
                master.settle().await;
                master.job(job).status()
            });
            let end = End::of(&site);
            match (status.expect("nothing crashes"), self.can_be_taken_back(&call)) {
                (JobStatus::Canceled, true) => self.expect_before(&point, &end),
                (JobStatus::Success, false) if self.scenario.rows => self.expect_rows(&point, &end),
                // The change stands; what should have followed is told.
                (JobStatus::Error, false) => {
                    let (after, now) = (self.after.config(), end.config());
                    if after != now {
                        let text = difference(&after, &now);
                        self.problem(&point, format!("another configuration:\n{text}"));
                    }
                    if end.journal > 0 {
                        self.problem(&point, "the journal is not empty");
                    }
                }
                (status, _) => self.problem(&point, format!("the job is {status}")),
            }
        }
    }
}

/// The guest is elsewhere, or its disks are, whether or not anybody still wants that.
fn has_no_return(action: &Action) -> bool {
    matches!(action, Action::MigrateRun { .. } | Action::DisksMirror { .. } | Action::Oob(_))
}

/// Everything that is generated.
pub fn check(scenario: Scenario) {
    let start = std::time::Instant::now();
    let mut test = Test::prepare(scenario);
    test.repeat();
    test.fail_each_call();
    test.fail_each_call_for_good();
    test.fail_each_ask();
    test.fail_undos();
    test.cancel_everywhere();
    test.kill_everywhere();
    test.crash_everywhere();
    test.crash_while_undoing();
    println!(
        "{}: {} points ({} calls, {} commits, {} questions) in {:.1} s",
        test.scenario.name,
        test.points,
        test.seen.calls.len(),
        test.seen.commits,
        test.seen.asks,
        start.elapsed().as_secs_f64()
    );
    let count = test.problems.len();
    assert!(count == 0, "{count} problems\n{}", test.problems.join("\n"));
}
