//! `inst-status-kvm`, `inst-status-lxc`: whether the instances of this node are as they should be.
//!
//! ```json
//! {"instances": [{"name": "web.example.org", "uuid": "…", "adminState": "up", "actualState": "running",
//!                 "uptime": "1 day, 3:25:45", "mtime": 1795166471.25, "state_reason": [],
//!                 "status": {"code": 0, "message": ""}}],
//!  "status": {"code": 0, "message": ""}}
//! ```
//!
//! The fields are those of the reference's `inst-status-xen`. `actualState` is `running`, `blocked`, `paused`,
//! `shutdown` (also of a guest that libvirt does not have), `crashed`, `dying`, `hung` or `unknown`; `uptime` is
//! null without a process. Instances are those whose primary node this is; then instances of the cluster that run
//! here although another is their primary node. Outside a cluster all guests are listed, with the `adminState`
//! `unknown`, and judged by nothing but their own state.
//!
//! A guest is `hung` if its process is stopped by a signal; if QEMU has not answered for a minute; or if it did not
//! answer in two looks, and used no processor between them. Processor time alone says nothing: an idle guest uses
//! next to none.
//!
//! Guests move, and confd is asked every few seconds only: one that was here and is gone is `unknown` (2) for 20
//! seconds, and so is one that has come without its configuration saying so, for a minute. Metrics besides those of
//! all hypervisors: `roost_instance_start_time_seconds`, `roost_instance_cpu_seconds_total`.

mod judge;

use super::libvirt::{Domain, Driver, Look, Source};
use super::proc::{self, Stat};
use crate::clock;
use crate::collector::{About, Collected, Collector, Pending};
use crate::collectors::inst_status::{self, ActualState, Report, Status};
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::{ClusterView, Guest, World};
use judge::{actual_state, hangs, judge, judge_stranger};
use roost_proto::error::Result;
use roost_proto::paths::Paths;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For how long one that was here may be gone before its configuration says so.
const LEAVING: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub struct InstStatus {
    source: Arc<Source>,
    /// What was seen of guests before, by name.
    seen: Mutex<HashMap<String, Seen>>,
}

/// What earlier looks have seen of a guest.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Since when it is here,
    since: Instant,
    /// and since when it is not any more.
    gone: Option<Instant>,
    /// Since when its QEMU does not answer, and the processor time it had used then.
    silent: Option<(Instant, Option<u64>)>,
}

/// A guest's process.
#[derive(Clone, Debug, PartialEq)]
struct Process {
    stat: Stat,
    /// For how long it has run.
    age: Duration,
}

/// What there is of a guest here.
#[derive(Clone, Debug)]
struct Found<'a> {
    domain: &'a Domain,
    process: Option<Process>,
    seen: Seen,
    at: Instant,
}

impl InstStatus {
    pub fn new(source: Arc<Source>) -> InstStatus {
        InstStatus { source, seen: Mutex::default() }
    }

    /// Notes what is here now and returns what was noted of each guest.
    fn note(&self, look: &Look) -> HashMap<String, Seen> {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let active = look.domains.iter().filter(|domain| domain.state.is_active());
        let active: Vec<&Domain> = active.collect();
        let there: BTreeSet<&str> = active.iter().map(|domain| domain.name.as_str()).collect();
        all.retain(|name, seen| {
            let since = *seen.gone.get_or_insert(look.at);
            there.contains(name.as_str()) || look.at.duration_since(since) < LEAVING
        });
        for domain in active {
            let before = all.get(&domain.name).copied();
            all.insert(domain.name.clone(), noted(before, domain, look.at));
        }
        all.clone()
    }

    async fn report(&self, world: &World) -> Result<Collected> {
        let driver = self.source.driver();
        let cluster = world.cluster();
        let look = match self.source.look().await {
            Ok(look) => look,
            Err(error) => return inst_status::unknown(&error.message),
        };
        let seen = self.note(&look);
        let uptime = proc::uptime();
        let found: HashMap<&str, Found<'_>> = (look.domains.iter())
            .filter(|domain| domain.state.is_active())
            .map(|domain| {
                let process = process_of(driver, domain, uptime);
                let first = Seen::new(look.at);
                let seen = seen.get(&domain.name).copied().unwrap_or(first);
                (domain.name.as_str(), Found { domain, process, seen, at: look.at })
            })
            .collect();
        let instances = match belongs(world, &cluster) {
            Belongs::Nowhere => without_cluster(&found),
            Belongs::Unheard => {
                let message = "This node is in a cluster, but no confd has said yet which instances \
                               are its: does it run on the master candidates ('daemon-util status \
                               confd')?";
                let status = Health::new(Code::Unknown, message);
                let data = Data::of(&Report { instances: vec![], status })?;
                return Ok(Collected { data, metrics: Metrics::default() });
            }
            Belongs::Known => {
                let guests = cluster.guests.iter().filter(|g| g.hypervisor == driver.hypervisor());
                let guests: Vec<&Guest> = guests.collect();
                let mut all = own(&guests, &found, &seen, world.paths());
                let others = strangers(&guests, &found, || instance_names(world.paths()));
                all.extend(others);
                all
            }
        };
        let metrics = metrics(driver, &instances, &found);
        let data = Data::of(&Report { status: merged(&instances), instances })?;
        Ok(Collected { data, metrics })
    }
}

impl Collector for InstStatus {
    fn about(&self) -> About {
        let name = match self.source.driver() {
            Driver::Qemu => "inst-status-kvm",
            Driver::Lxc => "inst-status-lxc",
        };
        About::built_in(name, Category::Instance, Kind::Status)
    }

    fn applies(&self, world: &World) -> bool {
        super::has_hypervisor(world, self.source.driver())
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(self.report(world))
    }
}

/// Where this machine belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belongs {
    Nowhere,
    /// In a cluster that has not been heard yet.
    Unheard,
    Known,
}

fn belongs(world: &World, cluster: &ClusterView) -> Belongs {
    match cluster.node {
        Some(_) => Belongs::Known,
        None if world.paths().identity().exists() => Belongs::Unheard,
        None => Belongs::Nowhere,
    }
}

/// What is known of a guest after another look.
fn noted(before: Option<Seen>, domain: &Domain, now: Instant) -> Seen {
    // One that was away for a moment begins anew.
    let before = before.filter(|seen| seen.gone.is_none_or(|at| at == now));
    let before = before.unwrap_or(Seen::new(now));
    let silent = match domain.answered {
        Some(true) => None,
        Some(false) => before.silent.or(Some((now, domain.cpu_time))),
        // Nobody asked: nothing new is known.
        None => before.silent,
    };
    Seen { silent, gone: None, ..before }
}

impl Seen {
    /// It was never seen before.
    fn new(now: Instant) -> Seen {
        Seen { since: now, gone: None, silent: None }
    }
}

/// The process of a guest. libvirt's own files tell which it is.
fn process_of(driver: Driver, domain: &Domain, uptime: f64) -> Option<Process> {
    let pid = match driver {
        Driver::Lxc => domain.id?,
        Driver::Qemu => super::qemu_pid(&domain.name)?,
    };
    let stat = Stat::of(pid)?;
    let age = Duration::try_from_secs_f64(stat.age(uptime)).ok()?;
    Some(Process { stat, age })
}

fn instance(guest: &Guest, found: Option<&Found<'_>>, status: Health) -> Status {
    let age = found.and_then(|found| Some(found.process.as_ref()?.age));
    Status {
        name: guest.name.clone(),
        uuid: guest.uuid.clone(),
        admin_state: guest.admin_state.clone(),
        actual_state: found.map_or(ActualState::Shutdown, actual_state),
        uptime: age.map(proc::clock_like),
        mtime: guest.mtime.as_secs_f64(),
        state_reason: vec![],
        status,
    }
}

/// The instances whose primary node this is.
fn own(
    guests: &[&Guest],
    found: &HashMap<&str, Found<'_>>,
    seen: &HashMap<String, Seen>,
    paths: &Paths,
) -> Vec<Status> {
    let primary = guests.iter().filter(|guest| guest.primary);
    primary
        .map(|guest| {
            let found = found.get(guest.name.as_str());
            let state_reason = inst_status::reasons(paths, &guest.name);
            let left = seen.get(&guest.name).is_some_and(|seen| seen.gone.is_some());
            Status { state_reason, ..instance(guest, found, judge(guest, found, left)) }
        })
        .collect()
}

/// Instances of the cluster that are here although another node is their primary, by name. `names`: all instances
/// of the cluster; asked only if needed.
fn strangers(
    guests: &[&Guest],
    found: &HashMap<&str, Found<'_>>,
    names: impl FnOnce() -> BTreeSet<String>,
) -> Vec<Status> {
    let is_own = |name: &str| guests.iter().any(|guest| guest.primary && guest.name == name);
    let mut others: Vec<&Found<'_>> =
        found.values().filter(|found| !is_own(&found.domain.name)).collect();
    if others.is_empty() {
        return vec![];
    }
    // A machine may have guests that the cluster knows nothing of, by its administrator's wish.
    let names = names();
    others.retain(|found| {
        let name = &found.domain.name;
        names.contains(name) || guests.iter().any(|guest| guest.name == *name)
    });
    others.sort_by(|a, b| a.domain.name.cmp(&b.domain.name));
    let report = |found: &&Found<'_>| {
        let known = guests.iter().find(|guest| guest.name == found.domain.name);
        let guest = known.map_or_else(|| stand_in(found.domain), |guest| (*guest).clone());
        instance(&guest, Some(found), judge_stranger(found))
    };
    others.iter().map(report).collect()
}

/// What is known of a guest without its configuration.
fn stand_in(domain: &Domain) -> Guest {
    Guest {
        name: domain.name.clone(),
        uuid: domain.uuid.clone().unwrap_or_default(),
        admin_state: "unknown".into(),
        ..Guest::default()
    }
}

/// All guests, where no cluster says how they should be.
fn without_cluster(found: &HashMap<&str, Found<'_>>) -> Vec<Status> {
    let mut all: Vec<&Found<'_>> = found.values().collect();
    all.sort_by(|a, b| a.domain.name.cmp(&b.domain.name));
    let report = |found: &&Found<'_>| {
        let status = match actual_state(found) {
            ActualState::Hung => Health::new(Code::Unknown, hangs(found).unwrap_or_default()),
            ActualState::Crashed => Health::new(Code::Bad, "It crashed"),
            _ => Health::ok(),
        };
        instance(&stand_in(found.domain), Some(found), status)
    };
    all.iter().map(report).collect()
}

/// The names of all instances of the cluster, as every node knows them.
fn instance_names(paths: &Paths) -> BTreeSet<String> {
    let text = std::fs::read_to_string(paths.ssconf("instance_list")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The judgement on all.
fn merged(instances: &[Status]) -> Health {
    let named = |one: &Status| {
        Health::new(one.status.code, format!("{}: {}", one.name, one.status.message))
    };
    let all: Vec<Health> = instances.iter().map(named).collect();
    Health::merged(&all)
}

fn metrics(driver: Driver, instances: &[Status], found: &HashMap<&str, Found<'_>>) -> Metrics {
    let mut metrics = inst_status::metrics(instances, driver.hypervisor());
    let now = clock::now().as_secs_f64();
    for one in instances {
        let labels = [("instance_name", one.name.as_str()), ("hypervisor", driver.hypervisor())];
        let Some(found) = found.get(one.name.as_str()) else { continue };
        if let Some(process) = &found.process {
            metrics.gauge(
                "roost_instance_start_time_seconds",
                "When the process of a guest was started, since 1970",
                &labels,
                (now - process.age.as_secs_f64()).round(),
            );
        }
        if let Some(time) = found.domain.cpu_time {
            metrics.counter(
                "roost_instance_cpu_seconds",
                "Processor time that a guest has used",
                &labels,
                time as f64 / 1e9,
            );
        }
    }
    metrics
}

#[cfg(test)]
mod tests;
