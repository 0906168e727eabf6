//! `hypervisor` (hypervisor, kind 1): what the hypervisors of this node have and give to guests. Memory in bytes.
//!
//! ```json
//! {"status": {"code": 0, "message": ""},
//!  "hypervisors": [{"name": "kvm", "reachable": true, "libvirt": "11.3.0", "emulator": "QEMU 10.0.2",
//!                   "guests": 2, "running": 1, "vcpus": 3, "memory": 402653184, "memory_maximum": 402653184,
//!                   "accelerated": 2, "emulated": 0, "status": {"code": 0, "message": ""}}],
//!  "node": {"cpus": 8, "memory_total": 16777216000, "memory_free": 1000000, "memory_available": 9000000000,
//!           "virtualization": "vmx", "kvm_device": true, "nested": true, "vhost_net": true, "vhost_vsock": false,
//!           "huge_pages": [{"size": 2097152, "total": 512, "free": 100, "reserved": 0}],
//!           "ksm": {"running": false, "pages_shared": 0, "pages_sharing": 0}}}
//! ```
//!
//! Of the enabled hypervisors those that libvirt runs (`kvm`, `lxc`). `guests` are all that have a process,
//! `running` those of them that are not paused; `vcpus` of KVM guests, as their QEMU was started with (null for
//! others); `memory` what guests have now, `memory_maximum` what they can have. `accelerated` by KVM or `emulated`
//! by QEMU alone, as their processes say. `virtualization` is what the processors offer: `vmx`, `svm` or null.
//!
//! Status: 4 libvirt does not answer, or the processors could run KVM but it is not loaded; else 0.
//!
//! Metrics: `roost_hypervisor_up{hypervisor}`, `…_guests`, `…_vcpus`, `…_memory_bytes`, `…_memory_maximum_bytes`,
//! `…_emulated_guests`, `roost_hypervisor_info{…}`; `roost_node_cpus`, `roost_node_huge_pages{size}`,
//! `…_huge_pages_free{size}`, `roost_node_ksm_pages_sharing`.

use super::libvirt::{Driver, Look, Source, State};
use super::proc;
use crate::collector::{About, Collected, Collector, Pending};
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::World;
use roost_proto::error::Result;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Versions change with an upgrade only: they are not asked more often.
const VERSIONS: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Hypervisor {
    sources: Vec<Arc<Source>>,
    versions: Mutex<Vec<(Driver, Instant, Versions)>>,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Versions {
    libvirt: Option<String>,
    emulator: Option<String>,
}

/// How a QEMU was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Started {
    vcpus: u64,
    /// With KVM; None: its arguments do not say.
    kvm: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    status: Health,
    hypervisors: Vec<One>,
    node: Node,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct One {
    name: &'static str,
    reachable: bool,
    libvirt: Option<String>,
    emulator: Option<String>,
    guests: usize,
    running: usize,
    vcpus: Option<u64>,
    memory: u64,
    memory_maximum: u64,
    accelerated: usize,
    emulated: usize,
    status: Health,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Node {
    cpus: Option<u64>,
    memory_total: Option<u64>,
    memory_free: Option<u64>,
    memory_available: Option<u64>,
    virtualization: Option<&'static str>,
    kvm_device: bool,
    nested: Option<bool>,
    vhost_net: bool,
    vhost_vsock: bool,
    huge_pages: Vec<HugePages>,
    ksm: Option<Ksm>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct HugePages {
    size: u64,
    total: u64,
    free: u64,
    reserved: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Ksm {
    running: bool,
    pages_shared: u64,
    pages_sharing: u64,
}

impl Hypervisor {
    pub fn new(sources: Vec<Arc<Source>>) -> Hypervisor {
        Hypervisor { sources, versions: Mutex::default() }
    }

    async fn one(&self, source: &Source, node: &Node) -> One {
        let driver = source.driver();
        match source.look().await {
            Ok(look) => {
                let versions = self.versions(source).await;
                let started =
                    |name: &str| super::qemu_pid(name).map(|pid| started(&proc::arguments(pid)));
                of(driver, &look, versions, &started, node)
            }
            Err(error) => One {
                name: driver.hypervisor(),
                reachable: false,
                libvirt: None,
                emulator: None,
                guests: 0,
                running: 0,
                vcpus: None,
                memory: 0,
                memory_maximum: 0,
                accelerated: 0,
                emulated: 0,
                status: Health::new(Code::Bad, error.message),
            },
        }
    }

    /// Those of a minute ago, or what virsh says now. They are left out if it does not say.
    async fn versions(&self, source: &Source) -> Versions {
        let driver = source.driver();
        let guard = || self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = guard().iter().find(|(of, ..)| *of == driver).cloned();
        if let Some((_, at, versions)) = known
            && at.elapsed() < VERSIONS
        {
            return versions;
        }
        let said: Result<String> = source.say("version --daemon").await;
        let versions = said.map(|text| parse_versions(&text)).unwrap_or_default();
        let mut all = guard();
        all.retain(|(of, ..)| *of != driver);
        all.push((driver, Instant::now(), versions.clone()));
        versions
    }
}

impl Collector for Hypervisor {
    fn about(&self) -> About {
        About::built_in("hypervisor", Category::Hypervisor, Kind::Status)
    }

    fn applies(&self, world: &World) -> bool {
        self.sources.iter().any(|source| super::has_hypervisor(world, source.driver()))
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async move {
            let node = node();
            let mut hypervisors = vec![];
            for source in &self.sources {
                if super::has_hypervisor(world, source.driver()) {
                    hypervisors.push(self.one(source, &node).await);
                }
            }
            let named: Vec<Health> = (hypervisors.iter())
                .map(|one| {
                    Health::new(one.status.code, format!("{}: {}", one.name, one.status.message))
                })
                .collect();
            let report = Report { status: Health::merged(&named), hypervisors, node };
            Ok(Collected { metrics: metrics(&report), data: Data::of(&report)? })
        })
    }
}

/// A hypervisor that answers. `started`: how the QEMU of a guest was, if it is found.
fn of(
    driver: Driver,
    look: &Look,
    versions: Versions,
    started: &dyn Fn(&str) -> Option<Started>,
    node: &Node,
) -> One {
    let active = look.domains.iter().filter(|domain| domain.state.is_active());
    let active: Vec<_> = active.collect();
    let running = |state: State| matches!(state, State::Running | State::Blocked);
    let started: Vec<Started> = match driver {
        Driver::Qemu => active.iter().filter_map(|domain| started(&domain.name)).collect(),
        Driver::Lxc => vec![],
    };
    let sum = |values: &mut dyn Iterator<Item = u64>| values.fold(0, u64::saturating_add);
    One {
        name: driver.hypervisor(),
        reachable: true,
        libvirt: versions.libvirt,
        emulator: versions.emulator,
        guests: active.len(),
        running: active.iter().filter(|domain| running(domain.state)).count(),
        vcpus: (driver == Driver::Qemu).then(|| sum(&mut started.iter().map(|s| s.vcpus))),
        memory: sum(&mut active.iter().filter_map(|domain| domain.balloon.current)),
        memory_maximum: sum(&mut active.iter().filter_map(|domain| domain.balloon.maximum)),
        accelerated: started.iter().filter(|started| started.kvm == Some(true)).count(),
        emulated: started.iter().filter(|started| started.kvm == Some(false)).count(),
        status: match driver {
            Driver::Qemu => judge(node),
            Driver::Lxc => Health::ok(),
        },
    }
}

/// Whether KVM is there if it can be.
fn judge(node: &Node) -> Health {
    let module = match node.virtualization {
        Some("svm") => "kvm_amd",
        Some(_) => "kvm_intel",
        None => return Health::ok(),
    };
    match node.kvm_device {
        true => Health::ok(),
        false => Health::new(
            Code::Bad,
            format!(
                "The processors could run KVM, but there is no /dev/kvm, so guests are emulated and \
                 slow: 'modprobe {module}'; if that fails, virtualization is off in the firmware"
            ),
        ),
    }
}

/// What `virsh version --daemon` says.
fn parse_versions(text: &str) -> Versions {
    let after = |what: &str| {
        let said = text.lines().find_map(|line| line.trim().strip_prefix(what))?;
        Some(said.trim().to_owned())
    };
    Versions { libvirt: after("Running against daemon:"), emulator: after("Running hypervisor:") }
}

/// How a QEMU was started, by its arguments.
fn started(arguments: &[String]) -> Started {
    let value = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let smp = value("-smp").unwrap_or("1");
    let mut parts = smp.split(',');
    let first = parts.next().unwrap_or_default();
    let first = first.strip_prefix("cpus=").unwrap_or(first);
    let machine = || value("-machine")?.split(',').find_map(|part| part.strip_prefix("accel="));
    let accelerator = value("-accel").or_else(machine);
    Started {
        vcpus: first.parse().unwrap_or(1),
        kvm: accelerator.map(|word| word.split([',', ':']).next() == Some("kvm")),
    }
}

/// What this node has.
fn node() -> Node {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = proc::values(&meminfo);
    let value = |name: &str| memory.get(name).copied();
    Node {
        cpus: cpus(),
        memory_total: value("MemTotal"),
        memory_free: value("MemFree"),
        memory_available: value("MemAvailable"),
        virtualization: virtualization(),
        kvm_device: Path::new("/dev/kvm").exists(),
        nested: nested(),
        vhost_net: Path::new("/dev/vhost-net").exists(),
        vhost_vsock: Path::new("/dev/vhost-vsock").exists(),
        huge_pages: huge_pages(Path::new("/sys/kernel/mm/hugepages")),
        ksm: ksm(Path::new("/sys/kernel/mm/ksm")),
    }
}

fn cpus() -> Option<u64> {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
    u64::try_from(online.ok().flatten()?).ok()
}

/// Of the processors' flags, which never change.
fn virtualization() -> Option<&'static str> {
    static KNOWN: OnceLock<Option<&'static str>> = OnceLock::new();
    *KNOWN
        .get_or_init(|| virtualization_of(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()))
}

fn virtualization_of(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    ["vmx", "svm"].into_iter().find(|flag| flags.split_whitespace().any(|word| word == *flag))
}

fn nested() -> Option<bool> {
    let modules = ["kvm_intel", "kvm_amd"].into_iter();
    let mut texts = modules.filter_map(|name| {
        fs::read_to_string(format!("/sys/module/{name}/parameters/nested")).ok()
    });
    texts.next().map(|text| matches!(text.trim(), "Y" | "1"))
}

fn number(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// By size.
fn huge_pages(dir: &Path) -> Vec<HugePages> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<HugePages> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            Some(HugePages {
                size: size.parse::<u64>().ok()?.checked_mul(1024)?,
                total: number(&entry.path(), "nr_hugepages")?,
                free: number(&entry.path(), "free_hugepages")?,
                reserved: number(&entry.path(), "resv_hugepages")?,
            })
        })
        .collect();
    all.sort_by_key(|pages| pages.size);
    all
}

fn ksm(dir: &Path) -> Option<Ksm> {
    Some(Ksm {
        running: number(dir, "run")? == 1,
        pages_shared: number(dir, "pages_shared")?,
        pages_sharing: number(dir, "pages_sharing")?,
    })
}

fn metrics(report: &Report) -> Metrics {
    let mut metrics = Metrics::default();
    for one in &report.hypervisors {
        let labels = [("hypervisor", one.name)];
        let known = one.reachable.then_some(());
        for (name, help, value) in [
            (
                "roost_hypervisor_up",
                "Whether a hypervisor answers",
                Some(f64::from(u8::from(one.reachable))),
            ),
            (
                "roost_hypervisor_guests",
                "Guests that have a process",
                known.map(|()| one.guests as f64),
            ),
            (
                "roost_hypervisor_vcpus",
                "Virtual processors of all guests",
                one.vcpus.map(|n| n as f64),
            ),
            (
                "roost_hypervisor_memory_bytes",
                "Memory that guests have at the moment",
                known.map(|()| one.memory as f64),
            ),
            (
                "roost_hypervisor_memory_maximum_bytes",
                "Memory that guests can have at most",
                known.map(|()| one.memory_maximum as f64),
            ),
            (
                "roost_hypervisor_emulated_guests",
                "Guests that run without help of the processors",
                known.map(|()| one.emulated as f64),
            ),
        ] {
            if let Some(value) = value {
                metrics.gauge(name, help, &labels, value);
            }
        }
        let (libvirt, emulator) = (one.libvirt.as_deref(), one.emulator.as_deref());
        let labels = [
            ("hypervisor", one.name),
            ("libvirt", libvirt.unwrap_or_default()),
            ("emulator", emulator.unwrap_or_default()),
        ];
        metrics.gauge("roost_hypervisor_info", "Versions of a hypervisor", &labels, 1.0);
    }
    if let Some(cpus) = report.node.cpus {
        metrics.gauge("roost_node_cpus", "Processors of the node", &[], cpus as f64);
    }
    for pages in &report.node.huge_pages {
        let size = pages.size.to_string();
        let labels = [("size", size.as_str())];
        let total = pages.total as f64;
        metrics.gauge("roost_node_huge_pages", "Huge pages of a size in bytes", &labels, total);
        let free = pages.free as f64;
        metrics.gauge("roost_node_huge_pages_free", "Those that are free", &labels, free);
    }
    if let Some(ksm) = report.node.ksm {
        let help = "Pages of memory that are saved by being shared";
        metrics.gauge("roost_node_ksm_pages_sharing", help, &[], ksm.pages_sharing as f64);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::super::libvirt::parse_stats;
    use super::*;
    use proptest::prelude::*;

    const RUNNING: &str = include_str!("../../../fixtures/libvirt/running.txt");
    const SUSPENDED: &str = include_str!("../../../fixtures/libvirt/suspended.txt");
    const VERSION: &str = include_str!("../../../fixtures/libvirt/version.txt");
    const ARGUMENTS: &str = include_str!("../../../fixtures/proc/qemu-arguments.txt");

    fn look(texts: &[&str]) -> Look {
        let domains = texts.iter().flat_map(|text| parse_stats(text, true)).collect();
        Look { at: Instant::now(), domains }
    }

    #[test]
    fn versions_are_those_of_what_runs() {
        let versions = parse_versions(VERSION);
        assert_eq!(versions.libvirt.as_deref(), Some("11.3.0"));
        assert!(versions.emulator.unwrap().starts_with("QEMU "));
        assert_eq!(parse_versions(""), Versions::default());
    }

    #[test]
    fn the_arguments_of_qemu_tell_processors_and_accelerator() {
        let recorded: Vec<String> = ARGUMENTS.lines().map(str::to_owned).collect();
        assert_eq!(started(&recorded), Started { vcpus: 1, kvm: Some(false) });
        let of = |text: &str| started(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("q -smp 4,maxcpus=8 -accel kvm"), Started { vcpus: 4, kvm: Some(true) });
        assert_eq!(
            of("q -smp cpus=2 -machine pc,accel=kvm:tcg"),
            Started { vcpus: 2, kvm: Some(true) }
        );
        assert_eq!(of("q -smp"), Started { vcpus: 1, kvm: None });
    }

    #[test]
    fn guests_are_summed_up() {
        let started = |_: &str| Some(Started { vcpus: 2, kvm: Some(false) });
        let node = Node::default();
        let look = look(&[RUNNING, SUSPENDED, "Domain: 'off'\n  state.state=5\n"]);
        let one = of(Driver::Qemu, &look, Versions::default(), &started, &node);
        assert_eq!((one.guests, one.running, one.vcpus), (2, 1, Some(4)));
        assert_eq!((one.memory, one.emulated, one.accelerated), (2 * (128 << 20), 2, 0));
        let report = Report { status: Health::ok(), hypervisors: vec![one], node };
        let names: Vec<&str> = metrics(&report).families.iter().map(|f| f.name).collect();
        assert!(names.contains(&"roost_hypervisor_vcpus"), "{names:?}");
    }

    #[test]
    fn kvm_is_missed_only_where_it_could_be() {
        let node =
            |virtualization, kvm_device| Node { virtualization, kvm_device, ..Node::default() };
        assert_eq!(judge(&node(None, false)), Health::ok());
        assert_eq!(judge(&node(Some("vmx"), true)), Health::ok());
        let health = judge(&node(Some("svm"), false));
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.contains("modprobe kvm_amd"), "{health:?}");
        assert_eq!(virtualization_of("flags\t\t: fpu vmx sse\n"), Some("vmx"));
        assert_eq!(virtualization_of("flags\t\t: fpu vmxnet\n"), None);
    }

    #[test]
    fn pages_are_read_by_size() {
        let dir = tempfile::tempdir().unwrap();
        for (size, total) in [(1_048_576, 1), (2048, 512)] {
            let dir = dir.path().join(format!("hugepages-{size}kB"));
            fs::create_dir(&dir).unwrap();
            for (file, value) in
                [("nr_hugepages", total), ("free_hugepages", 0), ("resv_hugepages", 0)]
            {
                fs::write(dir.join(file), format!("{value}\n")).unwrap();
            }
        }
        fs::create_dir(dir.path().join("other")).unwrap();
        let found: Vec<(u64, u64)> =
            huge_pages(dir.path()).iter().map(|p| (p.size, p.total)).collect();
        assert_eq!(found, [(2 << 20, 512), (1 << 30, 1)]);
        assert_eq!(ksm(dir.path()), None);
        assert!(node().memory_total.unwrap() > 0);
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(text in "[ -~\n]{0,200}", words in proptest::collection::vec("-?[a-z=,:0-9]{0,10}", 0..8)) {
            parse_versions(&text);
            virtualization_of(&text);
            started(&words);
        }
    }
}
