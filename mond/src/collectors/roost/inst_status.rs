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
//! seconds, and so is one that has come without its configuration saying so, for a minute. Metrics: `roost_instance_up`, `roost_instance_status`, `roost_instance_start_time_seconds`,
//! `roost_instance_cpu_seconds_total`.

use super::libvirt::{Domain, Driver, Look, Source, State, reason};
use super::proc::{self, Stat};
use crate::clock;
use crate::collector::{About, Collected, Collector, Pending};
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::{ClusterView, Guest, World};
use roost_proto::paths::Paths;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For how long a guest may be here before its configuration says so: migrations end with that, and confd is asked
/// every few seconds only.
const ARRIVING: Duration = Duration::from_secs(60);
/// For how long one that was here may be gone before its configuration says so.
const LEAVING: Duration = Duration::from_secs(20);
/// A QEMU that has not answered for so long hangs, whatever its processors do.
const SILENT: Duration = Duration::from_secs(60);
/// Two looks that tell whether a guest uses its processors are at least this far apart.
const APART: Duration = Duration::from_secs(3);
/// A file with reasons is not read further: it is a short list.
const LONGEST_REASONS: u64 = 64 << 10;

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

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    instances: Vec<Instance>,
    status: Health,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Instance {
    name: String,
    uuid: String,
    #[serde(rename = "adminState")]
    admin_state: String,
    #[serde(rename = "actualState")]
    actual_state: &'static str,
    uptime: Option<String>,
    mtime: f64,
    state_reason: Value,
    status: Health,
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

    async fn report(&self, world: &World) -> (Report, Metrics) {
        let driver = self.source.driver();
        let cluster = world.cluster();
        let look = match self.source.look().await {
            Ok(look) => look,
            Err(error) => {
                let message = format!("Unable to receive the list of instances: {}", error.message);
                let status = Health::new(Code::Bad, message);
                return (Report { instances: vec![], status }, Metrics::default());
            }
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
                return (Report { instances: vec![], status }, Metrics::default());
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
        (Report { status: merged(&instances), instances }, metrics)
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
        Box::pin(async move {
            let (report, metrics) = self.report(world).await;
            Ok(Collected { data: Data::of(&report)?, metrics })
        })
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

/// Why a guest hangs; None: it does not, as far as can be seen.
fn hangs(found: &Found<'_>) -> Option<String> {
    if let Some(process) = &found.process
        && process.stat.is_stopped()
    {
        return Some("a signal or a debugger has stopped its process".into());
    }
    let (since, cpu_then) = found.seen.silent.filter(|_| found.domain.answered == Some(false))?;
    let silent = found.at.duration_since(since);
    let idle = cpu_then.is_some() && cpu_then == found.domain.cpu_time;
    let time = proc::about(silent.as_secs_f64());
    if silent >= SILENT {
        return Some(format!("its QEMU has not answered for {time}"));
    }
    (idle && silent >= APART)
        .then(|| format!("its QEMU has neither answered nor done anything for {time}"))
}

/// The state, by the words of the reference.
fn actual_state(found: &Found<'_>) -> &'static str {
    let domain = found.domain;
    match domain.state {
        State::Running | State::Blocked | State::Unknown if hangs(found).is_some() => "hung",
        State::Running => "running",
        State::Blocked => "blocked",
        State::Paused if domain.reason == reason::PAUSED_CRASHED => "crashed",
        State::Paused | State::Asleep => "paused",
        State::Ending => "dying",
        State::Off => "shutdown",
        State::Crashed => "crashed",
        State::Unknown => "unknown",
    }
}

/// Whether a paused guest is so for a moment, by the work of somebody.
fn is_passing(domain: &Domain) -> bool {
    let passing = [
        reason::PAUSED_MIGRATION,
        reason::PAUSED_SAVE,
        reason::PAUSED_DUMP,
        reason::PAUSED_SNAPSHOT,
        reason::PAUSED_STARTING_UP,
        reason::PAUSED_POSTCOPY,
    ];
    domain.state == State::Paused && passing.contains(&domain.reason)
}

/// Judges an instance whose primary node this is: the reference's rules and sentences, and what to do. `left`: it
/// was here a moment ago.
fn judge(guest: &Guest, found: Option<&Found<'_>>, left: bool) -> Health {
    let name = &guest.name;
    match guest.admin_state.as_str() {
        "up" if found.is_none() && left => Health::new(
            Code::Unknown,
            "Its guest was here a moment ago and is gone: it will be seen whether it was migrated, \
             starts anew, or has ended",
        ),
        "up" => judge_up(name, found),
        "down" => match found.map(|found| (found.domain.state, found)) {
            None | Some((State::Off | State::Ending, _)) => Health::ok(),
            Some(_) => Health::new(
                Code::Bad,
                format!(
                    "The instance is not stopped as it should be: stop it with 'gnt-instance \
                     shutdown {name}', or let it run with 'gnt-instance start {name}'"
                ),
            ),
        },
        "offline" => Health::new(Code::Unknown, "The instance is marked as offline"),
        other => Health::new(Code::Unknown, format!("'{other}' is no state that is known here")),
    }
}

fn judge_up(name: &str, found: Option<&Found<'_>>) -> Health {
    let bad = |why: String| {
        Health::new(Code::Bad, format!("The instance is not running as it should be: {why}"))
    };
    let start = format!("start it with 'gnt-instance start {name}'");
    let Some(found) = found else {
        return bad(format!("there is no guest of it on this node; {start}"));
    };
    if let ("hung", Some(why)) = (actual_state(found), hangs(found)) {
        let message = format!(
            "Instance marked as running, but it appears to be hung: {why}. See whether its storage \
             answers; 'gnt-instance reboot --type=hard {name}' starts it anew"
        );
        return Health::new(Code::Unknown, message);
    }
    let domain = found.domain;
    match domain.state {
        State::Running | State::Blocked => Health::ok(),
        _ if is_passing(domain) => {
            Health::new(Code::Fixing, "It is paused while it is moved, saved or started")
        }
        State::Paused => match domain.reason {
            reason::PAUSED_IOERROR => bad(format!(
                "it was paused because a disk of it failed. Mend the disk ('gnt-instance \
                 info {name}' shows it), then 'virsh resume {name}' on this node"
            )),
            reason::PAUSED_CRASHED => {
                bad(format!("its system crashed; 'gnt-instance reboot {name}'"))
            }
            reason::PAUSED_POSTCOPY_FAILED => bad(format!(
                "its migration broke while part of its memory was on the other node. If that node \
                 is lost, 'gnt-instance reboot --type=hard {name}' starts it anew"
            )),
            _ => bad(format!("it is paused; 'virsh resume {name}' on this node lets it go on")),
        },
        State::Asleep => bad(format!(
            "its system has put itself to sleep; 'virsh dompmwakeup {name}' on this node wakes it"
        )),
        State::Ending => bad(format!("it is shutting down; when it has, {start}")),
        State::Off => bad(format!("it has ended; {start}")),
        State::Crashed => bad(format!("it crashed; {start}")),
        State::Unknown => Health::new(
            Code::Unknown,
            "libvirt does not know what it does: see libvirt's log on this node",
        ),
    }
}

/// Judges an instance that is here although another node is its primary.
fn judge_stranger(found: &Found<'_>) -> Health {
    let is_new = found.at.duration_since(found.seen.since) < ARRIVING;
    if is_new || is_passing(found.domain) {
        return Health::new(
            Code::Unknown,
            "It has just come here: if it was migrated, its configuration will say so in a moment",
        );
    }
    Health::new(
        Code::Bad,
        "The instance runs here, but its primary node is another: if it runs there too, its disks \
         are in danger. 'gnt-cluster verify' shows both; 'virsh destroy' ends the one that is wrong",
    )
}

fn instance(guest: &Guest, found: Option<&Found<'_>>, status: Health) -> Instance {
    let age = found.and_then(|found| Some(found.process.as_ref()?.age));
    Instance {
        name: guest.name.clone(),
        uuid: guest.uuid.clone(),
        admin_state: guest.admin_state.clone(),
        actual_state: found.map_or("shutdown", actual_state),
        uptime: age.map(proc::clock_like),
        mtime: guest.mtime.as_secs_f64(),
        state_reason: Value::Array(vec![]),
        status,
    }
}

/// The instances whose primary node this is.
fn own(
    guests: &[&Guest],
    found: &HashMap<&str, Found<'_>>,
    seen: &HashMap<String, Seen>,
    paths: &Paths,
) -> Vec<Instance> {
    let primary = guests.iter().filter(|guest| guest.primary);
    primary
        .map(|guest| {
            let found = found.get(guest.name.as_str());
            let state_reason = reasons(&paths.instance_reasons().join(&guest.name));
            let left = seen.get(&guest.name).is_some_and(|seen| seen.gone.is_some());
            Instance { state_reason, ..instance(guest, found, judge(guest, found, left)) }
        })
        .collect()
}

/// Instances of the cluster that are here although another node is their primary, by name. `names`: all instances
/// of the cluster; asked only if needed.
fn strangers(
    guests: &[&Guest],
    found: &HashMap<&str, Found<'_>>,
    names: impl FnOnce() -> BTreeSet<String>,
) -> Vec<Instance> {
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
fn without_cluster(found: &HashMap<&str, Found<'_>>) -> Vec<Instance> {
    let mut all: Vec<&Found<'_>> = found.values().collect();
    all.sort_by(|a, b| a.domain.name.cmp(&b.domain.name));
    let report = |found: &&Found<'_>| {
        let status = match actual_state(found) {
            "hung" => Health::new(Code::Unknown, hangs(found).unwrap_or_default()),
            "crashed" => Health::new(Code::Bad, "It crashed"),
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

/// Why an instance is in its state: `[[source, reason, nanoseconds since 1970], …]`, empty if nobody noted it.
fn reasons(path: &PathBuf) -> Value {
    let is_short = path.metadata().is_ok_and(|file| file.len() <= LONGEST_REASONS);
    let text = is_short.then(|| std::fs::read_to_string(path).ok()).flatten();
    let list = text.and_then(|text| serde_json::from_str::<Vec<Value>>(&text).ok());
    Value::Array(list.unwrap_or_default())
}

/// The judgement on all.
fn merged(instances: &[Instance]) -> Health {
    let named = |one: &Instance| {
        Health::new(one.status.code, format!("{}: {}", one.name, one.status.message))
    };
    let all: Vec<Health> = instances.iter().map(named).collect();
    Health::merged(&all)
}

fn metrics(driver: Driver, instances: &[Instance], found: &HashMap<&str, Found<'_>>) -> Metrics {
    let mut metrics = Metrics::default();
    let now = clock::now().as_secs_f64();
    for one in instances {
        let labels = [("instance_name", one.name.as_str()), ("hypervisor", driver.hypervisor())];
        let up = matches!(one.actual_state, "running" | "blocked");
        metrics.gauge(
            "roost_instance_up",
            "Whether the guest of an instance runs on this node",
            &labels,
            f64::from(u8::from(up)),
        );
        metrics.gauge(
            "roost_instance_status",
            "How an instance is: 0 as it should be, 1 being mended, 2 unknown, 4 wrong",
            &labels,
            f64::from(one.status.code as u8),
        );
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
#[path = "inst_status_tests.rs"]
mod tests;
