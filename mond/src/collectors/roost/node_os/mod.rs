//! `node-os` (default, kind 1): the node's operating system. Sizes in bytes, times in seconds.
//!
//! ```json
//! {"status": {"code": 0, "message": ""},
//!  "memory": {"total": 25276000, "available": …, "free": …, "buffers": …, "cached": …, "dirty": …,
//!             "unevictable": …, "shared": …, "slab": …, "swap_total": 0, "swap_free": 0},
//!  "pressure": {"cpu": {"some": {"avg10": 0.5, "avg60": 0.1, "avg300": 0.0, "total": 12.75}, "full": {…}},
//!               "memory": {"some": {…}, "full": {…}}, "io": {"some": {…}, "full": {…}}},
//!  "load": {"one": 0.5, "five": 0.25, "fifteen": 0.1, "running": 1, "processes": 412},
//!  "uptime": 86400.5, "boot_id": "…",
//!  "kernel": {"name": "Linux", "release": "6.1.0-18-amd64", "version": "#1 SMP …", "machine": "x86_64"},
//!  "time": {"now": 1795166471.5, "synchronized": true, "offset": 0.0001, "max_error": 0.02,
//!           "estimated_error": 0.001, "frequency_ppm": -12.5},
//!  "filesystems": [{"mount": "/", "device": "/dev/sda1", "type": "ext4", "needed": true, "size": …, "free": …,
//!                   "available": …, "used_percent": 41.5, "inodes": …, "inodes_free": …, "read_only": false,
//!                   "status": {"code": 0, "message": ""}}]}
//! ```
//!
//! What a kernel does not tell is null: `pressure` before 4.20 or with `psi=0`, single values in `memory`; `cpu.full`
//! is 0 for a whole machine. `pressure` is in percent of the time that some (or all) work stood still for
//! want of it; its `total` in seconds since the machine was started. `filesystems` are those on devices and over the
//! network, each once; `needed` are those with `/`, Ganeti's state and logs, and the cluster's storage directories.
//!
//! Status:
//!
//! | | |
//! |---|---|
//! | 4 | a needed filesystem is used to 97 % (of its room or its inodes), can only be read, or does not answer |
//! | 4 | less than 3 % of the memory is available, or all work stood still for want of memory for a tenth of the last five minutes |
//! | 2 | nobody keeps the clock, so nobody knows whether it is right; or the kernel does not say |
//! | 2 | another filesystem does not answer |
//!
//! Load, and pressure on processors and disks, are judged by nobody: guests may do what they are paid for.
//!
//! Metrics: `roost_node_memory_bytes{type}`, `roost_node_pressure_seconds_total{resource,share}`,
//! `roost_node_load{minutes}`, `roost_node_uptime_seconds`, `roost_node_clock_synchronized`,
//! `…_clock_offset_seconds`, `…_clock_max_error_seconds`, `roost_node_filesystem_size_bytes{mount,device,type}`,
//! `…_free_bytes`, `…_available_bytes`, `…_inodes`, `…_inodes_free`, `…_read_only`, `roost_node_kernel_info{…}`.

mod filesystems;
mod kernel_time;

use super::proc;
use crate::clock;
use crate::collector::{About, Collected, Collector, Pending};
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::World;
use filesystems::{Asker, Filesystem};
use kernel_time::KernelTime;
use serde::Serialize;
use std::fs;

/// Less memory available is too little, in parts of all.
const LITTLE_MEMORY: f64 = 0.03;
/// So much of five minutes without any work for want of memory is too much, in percent.
const MUCH_PRESSURE: f64 = 10.0;

/// See the module.
#[derive(Debug, Default)]
pub struct NodeOs {
    asker: Asker,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    status: Health,
    memory: Memory,
    pressure: Option<Pressures>,
    load: Option<Load>,
    uptime: f64,
    boot_id: Option<String>,
    kernel: Option<Kernel>,
    time: Time,
    filesystems: Vec<Filesystem>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Memory {
    total: Option<u64>,
    available: Option<u64>,
    free: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    dirty: Option<u64>,
    unevictable: Option<u64>,
    shared: Option<u64>,
    slab: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Pressures {
    cpu: Option<Pressure>,
    memory: Option<Pressure>,
    io: Option<Pressure>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Pressure {
    some: Option<Stalls>,
    full: Option<Stalls>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Stalls {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    /// Seconds.
    total: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Load {
    one: f64,
    five: f64,
    fifteen: f64,
    running: u64,
    processes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Kernel {
    name: String,
    release: String,
    version: String,
    machine: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Time {
    now: f64,
    synchronized: Option<bool>,
    offset: Option<f64>,
    max_error: Option<f64>,
    estimated_error: Option<f64>,
    frequency_ppm: Option<f64>,
}

impl Collector for NodeOs {
    fn about(&self) -> About {
        About::built_in("node-os", Category::Default, Kind::Status)
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async move {
            let filesystems = self.asker.filesystems(world.paths()).await;
            let report = report(filesystems, kernel_time::ask());
            Ok(Collected { metrics: metrics(&report), data: Data::of(&report)? })
        })
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn report(filesystems: Vec<Filesystem>, time: Option<KernelTime>) -> Report {
    let memory = memory(&read("/proc/meminfo"));
    let pressure = |name: &str| parse_pressure(&read(&format!("/proc/pressure/{name}")));
    let pressures =
        Pressures { cpu: pressure("cpu"), memory: pressure("memory"), io: pressure("io") };
    let is_told = pressures.memory.is_some() || pressures.io.is_some() || pressures.cpu.is_some();
    let boot_id = read("/proc/sys/kernel/random/boot_id").trim().to_owned();
    let status = merged(&memory, pressures.memory.as_ref(), time.as_ref(), &filesystems);
    Report {
        status,
        memory,
        pressure: is_told.then_some(pressures),
        load: parse_load(&read("/proc/loadavg")),
        uptime: proc::uptime(),
        boot_id: Some(boot_id).filter(|id| !id.is_empty()),
        kernel: kernel(),
        time: Time {
            now: clock::now().as_secs_f64(),
            synchronized: time.map(|time| time.synchronized),
            offset: time.map(|time| time.offset),
            max_error: time.map(|time| time.max_error),
            estimated_error: time.map(|time| time.estimated_error),
            frequency_ppm: time.map(|time| time.frequency),
        },
        filesystems,
    }
}

fn memory(meminfo: &str) -> Memory {
    let values = proc::values(meminfo);
    let value = |name: &str| values.get(name).copied();
    Memory {
        total: value("MemTotal"),
        available: value("MemAvailable"),
        free: value("MemFree"),
        buffers: value("Buffers"),
        cached: value("Cached"),
        dirty: value("Dirty"),
        unevictable: value("Unevictable"),
        shared: value("Shmem"),
        slab: value("Slab"),
        swap_total: value("SwapTotal"),
        swap_free: value("SwapFree"),
    }
}

/// Reads a file of `/proc/pressure`. None: there is nothing in it.
fn parse_pressure(text: &str) -> Option<Pressure> {
    let stalls = |line: &str| {
        let value = |key: &str| {
            let mut words = line.split_ascii_whitespace();
            let found = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
            found.parse::<f64>().ok().filter(|value| value.is_finite())
        };
        Some(Stalls {
            avg10: value("avg10")?,
            avg60: value("avg60")?,
            avg300: value("avg300")?,
            total: value("total")? / 1e6,
        })
    };
    let line = |name: &str| {
        text.lines()
            .find(|line| line.split_ascii_whitespace().next() == Some(name))
            .and_then(stalls)
    };
    let pressure = Pressure { some: line("some"), full: line("full") };
    (pressure != Pressure::default()).then_some(pressure)
}

/// Reads `/proc/loadavg`.
fn parse_load(text: &str) -> Option<Load> {
    let mut words = text.split_ascii_whitespace();
    let mut load = || words.next()?.parse::<f64>().ok().filter(|load| load.is_finite());
    let (one, five, fifteen) = (load()?, load()?, load()?);
    let (running, processes) = words.next()?.split_once('/')?;
    Some(Load {
        one,
        five,
        fifteen,
        running: running.parse().ok()?,
        processes: processes.parse().ok()?,
    })
}

fn kernel() -> Option<Kernel> {
    let name = nix::sys::utsname::uname().ok()?;
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    Some(Kernel {
        name: text(name.sysname()),
        release: text(name.release()),
        version: text(name.version()),
        machine: text(name.machine()),
    })
}

fn merged(
    memory: &Memory,
    pressure: Option<&Pressure>,
    time: Option<&KernelTime>,
    filesystems: &[Filesystem],
) -> Health {
    let named = |one: &Filesystem| {
        Health::new(one.status.code, format!("{}: {}", one.mount, one.status.message))
    };
    let mut all: Vec<Health> = filesystems.iter().map(named).collect();
    all.push(judge_memory(memory, pressure));
    all.push(judge_time(time));
    Health::merged(&all)
}

fn judge_memory(memory: &Memory, pressure: Option<&Pressure>) -> Health {
    let advice = "Move guests away, or lower what they have ('gnt-instance modify -B memory=…'); \
                  'free' and the collector kvm-memory show who has it";
    if let (Some(total), Some(available)) = (memory.total, memory.available)
        && (available as f64) < total as f64 * LITTLE_MEMORY
    {
        return Health::new(
            Code::Bad,
            format!(
                "memory: {} of {} MiB are left: soon the kernel ends processes, guests first. {advice}",
                available >> 20,
                total >> 20
            ),
        );
    }
    match pressure.and_then(|pressure| pressure.full) {
        Some(full) if full.avg300 >= MUCH_PRESSURE => Health::new(
            Code::Bad,
            format!(
                "memory: for {:.0} % of the last five minutes nothing went on for want of it. \
                 {advice}",
                full.avg300
            ),
        ),
        _ => Health::ok(),
    }
}

fn judge_time(time: Option<&KernelTime>) -> Health {
    match time {
        Some(time) if time.synchronized => Health::ok(),
        Some(_) => Health::new(
            Code::Unknown,
            "time: nobody keeps the clock of this node, so nobody knows whether it is right. Install \
             chrony, or see why it does not run: 'chronyc tracking', 'timedatectl'",
        ),
        None => Health::new(Code::Unknown, "time: the kernel does not say how good its clock is"),
    }
}

fn metrics(report: &Report) -> Metrics {
    let mut metrics = Metrics::default();
    let memory = &report.memory;
    for (name, value) in [
        ("total", memory.total),
        ("available", memory.available),
        ("free", memory.free),
        ("buffers", memory.buffers),
        ("cached", memory.cached),
        ("dirty", memory.dirty),
        ("unevictable", memory.unevictable),
        ("shared", memory.shared),
        ("slab", memory.slab),
        ("swap_total", memory.swap_total),
        ("swap_free", memory.swap_free),
    ] {
        if let Some(value) = value {
            let help = "Memory of the node, as /proc/meminfo tells it";
            metrics.gauge("roost_node_memory_bytes", help, &[("type", name)], value as f64);
        }
    }
    pressure_metrics(&mut metrics, report.pressure.as_ref());
    for (minutes, load) in report
        .load
        .iter()
        .flat_map(|load| [("1", load.one), ("5", load.five), ("15", load.fifteen)])
    {
        let help = "Processes that run or want to, on the average of so many minutes";
        metrics.gauge("roost_node_load", help, &[("minutes", minutes)], load);
    }
    let help = "Time since the node was started";
    metrics.gauge("roost_node_uptime_seconds", help, &[], report.uptime);
    time_metrics(&mut metrics, &report.time);
    for one in &report.filesystems {
        filesystem_metrics(&mut metrics, one);
    }
    if let Some(kernel) = &report.kernel {
        let labels = [("release", kernel.release.as_str()), ("machine", kernel.machine.as_str())];
        metrics.gauge("roost_node_kernel_info", "The kernel of the node", &labels, 1.0);
    }
    metrics
}

fn pressure_metrics(metrics: &mut Metrics, pressures: Option<&Pressures>) {
    let Some(pressures) = pressures else { return };
    for (resource, pressure) in
        [("cpu", pressures.cpu), ("memory", pressures.memory), ("io", pressures.io)]
    {
        let pressure = pressure.unwrap_or_default();
        for (share, stalls) in [("some", pressure.some), ("full", pressure.full)] {
            if let Some(stalls) = stalls {
                metrics.counter(
                    "roost_node_pressure_seconds",
                    "Time that some, or all, work stood still for want of a resource",
                    &[("resource", resource), ("share", share)],
                    stalls.total,
                );
            }
        }
    }
}

fn time_metrics(metrics: &mut Metrics, time: &Time) {
    let synchronized = time.synchronized.map(|is| f64::from(u8::from(is)));
    for (name, help, value) in [
        ("roost_node_clock_synchronized", "Whether somebody keeps the clock", synchronized),
        (
            "roost_node_clock_offset_seconds",
            "What is still to be corrected of the clock",
            time.offset,
        ),
        (
            "roost_node_clock_max_error_seconds",
            "By how much the clock may be wrong",
            time.max_error,
        ),
    ] {
        if let Some(value) = value {
            metrics.gauge(name, help, &[], value);
        }
    }
}

fn filesystem_metrics(metrics: &mut Metrics, one: &Filesystem) {
    let labels = [
        ("mount", one.mount.as_str()),
        ("device", one.device.as_str()),
        ("type", one.kind.as_str()),
    ];
    for (name, help, value) in [
        ("roost_node_filesystem_size_bytes", "Size of a filesystem", one.size),
        ("roost_node_filesystem_free_bytes", "What is free of a filesystem", one.free),
        (
            "roost_node_filesystem_available_bytes",
            "What others than root can use of it",
            one.available,
        ),
        ("roost_node_filesystem_inodes", "Files that a filesystem can have", one.inodes),
        (
            "roost_node_filesystem_inodes_free",
            "Files that a filesystem can still take",
            one.inodes_free,
        ),
        (
            "roost_node_filesystem_read_only",
            "Whether a filesystem can only be read",
            one.read_only.map(u64::from),
        ),
    ] {
        if let Some(value) = value {
            metrics.gauge(name, help, &labels, value as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRESSURE: &str = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12750000\n\
                            full avg10=0.00 avg60=0.00 avg300=11.00 total=500000\n";

    #[test]
    fn pressure_is_in_percent_and_seconds() {
        let pressure = parse_pressure(PRESSURE).unwrap();
        let some = Stalls { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 12.75 };
        assert_eq!(pressure.some, Some(some));
        assert_eq!(pressure.full.unwrap().total, 0.5);
        let old = parse_pressure("some avg10=0 avg60=0 avg300=0 total=1\n").unwrap();
        assert_eq!(old.full, None);
        assert_eq!(parse_pressure(""), None);
    }

    #[test]
    fn load_is_read() {
        let load = parse_load("4.11 4.52 4.18 6/287 9228\n").unwrap();
        assert_eq!((load.one, load.fifteen, load.running, load.processes), (4.11, 4.18, 6, 287));
        assert_eq!(parse_load("4.11 4.52"), None);
    }

    #[test]
    fn memory_is_judged_by_what_is_left_and_by_who_waits_for_it() {
        let memory = |available: u64| Memory {
            total: Some(1000 << 20),
            available: Some(available << 20),
            ..Memory::default()
        };
        assert_eq!(judge_memory(&memory(30), None), Health::ok());
        let health = judge_memory(&memory(29), None);
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.contains("29 of 1000 MiB"), "{health:?}");
        let pressure = parse_pressure(PRESSURE);
        let health = judge_memory(&memory(500), pressure.as_ref());
        assert!(health.message.contains("for 11 % of the last five minutes"), "{health:?}");
        let calm = parse_pressure(&PRESSURE.replace("11.00", "9.90"));
        assert_eq!(judge_memory(&memory(500), calm.as_ref()), Health::ok());
        assert_eq!(judge_memory(&Memory::default(), None), Health::ok(), "nobody knows");
    }

    #[test]
    fn a_clock_that_nobody_keeps_may_be_wrong() {
        let kept = KernelTime {
            synchronized: true,
            offset: 0.0,
            max_error: 0.1,
            estimated_error: 0.0,
            frequency: 0.0,
            tai: 37,
        };
        assert_eq!(judge_time(Some(&kept)), Health::ok());
        let free = KernelTime { synchronized: false, ..kept };
        assert_eq!(judge_time(Some(&free)).code, Code::Unknown);
        assert_eq!(judge_time(None).code, Code::Unknown);
    }

    #[tokio::test]
    async fn this_machine_reports() {
        let dir = tempfile::tempdir().unwrap();
        let paths = roost_proto::paths::Paths::new(Some(dir.path().into()));
        let world = World::new(paths, Default::default());
        let collected = NodeOs::default().collect(&world).await.unwrap();
        let data: serde_json::Value = serde_json::from_str(collected.data.get()).unwrap();
        assert!(collected.data.get().starts_with(r#"{"status":{"code":"#));
        assert!(data["memory"]["total"].as_u64() > Some(0) && data["uptime"].as_f64() > Some(0.0));
        assert!(data["load"]["processes"].as_u64() > Some(0), "{data}");
        assert_eq!(data["kernel"]["name"], "Linux");
        let names: Vec<&str> = collected.metrics.families.iter().map(|f| f.name).collect();
        assert!(names.contains(&"roost_node_filesystem_size_bytes"), "{names:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "[ -~\n]{0,200}") {
            parse_pressure(&text);
            parse_pressure(&format!("some avg10={text} avg60=1 avg300=2 total=3"));
            parse_load(&text);
            memory(&text);
        }
    }
}
