//! `daemons` (daemon): the daemons of this node.
//!
//! ```json
//! {"status": {"code": 0, "message": ""},
//!  "daemons": [{"name": "noded", "expected": true, "running": true, "pid": 412, "since": 1795166471.0,
//!               "resident": 14680064, "cpu_seconds": 1.25, "threads": 5, "open_files": 38, "restarts": 0,
//!               "answers": true, "status": {"code": 0, "message": ""}}]}
//! ```
//!
//! There are those that should run here, those that do, and those that are installed: `noded`, `masterd`, `confd`,
//! `mond`, `rapi` and `libvirtd` (or `virtqemud`, which replaces it). `expected`: noded on every node of a cluster,
//! masterd and confd on master candidates, rapi on the master where it is installed, libvirtd where a hypervisor
//! of the cluster needs it. `since` is in seconds since 1970, `resident` in bytes; `open_files` is null on kernels
//! before 6.2. `restarts` counts since mond was started.
//!
//! `answers` is seen without talking to a daemon: its port is open and connections do not wait there (noded, confd,
//! mond, rapi), it has reported a moment ago (masterd), or it told libvirt's clients of its guests (libvirtd); null:
//! there is nothing to be seen.
//!
//! Status: 4 it should run and does not, it is stopped by a signal, does not answer, or has been started three times
//! within ten minutes; 1 it was started less than half a minute ago and does not answer yet.
//!
//! Metrics, all with `{daemon}`: `roost_daemon_expected`, `…_up`, `…_answers`, `…_start_time_seconds`,
//! `…_resident_bytes`, `…_cpu_seconds_total`, `…_threads`, `…_open_files`, `…_restarts_total`.

use super::libvirt::Source;
use super::masterd::{self, Masterd};
use super::proc::{self, Memory, Stat, about};
use super::sockets::{Port, Ports};
use crate::clock;
use crate::collector::{About, Collected, Collector, Pending};
use crate::exec;
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::World;
use roost_proto::paths::{CONFD_PORT, MOND_PORT, NODED_PORT, Paths};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// TCP port of the REST gateway.
const RAPI_PORT: u16 = 5080;
/// A daemon may take so long until it answers, seconds.
const STARTING: f64 = 30.0;
/// Started so often within this time, it does not come up.
const OFTEN: usize = 3;
const LATELY: Duration = Duration::from_secs(600);
/// Connections may wait for a moment; not for so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// The kernel keeps so many characters of a process's name.
const NAME: usize = 15;

/// A daemon that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Noded,
    Masterd,
    Confd,
    Mond,
    Rapi,
    Libvirtd,
}

const ALL: [Which; 6] =
    [Which::Noded, Which::Masterd, Which::Confd, Which::Mond, Which::Rapi, Which::Libvirtd];

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Noded => "noded",
            Which::Masterd => "masterd",
            Which::Confd => "confd",
            Which::Mond => "mond",
            Which::Rapi => "rapi",
            Which::Libvirtd => "libvirtd",
        }
    }

    /// The programs that are it.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Which::Noded => &["roost-noded"],
            Which::Masterd => &["roost-masterd"],
            Which::Confd => &["gnt-confd"],
            Which::Mond => &["gnt-mond"],
            Which::Rapi => &["gnt-rapi"],
            Which::Libvirtd => &["libvirtd", "virtqemud"],
        }
    }

    fn pid_files(self, paths: &Paths) -> Vec<PathBuf> {
        match self {
            Which::Libvirtd => {
                ["/run/libvirtd.pid", "/run/virtqemud.pid"].map(PathBuf::from).into()
            }
            _ => vec![paths.pid_file(self.name())],
        }
    }

    /// How to start it, and where it complains.
    fn advice(self, verb: &str) -> String {
        match self {
            Which::Libvirtd => format!(
                "'systemctl {verb} libvirtd' (or virtqemud); 'journalctl -u libvirtd' says more"
            ),
            _ => format!(
                "'daemon-util {verb} {name}'; /var/log/ganeti/{name}.log (or journalctl) says more",
                name = self.name()
            ),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Daemons {
    source: Arc<Source>,
    seen: Mutex<HashMap<Which, Seen>>,
}

/// What earlier looks have seen of a daemon.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The process it was: number, and when it was started.
    process: Option<(u32, u64)>,
    /// How often it was another than before, and when lately.
    restarts: u64,
    lately: VecDeque<Instant>,
    /// Since when connections wait.
    waiting: Option<Instant>,
}

/// A process at a moment.
#[derive(Clone, Debug, PartialEq)]
struct Process {
    pid: u32,
    stat: Stat,
    memory: Memory,
    /// Seconds it has run.
    age: f64,
    open_files: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    status: Health,
    daemons: Vec<Daemon>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Daemon {
    name: &'static str,
    expected: bool,
    running: bool,
    pid: Option<u32>,
    since: Option<f64>,
    resident: Option<u64>,
    cpu_seconds: Option<f64>,
    threads: Option<u64>,
    open_files: Option<u64>,
    restarts: u64,
    answers: Option<bool>,
    status: Health,
}

impl Daemons {
    pub fn new(source: Arc<Source>) -> Daemons {
        Daemons { source, seen: Mutex::default() }
    }

    async fn look(&self, world: &World, which: Which, ports: &Ports) -> Option<Daemon> {
        let expected = is_expected(world, which);
        let process = find(world.paths(), which);
        if !expected && process.is_none() && !is_installed(which) {
            return None;
        }
        // It is asked only where it seems to run: otherwise it cannot answer.
        let answer = match (&process, which) {
            (None, _) => None,
            (Some(_), Which::Libvirtd) => Some(Answer::Told(self.source.look().await.is_ok())),
            (Some(_), Which::Masterd) => told_by_masterd(world.paths()),
            (Some(_), Which::Confd) => Some(Answer::Port(ports.udp(CONFD_PORT))),
            (Some(_), Which::Noded) => Some(Answer::Port(ports.tcp(NODED_PORT))),
            (Some(_), Which::Rapi) => Some(Answer::Port(ports.tcp(RAPI_PORT))),
            // This one may have been told to listen elsewhere.
            (Some(_), Which::Mond) => match ports.tcp(MOND_PORT) {
                Port::Closed => None,
                open => Some(Answer::Port(open)),
            },
        };
        let now = Instant::now();
        let seen = {
            let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = all.entry(which).or_default();
            seen.note(process.as_ref(), answer, now);
            seen.clone()
        };
        Some(daemon(which, expected, process.as_ref(), answer, &seen, now))
    }
}

impl Collector for Daemons {
    fn about(&self) -> About {
        About::built_in("daemons", Category::Daemon, Kind::Status)
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async move {
            let (ports, mut daemons) = (Ports::read(), vec![]);
            for which in ALL {
                daemons.extend(self.look(world, which, &ports).await);
            }
            let report = Report { status: merged(&daemons), daemons };
            Ok(Collected { metrics: metrics(&report.daemons), data: Data::of(&report)? })
        })
    }
}

/// What was seen of whether a daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Told(bool),
    Port(Port),
}

/// masterd of a cluster reports, whether it leads or not.
fn told_by_masterd(paths: &Paths) -> Option<Answer> {
    if !paths.identity().exists() {
        return None;
    }
    let says = matches!(masterd::look(paths), Ok(Masterd::Says(_)));
    Some(Answer::Told(says))
}

fn is_expected(world: &World, which: Which) -> bool {
    let cluster = world.cluster();
    let in_cluster = || cluster.node.is_some() || world.paths().identity().exists();
    match which {
        Which::Noded => in_cluster(),
        Which::Masterd => masterd::is_candidate(world),
        Which::Confd => is_installed(which) && masterd::is_candidate(world),
        // It reports this.
        Which::Mond => true,
        Which::Rapi => is_installed(which) && masterd::is_master(world),
        Which::Libvirtd => {
            let mut enabled = cluster.enabled_hypervisors.iter();
            enabled.any(|name| matches!(name.as_str(), "kvm" | "lxc"))
        }
    }
}

/// Whether a program of it is on this machine: where programs are, or beside this one.
fn is_installed(which: Which) -> bool {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
    which.programs().iter().any(|program| {
        let is_in = |dir: &Path| dir.join(program).is_file();
        exec::find(program).is_some()
            || is_in(Path::new("/usr/local/sbin"))
            || beside.as_deref().is_some_and(is_in)
    })
}

/// The process of a daemon, if it runs.
fn find(paths: &Paths, which: Which) -> Option<Process> {
    let uptime = proc::uptime();
    if which == Which::Mond {
        return process(std::process::id(), uptime);
    }
    let noted = which.pid_files(paths).into_iter().find_map(|file| {
        let pid = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
        process(pid, uptime).filter(|found| is_it(which, found))
    });
    // Below another root there may be several of a kind, all visible.
    let is_alone = paths.run_dir() == Path::new("/run/ganeti");
    noted.or_else(|| is_alone.then(|| search(which, uptime)).flatten())
}

fn process(pid: u32, uptime: f64) -> Option<Process> {
    let stat = Stat::of(pid).filter(Stat::lives)?;
    let memory = Memory::of(pid)?;
    Some(Process { pid, age: stat.age(uptime), open_files: proc::open_files(pid), stat, memory })
}

/// The number in a file may belong to something else by now.
fn is_it(which: Which, process: &Process) -> bool {
    let kept = |program: &str| program.get(..NAME).unwrap_or(program).to_owned();
    which.programs().iter().any(|program| kept(program) == process.stat.name)
}

/// Looks at all processes.
fn search(which: Which, uptime: f64) -> Option<Process> {
    let pids = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find_map(|pid| {
        let is_named = Stat::of(pid).is_some_and(|stat| {
            which.programs().iter().any(|p| p.get(..NAME).unwrap_or(p) == stat.name)
        });
        // Containers have machines of their own: their processes have more numbers than one.
        let is_here = || {
            let status = proc::text_of(pid, "status").unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            line.is_none_or(|numbers| numbers.split_whitespace().count() == 1)
        };
        (is_named && is_here()).then(|| process(pid, uptime)).flatten()
    })
}

impl Seen {
    /// Takes another look.
    fn note(&mut self, process: Option<&Process>, answer: Option<Answer>, now: Instant) {
        if let Some(process) = process {
            let is = (process.pid, process.stat.started);
            if self.process.is_some_and(|was| was != is) {
                self.restarts += 1;
                self.lately.push_back(now);
            }
            self.process = Some(is);
        }
        while self.lately.len() > OFTEN
            || self.lately.front().is_some_and(|at| now.duration_since(*at) > LATELY)
        {
            self.lately.pop_front();
        }
        let waits = matches!(answer, Some(Answer::Port(Port::Open { waiting: 1.. })));
        self.waiting = waits.then(|| self.waiting.unwrap_or(now));
    }

    fn answers(&self, answer: Option<Answer>, now: Instant) -> Option<bool> {
        Some(match answer? {
            Answer::Told(says) => says,
            Answer::Port(Port::Closed) => false,
            Answer::Port(Port::Open { .. }) => {
                self.waiting.is_none_or(|since| now.duration_since(since) < PATIENCE)
            }
        })
    }
}

fn daemon(
    which: Which,
    expected: bool,
    process: Option<&Process>,
    answer: Option<Answer>,
    seen: &Seen,
    now: Instant,
) -> Daemon {
    let answers = seen.answers(answer, now);
    let since = process.map(|process| (clock::now().as_secs_f64() - process.age).round());
    Daemon {
        name: which.name(),
        expected,
        running: process.is_some(),
        pid: process.map(|process| process.pid),
        since,
        resident: process.map(|process| process.memory.resident),
        cpu_seconds: process.map(|process| process.stat.cpu_seconds()),
        threads: process.map(|process| process.stat.threads),
        open_files: process.and_then(|process| process.open_files),
        restarts: seen.restarts,
        answers,
        status: judge(which, expected, process, answers, seen),
    }
}

fn judge(
    which: Which,
    expected: bool,
    process: Option<&Process>,
    answers: Option<bool>,
    seen: &Seen,
) -> Health {
    let name = which.name();
    let Some(process) = process else {
        return match expected {
            false => Health::ok(),
            true => Health::new(
                Code::Bad,
                format!("It does not run, and should: {}", which.advice("start")),
            ),
        };
    };
    let pid = process.pid;
    if process.stat.is_stopped() {
        return Health::new(
            Code::Bad,
            format!(
                "It is stopped by a signal or a debugger: 'kill -CONT {pid}' lets {name} go on, or \
                 {}",
                which.advice("restart")
            ),
        );
    }
    if seen.lately.len() >= OFTEN {
        return Health::new(
            Code::Bad,
            format!(
                "It was started {} times within {}: {}",
                seen.lately.len(),
                about(LATELY.as_secs_f64()),
                which.advice("restart")
            ),
        );
    }
    match answers {
        Some(false) if process.age < STARTING => {
            Health::new(Code::Fixing, "It was just started and does not answer yet")
        }
        Some(false) => Health::new(
            Code::Bad,
            format!("It runs but does not answer: {}", which.advice("restart")),
        ),
        _ => Health::ok(),
    }
}

fn merged(daemons: &[Daemon]) -> Health {
    let named = |one: &Daemon| {
        Health::new(one.status.code, format!("{}: {}", one.name, one.status.message))
    };
    let all: Vec<Health> = daemons.iter().map(named).collect();
    Health::merged(&all)
}

fn metrics(daemons: &[Daemon]) -> Metrics {
    let mut metrics = Metrics::default();
    let flag = |is: bool| f64::from(u8::from(is));
    for one in daemons {
        let labels = [("daemon", one.name)];
        for (name, help, value) in [
            (
                "roost_daemon_expected",
                "Whether a daemon should run on this node",
                Some(flag(one.expected)),
            ),
            ("roost_daemon_up", "Whether a daemon runs", Some(flag(one.running))),
            ("roost_daemon_answers", "Whether a daemon answers", one.answers.map(flag)),
            ("roost_daemon_start_time_seconds", "When it was started, since 1970", one.since),
            (
                "roost_daemon_resident_bytes",
                "Memory that it holds",
                one.resident.map(|bytes| bytes as f64),
            ),
            ("roost_daemon_threads", "Its threads", one.threads.map(|n| n as f64)),
            ("roost_daemon_open_files", "Files it has open", one.open_files.map(|n| n as f64)),
        ] {
            if let Some(value) = value {
                metrics.gauge(name, help, &labels, value);
            }
        }
        if let Some(seconds) = one.cpu_seconds {
            let help = "Processor time that it has used";
            metrics.counter("roost_daemon_cpu_seconds", help, &labels, seconds);
        }
        let help = "How often it was seen to be another process than before";
        metrics.counter("roost_daemon_restarts", help, &labels, one.restarts as f64);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::super::libvirt::Driver;
    use super::*;
    use crate::world::ClusterView;

    fn process(pid: u32, state: char, age: f64) -> Process {
        let stat = Stat { name: "roost-noded".into(), state, ticks: 5, threads: 2, started: 9 };
        Process { pid, stat, memory: Memory::default(), age, open_files: None }
    }

    fn code(process: Option<&Process>, expected: bool, answers: Option<bool>) -> Code {
        judge(Which::Noded, expected, process, answers, &Seen::default()).code
    }

    #[test]
    fn a_daemon_is_judged_by_whether_it_should_run_and_answers() {
        let (old, young) = (process(7, 'S', 100.0), process(7, 'S', 29.0));
        assert_eq!(code(None, false, None), Code::Ok);
        assert_eq!(code(None, true, None), Code::Bad);
        assert_eq!(code(Some(&old), true, Some(true)), Code::Ok);
        assert_eq!(code(Some(&old), true, None), Code::Ok);
        assert_eq!(code(Some(&old), true, Some(false)), Code::Bad);
        assert_eq!(code(Some(&young), true, Some(false)), Code::Fixing);
        assert_eq!(code(Some(&process(7, 'T', 100.0)), true, Some(true)), Code::Bad);
        let health = judge(Which::Noded, true, None, None, &Seen::default());
        assert!(health.message.contains("'daemon-util start noded'"), "{health:?}");
        let health = judge(Which::Libvirtd, true, None, None, &Seen::default());
        assert!(health.message.contains("'systemctl start libvirtd'"), "{health:?}");
    }

    #[test]
    fn restarts_are_counted_and_many_are_bad() {
        let start = Instant::now();
        let mut seen = Seen::default();
        let at = |n: u64| start + Duration::from_secs(n);
        seen.note(Some(&process(1, 'S', 0.0)), None, at(0));
        seen.note(Some(&process(1, 'S', 0.0)), None, at(1));
        seen.note(None, None, at(2));
        assert_eq!(seen.restarts, 0);
        for n in 2..5 {
            seen.note(Some(&process(n, 'S', 0.0)), None, at(u64::from(n)));
        }
        assert_eq!(seen.restarts, 3);
        let now = process(4, 'S', 100.0);
        assert_eq!(judge(Which::Noded, true, Some(&now), None, &seen).code, Code::Bad);
        seen.note(Some(&now), None, at(4 + 601));
        assert_eq!((seen.restarts, seen.lately.len()), (3, 0));
        assert_eq!(judge(Which::Noded, true, Some(&now), None, &seen), Health::ok());
    }

    #[test]
    fn connections_may_wait_for_a_moment() {
        let start = Instant::now();
        let later = start + Duration::from_secs(3);
        let open = |waiting| Some(Answer::Port(Port::Open { waiting }));
        let running = process(1, 'S', 100.0);
        let mut seen = Seen::default();
        seen.note(Some(&running), open(2), start);
        assert_eq!(seen.answers(open(2), start), Some(true));
        seen.note(Some(&running), open(1), later);
        assert_eq!(seen.answers(open(1), later), Some(false));
        seen.note(Some(&running), open(0), later);
        assert_eq!(seen.answers(open(0), later), Some(true));
        assert_eq!(seen.answers(Some(Answer::Port(Port::Closed)), later), Some(false));
        assert_eq!(seen.answers(Some(Answer::Told(false)), later), Some(false));
        assert_eq!(seen.answers(None, later), None);
    }

    #[tokio::test]
    async fn outside_a_cluster_only_what_is_here_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(Paths::new(Some(dir.path().into())), Default::default());
        let daemons = Daemons::new(Source::new(Driver::Qemu));
        let mond = daemons.look(&world, Which::Mond, &Ports::read()).await.unwrap();
        assert!(mond.running && mond.pid == Some(std::process::id()), "{mond:?}");
        assert!(!is_expected(&world, Which::Noded) && !is_expected(&world, Which::Libvirtd));
        let view = ClusterView {
            node: Some("node1.lab".into()),
            enabled_hypervisors: vec!["fake".into(), "kvm".into()],
            ..ClusterView::default()
        };
        world.set_cluster(view);
        assert!(is_expected(&world, Which::Noded) && is_expected(&world, Which::Libvirtd));
        assert!(!is_expected(&world, Which::Masterd), "it is no candidate");
        let noded = daemons.look(&world, Which::Noded, &Ports::read()).await.unwrap();
        assert_eq!((noded.running, noded.status.code), (false, Code::Bad));
    }

    #[test]
    fn a_pid_file_is_believed_only_if_the_process_is_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        std::fs::create_dir_all(paths.run_dir()).unwrap();
        std::fs::write(paths.pid_file("noded"), format!("{}\n", std::process::id())).unwrap();
        assert_eq!(find(&paths, Which::Noded), None, "that is this test");
        assert!(is_it(Which::Noded, &process(1, 'S', 0.0)));
        assert!(!is_it(Which::Masterd, &process(1, 'S', 0.0)));
    }

    #[test]
    fn the_report_names_who_is_ill_and_has_metrics() {
        let running = process(7, 'S', 100.0);
        let seen = Seen::default();
        let now = Instant::now();
        let noded = daemon(Which::Noded, true, Some(&running), None, &seen, now);
        let masterd = daemon(Which::Masterd, true, None, None, &seen, now);
        let all = [noded, masterd];
        assert!(merged(&all).message.starts_with("\nmasterd: It does not run"));
        let families = metrics(&all).families;
        let up = families.iter().find(|family| family.name == "roost_daemon_up").unwrap();
        let values: Vec<f64> = up.samples.iter().map(|sample| sample.value).collect();
        assert_eq!(values, [1.0, 0.0]);
    }
}
