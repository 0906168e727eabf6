//! What a cluster promises, whatever breaks; looked at while it happens and at the end.
//!
//! - Epochs and serials only grow; a new leader has everything that counted under the last one.
//! - Nobody accepts a job after one of a later epoch was accepted.
//! - A job that was accepted is there at the end, and final; a number is given once.
//! - A job that was told to have succeeded has; what it did is there.
//! - At rest: no locks, no debris, `gnt-cluster verify` is content.

use super::Site;
use super::clients::{Told, Wish};
use super::stop::Stop;
use crate::master::{Master, Submitted};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// How long a cluster that was mended may take to come to rest.
const REST: Duration = Duration::from_secs(240);

/// What was broken while it happened.
pub type Seen = Vec<String>;

/// Watches epochs and serials until `stop`.
pub async fn watch(site: Site, stop: Stop) -> Seen {
    let mut broken = Vec::new();
    // By node: the highest epoch it led in, and what counted then. By epoch: who led, what counted.
    let mut led: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut epochs: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    let mut last = BTreeMap::new();
    while !stop.said() {
        for node in site.nodes.iter() {
            // What counted before the question, in epochs before the answer's, must be in it.
            let before: Vec<(u64, u64)> = epochs.iter().map(|(e, (_, c))| (*e, *c)).collect();
            let Some(reply) = site.ask(node).await else { continue };
            let now = (reply.leads, reply.epoch, reply.safety, reply.master.clone());
            if last.get(node) != Some(&now) {
                site.history.add(
                    "role",
                    &json!({
                        "node": node, "leads": reply.leads, "epoch": reply.epoch,
                        "counts": reply.counts, "written": reply.written,
                        "master": reply.master, "message": reply.message,
                    }),
                );
                last.insert(node.clone(), now);
            }
            if !reply.leads {
                continue;
            }
            let mut say = |text: String| broken.push(text);
            let (epoch, counts) = led.get(node).copied().unwrap_or_default();
            if (reply.epoch, reply.counts) < (epoch, counts) {
                say(format!("{node} went back from {epoch}/{counts}: {reply:?}"));
            }
            led.insert(node.clone(), (reply.epoch, reply.counts));
            for (epoch, counts) in before {
                if epoch < reply.epoch && counts > reply.counts {
                    say(format!("{counts} counted in epoch {epoch}, and in {reply:?} is less"));
                }
            }
            let entry = epochs.entry(reply.epoch).or_insert((node.clone(), 0));
            if entry.0 != *node {
                say(format!("{} and {node} lead in epoch {}", entry.0, reply.epoch));
            }
            entry.1 = entry.1.max(reply.counts);
        }
        tokio::time::sleep(LOOK).await;
    }
    broken
}

/// Waits until nothing is under way and all that needs an operator's hand was done.
pub async fn settle(site: &Site) -> Result<()> {
    let end = Instant::now() + REST;
    loop {
        let why = match tokio::time::timeout(Duration::from_secs(60), rest(site)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it takes too long to answer".into(),
        };
        site.history.add("restless", &json!({ "why": why }));
        ensure!(Instant::now() < end, "after {REST:?}: {why}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn rest(site: &Site) -> Result<()> {
    let (master, node, _) = site.leader().await.context("nobody leads")?;
    let reply = master.replication(&[]).await?;
    for replica in &reply.replicas {
        let near = replica.heard.is_some_and(|ago| ago < 3_000);
        ensure!(near && replica.holds >= reply.counts, "{} is not level", replica.node);
    }
    let unfinished: Vec<_> =
        master.jobs().await?.into_iter().filter(|(_, status)| !is_final(status)).collect();
    ensure!(unfinished.is_empty(), "jobs have not ended: {unfinished:?}");
    // Nodes that lost power lost their guests; an operator starts them.
    for row in master.query("instance", &["name", "status"]).await? {
        let (name, status) = (text(&row[0]), text(&row[1]));
        if status == "ERROR_down" {
            let op = json!({ "OP_ID": "OP_INSTANCE_STARTUP", "instance_name": name });
            master.submit(&op).await;
        } else {
            ensure!(matches!(status, "running" | "ADMIN_down"), "{name} is {status}");
        }
    }
    let left = master.debris(true).await?;
    ensure!(left.is_empty(), "debris: {left:?}");
    let locks = master.query("lock", &["name", "mode", "owner", "pending"]).await?;
    let held: Vec<_> = locks.iter().filter(|row| is_used(row)).collect();
    ensure!(held.is_empty(), "locks: {held:?}");
    // A master that hung kept the address.
    let commands = ["gnt-cluster activate-master-ip", "gnt-cluster verify"];
    for command in commands {
        let (site, node) = (site.clone(), node.clone());
        let run = move || {
            let lab = site.lab();
            lab.exec_within(Duration::from_secs(50), &node, &["sh", "-c", command])
        };
        let out = tokio::task::spawn_blocking(run).await??;
        let errors: Vec<&str> =
            out.stdout.lines().filter(|l| l.contains("ERROR")).take(10).collect();
        ensure!(out.ok(), "{command}: {} {errors:#?}", out.stderr);
    }
    Ok(())
}

fn is_used(row: &[Value]) -> bool {
    row[2..].iter().any(|v| v.as_array().is_some_and(|list| !list.is_empty()))
}

fn is_final(status: &str) -> bool {
    matches!(status, "success" | "error" | "canceled")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// How much was done.
pub fn numbers(told: &[Told]) -> String {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for one in told {
        let how = match (&one.submitted, &one.ended) {
            (Submitted::Accepted(_), Some(status)) => status.as_str(),
            (Submitted::Accepted(_), None) => "end not told",
            (Submitted::Refused(_), _) => "refused",
            (Submitted::Unknown(_), _) => "unanswered",
        };
        *counts.entry(how.to_owned()).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().map(|(how, n)| format!("{n} {how}")).collect();
    format!("{} submissions: {}", told.len(), counts.join(", "))
}

/// Compares what clients were told with what is there. Errors: all promises that were broken.
pub async fn judge(site: &Site, told: &[Told], seen: &Seen) -> Result<()> {
    let (master, ..) = site.leader().await.context("nobody leads")?;
    let mut broken = seen.clone();
    let jobs: BTreeMap<u64, String> = master.jobs().await?.into_iter().collect();
    broken.extend(acceptances(told));
    broken.extend(accepted_jobs(told, &jobs));
    broken.extend(objects(told, &jobs, &instances(&master).await?));
    for text in &broken {
        site.history.add("BROKEN", &json!({ "promise": text }));
    }
    if broken.is_empty() { Ok(()) } else { bail!("broken promises:\n{}", broken.join("\n")) }
}

/// Never two masters accepting at once; no number twice.
fn acceptances(told: &[Told]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut numbers = BTreeSet::new();
    // By epoch: when the last acceptance was asked for, and the first was answered.
    let mut times: BTreeMap<u64, (u128, u128)> = BTreeMap::new();
    for one in told {
        let Submitted::Accepted(job) = one.submitted else { continue };
        if !numbers.insert(job) {
            broken.push(format!("job {job} was accepted twice"));
        }
        let times = times.entry(one.epoch).or_insert((one.asked, one.answered));
        *times = (times.0.max(one.asked), times.1.min(one.answered));
    }
    let list: Vec<_> = times.into_iter().collect();
    for pair in list.windows(2) {
        let [(old, (last, _)), (new, (_, first))] = pair else { continue };
        if last > first {
            broken.push(format!(
                "epoch {old} accepted what was asked at {last} ms, after epoch {new} had accepted \
                 something at {first} ms"
            ));
        }
    }
    broken
}

fn accepted_jobs(told: &[Told], jobs: &BTreeMap<u64, String>) -> Vec<String> {
    let mut broken = Vec::new();
    for one in told {
        let Submitted::Accepted(job) = one.submitted else { continue };
        match (jobs.get(&job), &one.ended) {
            (None, _) => broken.push(format!("job {job} was accepted and is lost: {one:?}")),
            (Some(now), _) if !is_final(now) => broken.push(format!("job {job} is {now}")),
            (Some(now), Some(ended)) if now != ended => {
                broken.push(format!("job {job} ended with {ended}, and is {now} now"));
            }
            _ => {}
        }
    }
    broken
}

/// An instance as it is at the end.
#[derive(Debug)]
struct Instance {
    state: String,
    memory: u64,
    tags: BTreeSet<String>,
}

async fn instances(master: &Master) -> Result<BTreeMap<String, Instance>> {
    let rows = master.query("instance", &["name", "admin_state", "be/memory", "tags"]).await?;
    let tags = |value: &Value| {
        value.as_array().into_iter().flatten().map(text).map(str::to_owned).collect()
    };
    Ok(rows
        .iter()
        .map(|row| {
            let state = text(&row[1]).to_owned();
            let memory = row[2].as_u64().unwrap_or_default();
            (text(&row[0]).to_owned(), Instance { state, memory, tags: tags(&row[3]) })
        })
        .collect())
}

/// What is known of an instance by what its client was told. `None`: it may be either.
#[derive(Debug, Default)]
struct Known {
    exists: Option<bool>,
    state: Option<&'static str>,
    memory: Option<u64>,
    tags: BTreeSet<String>,
}

impl Known {
    fn learn(&mut self, wish: &Wish, outcome: Option<&str>) {
        match (wish, outcome) {
            (Wish::Create, Some("success")) => {
                *self = Known { exists: Some(true), state: Some("up"), ..Known::default() };
                self.memory = Some(4);
            }
            (Wish::Create, Some(_)) => self.exists = Some(false),
            (Wish::Remove, Some("success")) => {
                *self = Known { exists: Some(false), ..Known::default() }
            }
            (Wish::Create | Wish::Remove, _) => *self = Known::default(),
            (Wish::Start, Some("success")) => self.state = Some("up"),
            (Wish::Stop, Some("success")) => self.state = Some("down"),
            (Wish::Start | Wish::Stop, _) => self.state = None,
            (Wish::Memory(mib), Some("success")) => self.memory = Some(*mib),
            (Wish::Memory(_), _) => self.memory = None,
            (Wish::Tag(tag), Some("success")) => drop(self.tags.insert(tag.clone())),
            (Wish::Tag(_) | Wish::Migrate | Wish::Failover, _) => {}
        }
    }
}

fn objects(
    told: &[Told],
    jobs: &BTreeMap<u64, String>,
    there: &BTreeMap<String, Instance>,
) -> Vec<String> {
    let mut known: BTreeMap<&str, Known> = BTreeMap::new();
    // Each instance has one client, which waits for each job or leaves the instance alone.
    for one in told {
        let outcome = match &one.submitted {
            Submitted::Accepted(job) => jobs.get(job).map(String::as_str),
            Submitted::Refused(_) => continue,
            Submitted::Unknown(_) => None,
        };
        known.entry(&one.instance).or_default().learn(&one.wish, outcome);
    }
    let mut broken = Vec::new();
    for (name, known) in &known {
        let is = there.get(*name);
        if known.exists.is_some_and(|exists| exists != is.is_some()) {
            broken.push(format!("{name}: {known:?}, it is {is:?}"));
        }
        let Some(is) = is else { continue };
        let wrong = known.state.is_some_and(|state| state != is.state)
            || known.memory.is_some_and(|memory| memory != is.memory)
            || !known.tags.is_subset(&is.tags);
        if wrong {
            broken.push(format!("{name}: {known:?}, it is {is:?}"));
        }
    }
    for name in there.keys().filter(|name| !known.contains_key(name.as_str())) {
        broken.push(format!("{name} is there, and nobody made it"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(wish: Wish, job: u64, epoch: u64, times: (u128, u128)) -> Told {
        Told {
            instance: "one".into(),
            wish,
            submitted: Submitted::Accepted(job),
            ended: Some("success".into()),
            epoch,
            asked: times.0,
            answered: times.1,
        }
    }

    #[test]
    fn a_master_of_the_past_that_accepts_is_noticed() {
        let fine = [told(Wish::Create, 1, 1, (0, 9)), told(Wish::Stop, 2, 2, (5, 7))];
        assert_eq!(acceptances(&fine), Vec::<String>::new(), "they may overlap in the asking");
        let late = [told(Wish::Create, 1, 1, (8, 9)), told(Wish::Stop, 2, 2, (5, 7))];
        assert_eq!(acceptances(&late).len(), 1);
        let twice = [told(Wish::Create, 1, 1, (0, 1)), told(Wish::Stop, 1, 2, (5, 7))];
        assert_eq!(acceptances(&twice).len(), 1);
    }

    #[test]
    fn a_lost_or_changed_job_is_noticed() {
        let told = [told(Wish::Create, 1, 1, (0, 1))];
        let jobs = |status: &str| BTreeMap::from([(1, status.to_owned())]);
        assert!(accepted_jobs(&told, &jobs("success")).is_empty());
        assert_eq!(accepted_jobs(&told, &jobs("error")).len(), 1);
        assert_eq!(accepted_jobs(&told, &jobs("running")).len(), 1);
        assert_eq!(accepted_jobs(&told, &BTreeMap::new()).len(), 1);
    }

    #[test]
    fn what_succeeded_must_be_there_and_what_is_in_doubt_may_be() {
        let is = |state: &str| Instance { state: state.into(), memory: 4, tags: BTreeSet::new() };
        let jobs = BTreeMap::from([(1, "success".into()), (2, "success".into())]);
        let list = [told(Wish::Create, 1, 1, (0, 1)), told(Wish::Stop, 2, 1, (2, 3))];
        let there = |state| BTreeMap::from([("one".to_owned(), is(state))]);
        assert!(objects(&list, &jobs, &there("down")).is_empty());
        assert_eq!(objects(&list, &jobs, &there("up")).len(), 1);
        assert_eq!(objects(&list, &jobs, &BTreeMap::new()).len(), 1);
        let doubt = [Told { submitted: Submitted::Unknown("?".into()), ..list[0].clone() }];
        assert!(objects(&doubt, &jobs, &there("up")).is_empty());
        assert!(objects(&doubt, &jobs, &BTreeMap::new()).is_empty());
        assert_eq!(objects(&[], &jobs, &there("up")).len(), 1);
    }
}
