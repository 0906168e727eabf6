//! Real guests: QEMU through libvirt on nodes of the lab, and their migration between them.
//! Needs root and the tiny guest (`scripts/build-tiny-guest`): `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod agent;
mod copied;

use agent::{Ask, Disk, Line};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::node::{
    Acceleration, ConsoleInfo, GuestReport, GuestSpec, GuestState, InstanceRef, MigrationMode,
    Progress, RebootKind,
};
use roost_proto::params::hypervisor::defaults;
use roost_tests::lab::{Lab, Options, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};
use uuid::Uuid;

const TINY: &str = "/var/lib/roost/tiny";
const SHARED: &str = "/srv/ganeti/shared-file-storage";
/// The guest's address.
const GUEST: &str = "10.78.0.60";
const LOCAL: &str = "/srv/ganeti/file-storage";
/// Emulated guests on a busy machine.
const LONG: Duration = Duration::from_secs(180);
const LIVE: MigrationMode = MigrationMode { live: true, copy_disks: false };

/// Tells the program started inside a node that it is the agent, and where to listen.
const AGENT: &str = "ROOST_TEST_AGENT";

#[test]
#[ignore = "started inside nodes by the other tests"]
fn agent() {
    if let Some(socket) = std::env::var_os(AGENT) {
        agent::serve(Path::new(&socket)).unwrap();
    }
}

/// A lab whose nodes have agents.
struct Guests {
    lab: Lab,
    root: tempfile::TempDir,
    agents: Vec<Child>,
}

impl Guests {
    fn up(name: &str) -> Guests {
        assert!(Path::new(TINY).join("disk.img").exists(), "run scripts/build-tiny-guest first");
        let root = tempfile::tempdir().unwrap();
        let options = Options { root: root.path().into(), nodes: 2, ..Options::new(name) };
        let lab = Lab::up(options).unwrap();
        let mut guests = Guests { lab, root, agents: vec![] };
        guests.start_agent(1);
        guests.start_agent(2);
        guests
    }

    fn socket(&self, node: usize) -> PathBuf {
        self.root.path().join(format!("agent{node}"))
    }

    fn start_agent(&mut self, node: usize) {
        let exe = std::env::current_exe().unwrap();
        let exe = exe.to_str().unwrap();
        let socket = self.socket(node);
        let name = format!("node{node}");
        let argv = [exe, "agent", "--exact", "--ignored", "--nocapture"];
        let mut command = self.lab.node(&name).unwrap().command(&argv).unwrap();
        let child = command.env(AGENT, &socket).spawn().unwrap();
        self.agents.push(child);
        let answers = || UnixStream::connect(&socket).is_ok();
        wait_until(Duration::from_secs(30), || format!("the agent of {name}"), answers).unwrap();
    }

    /// Kills the agent of a node, as noded would die.
    fn kill_agent(&mut self, node: usize) {
        let socket = self.socket(node);
        std::fs::remove_file(&socket).unwrap();
        let find = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | \
                    grep -q 'agent --exact --[i]gnored' && kill -9 ${p#/proc/}; done; true";
        self.lab.check(&format!("node{node}"), &["sh", "-c", find]).unwrap();
    }

    /// Begins a request; dropping the answer gives it up.
    fn begin(&self, node: usize, ask: &Ask) -> Answer {
        let mut stream = UnixStream::connect(self.socket(node)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut text = serde_json::to_string(ask).unwrap();
        text.push('\n');
        stream.write_all(text.as_bytes()).unwrap();
        Answer(BufReader::new(stream))
    }

    fn ask(&self, node: usize, ask: &Ask) -> Result<Value> {
        self.begin(node, ask).end().1
    }

    fn info(&self, node: usize, guest: &GuestSpec) -> Option<GuestReport> {
        let info = self.ask(node, &Ask::Info(guest.name.to_string())).unwrap();
        serde_json::from_value(info).unwrap()
    }

    fn state(&self, node: usize, guest: &GuestSpec) -> Option<GuestState> {
        self.info(node, guest).map(|report| report.state)
    }

    /// Where it runs: on node1, on node2.
    fn runs(&self, guest: &GuestSpec) -> (bool, bool) {
        let runs = |node| self.state(node, guest) == Some(GuestState::Running);
        (runs(1), runs(2))
    }

    /// What a guest has written to its console on a node: boot ids and the last count.
    fn console(&self, node: usize, guest: &GuestSpec) -> (Vec<String>, u64) {
        let log = format!("/var/log/ganeti/console/{}.log", guest.name);
        let text = self.lab.exec(&format!("node{node}"), &["cat", &log]).unwrap().stdout;
        let (mut boots, mut last) = (vec![], 0);
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["tiny:", _, "count", count, "boot", boot] = words[..] {
                last = count.parse().unwrap_or(last);
                if boot.len() == 36 && boots.last().map(String::as_str) != Some(boot) {
                    boots.push(boot.to_owned());
                }
            }
        }
        (boots, last)
    }

    /// Waits until a guest has counted beyond `count` on a node; returns its boot id and count.
    fn wait_for_count(&self, node: usize, guest: &GuestSpec, count: u64) -> (String, u64) {
        let counted = || self.console(node, guest).1 > count;
        wait_until(LONG, || format!("{} counting on node{node}", guest.name), counted).unwrap();
        let (boots, count) = self.console(node, guest);
        (boots.last().unwrap().clone(), count)
    }

    /// A disk made from the template, on the nodes given by their folders.
    fn disk(&self, guest: &GuestSpec, shared: bool) -> Disk {
        let dir = if shared { SHARED } else { LOCAL };
        let path = format!("{dir}/{}.disk0", guest.name);
        let template = format!("{TINY}/disk.img");
        let settings = format!("name=tiny\nip={GUEST}/24\n");
        let make = format!(
            "cp {template} {path} && printf '{settings}' | mcopy -i {path}@@1M - ::tiny.conf"
        );
        self.lab.check("node1", &["sh", "-c", &make]).unwrap();
        if !shared {
            let size = std::fs::metadata(&template).unwrap().len().to_string();
            self.lab.check("node2", &["truncate", "-s", &size, &path]).unwrap();
        }
        Disk {
            index: 0,
            uuid: Uuid::from_u128(100).into(),
            path: path.into(),
            shared,
            qcow2: false,
        }
    }

    fn migrate(
        &self,
        from: usize,
        guest: &GuestSpec,
        disks: &[Disk],
        mode: MigrationMode,
    ) -> (Vec<Progress>, Result<Value>) {
        let to = 3 - from;
        let token = format!("secret-{from}-{to}");
        self.ask(to, &Ask::Accept(guest.clone(), disks.to_vec(), token.clone())).unwrap();
        let run = Ask::Run(guest.clone(), disks.to_vec(), ip(to), token.clone(), mode);
        let (steps, moved) = self.begin(from, &run).end();
        self.ask(to, &Ask::Finish(guest.clone(), token, moved.is_ok())).unwrap();
        (steps, moved)
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            // The lab's end takes them down anyway.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// A request under way.
struct Answer(BufReader<UnixStream>);

impl Answer {
    fn line(&mut self) -> Option<Line> {
        let mut text = String::new();
        match self.0.read_line(&mut text) {
            Ok(1..) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }

    fn end(mut self) -> (Vec<Progress>, Result<Value>) {
        let mut steps = vec![];
        loop {
            match self.line() {
                Some(Line::Progress(step)) => steps.push(step),
                Some(Line::Done(done)) => return (steps, done),
                None => return (steps, Err(Error::exec("the agent died"))),
            }
        }
    }
}

fn ip(node: usize) -> String {
    format!("10.78.0.{node}")
}

fn guest(name: &str, changes: &[(&str, Value)]) -> GuestSpec {
    let mut hvparams = defaults(Hypervisor::Kvm);
    for (name, value) in changes {
        hvparams.insert((*name).into(), value.clone());
    }
    serde_json::from_value(json!({
        "uuid": Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()), "name": name,
        "hypervisor": "kvm", "hvparams": hvparams,
        "beparams": {"maxmem": 128, "minmem": 128, "vcpus": 1},
        "nics": [{"index": 0, "uuid": Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()),
                  "mac": "aa:00:00:12:34:56", "mode": "bridged", "link": "br0"}],
    }))
    .unwrap()
}

fn reference(guest: &GuestSpec) -> InstanceRef {
    InstanceRef { uuid: guest.uuid, name: guest.name.clone() }
}

#[test]
#[ignore = "needs root"]
fn a_guest_lives_and_its_devices_change() {
    let guests = Guests::up("guest-life");
    let acceleration: Acceleration =
        serde_json::from_value(guests.ask(1, &Ask::Acceleration).unwrap()).unwrap();
    println!("{acceleration:?}");
    assert!(acceleration.usable, "{acceleration:?}");
    assert!(["kvm", "tcg"].contains(&acceleration.accelerator.as_str()));
    assert!(acceleration.version.contains("qemu") && acceleration.version.contains("libvirt"));
    guests.ask(1, &Ask::Validate(defaults(Hypervisor::Kvm))).unwrap();
    let mut wrong = defaults(Hypervisor::Kvm);
    wrong.insert("machine_version".into(), "pc-q36".into());
    let error = guests.ask(1, &Ask::Validate(wrong)).unwrap_err();
    assert!(error.message.contains("machine_version=pc-q36"), "{error}");

    // From its disk, through BIOS and boot loader, with 128 MiB.
    let web = guest("web.lab", &[]);
    let disk = guests.disk(&web, false);
    let began = Instant::now();
    guests.ask(1, &Ask::Start(web.clone(), vec![disk.clone()])).unwrap();
    println!("start: {:?}", began.elapsed());
    guests.ask(1, &Ask::Start(web.clone(), vec![disk.clone()])).unwrap();
    let report = guests.info(1, &web).unwrap();
    assert_eq!((report.state, report.memory, report.vcpus), (GuestState::Running, 128, 1));
    let (boot, _) = guests.wait_for_count(1, &web, 0);
    println!("counts after {:?}", began.elapsed());
    let console: ConsoleInfo =
        serde_json::from_value(guests.ask(1, &Ask::Console(web.clone())).unwrap()).unwrap();
    assert_eq!(console.command.unwrap().join(" "), "virsh -c qemu:///system console web.lab");

    // Devices come and go.
    let virsh = |what: &[&str]| {
        let argv = [&["virsh", "-c", "qemu:///system", "-q"], what].concat();
        guests.lab.check("node1", &argv).unwrap()
    };
    let path = PathBuf::from(format!("{LOCAL}/more"));
    guests.lab.check("node1", &["truncate", "-s", "8M", path.to_str().unwrap()]).unwrap();
    let more =
        Disk { index: 1, uuid: Uuid::from_u128(7).into(), path, shared: false, qcow2: false };
    for _ in 0..2 {
        guests.ask(1, &Ask::PlugDisk(web.clone(), more.clone())).unwrap();
    }
    assert!(virsh(&["domblklist", "web.lab"]).contains("vdb"));
    guests.ask(1, &Ask::ResizeDisk(reference(&web), more.uuid, 16)).unwrap();
    assert!(virsh(&["domblkinfo", "web.lab", "vdb"]).contains("16777216"));
    let mut nic = web.nics[0].clone();
    nic.uuid = Uuid::from_u128(8).into();
    nic.mac = "aa:00:00:12:34:57".into();
    guests.ask(1, &Ask::PlugNic(web.clone(), nic.clone())).unwrap();
    assert_eq!(virsh(&["domiflist", "web.lab"]).lines().count(), 2);
    let began = Instant::now();
    for _ in 0..2 {
        guests.ask(1, &Ask::UnplugNic(web.clone(), nic.clone())).unwrap();
        guests.ask(1, &Ask::UnplugDisk(web.clone(), more.uuid)).unwrap();
    }
    println!("unplugged in {:?}", began.elapsed());
    assert!(!virsh(&["domblklist", "web.lab"]).contains("vdb"));
    assert_eq!(virsh(&["domiflist", "web.lab"]).lines().count(), 1);
    guests.ask(1, &Ask::Balloon(reference(&web), 100)).unwrap();
    let shrunk = || guests.info(1, &web).is_some_and(|report| report.memory == 100);
    wait_until(LONG, || "the balloon".into(), shrunk).unwrap();

    // It restarts when asked, keeping its process; a hard restart makes a new one.
    let began = Instant::now();
    let soft = Ask::Reboot(web.clone(), vec![disk.clone()], RebootKind::Soft, 120);
    guests.ask(1, &soft).unwrap();
    println!("soft restart: {:?}", began.elapsed());
    let again = || guests.console(1, &web).0.len() == 2;
    wait_until(LONG, || "a second boot".into(), again).unwrap();
    assert_ne!(guests.console(1, &web).0[1], boot);

    // It shuts down when asked.
    let began = Instant::now();
    guests.ask(1, &Ask::Stop(reference(&web), 120)).unwrap();
    println!("shutdown: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(100), "it obeyed");
    assert_eq!(guests.info(1, &web), None);
    guests.ask(1, &Ask::Stop(reference(&web), 120)).unwrap();

    // libvirtd is restarted under a guest; the guest dies; that is seen as such.
    guests.ask(1, &Ask::Start(web.clone(), vec![disk])).unwrap();
    guests.lab.kill_daemon("node1", "libvirtd").unwrap();
    guests.lab.start_daemon("node1", "libvirtd").unwrap();
    assert_eq!(guests.state(1, &web), Some(GuestState::Running));
    let kill = "kill -9 $(cat /run/libvirt/qemu/web.lab.pid)";
    guests.lab.check("node1", &["sh", "-c", kill]).unwrap();
    let crashed = || guests.state(1, &web) == Some(GuestState::Crashed);
    wait_until(LONG, || "the death of web.lab".into(), crashed).unwrap();
    guests.ask(1, &Ask::Forget(reference(&web))).unwrap();
    assert_eq!(guests.info(1, &web), None);
}

#[test]
#[ignore = "needs root"]
fn guests_move_and_live_on() {
    let guests = Guests::up("guest-move");
    let web = guest("move.lab", &[("migration_bandwidth", json!(0))]);
    let disk = [guests.disk(&web, true)];
    guests.ask(1, &Ask::Start(web.clone(), disk.to_vec())).unwrap();
    let (boot, mut count) = guests.wait_for_count(1, &web, 2);
    for (from, live) in [(1, true), (2, true), (1, false)] {
        let to = 3 - from;
        let began = Instant::now();
        let mode = MigrationMode { live, copy_disks: false };
        let (steps, moved) = guests.migrate(from, &web, &disk, mode);
        moved.unwrap();
        let last = steps.last().and_then(|step| step.message.clone()).unwrap();
        println!("live {live}: moved in {:?}: {last}", began.elapsed());
        assert_eq!(guests.runs(&web), (to == 1, to == 2));
        let (now, counted) = guests.wait_for_count(to, &web, count);
        assert_eq!(now, boot, "the same boot, counting on");
        count = counted;
        assert_eq!(guests.info(from, &web), None);
        for node in ["node1", "node2"] {
            let left = guests.lab.check(node, &["ls", "/run/ganeti/migration"]).unwrap();
            assert_eq!(left, "", "nothing is left on {node}");
        }
    }
    // Done already.
    let token = "again".to_owned();
    guests.ask(2, &Ask::Accept(web.clone(), disk.to_vec(), token.clone())).unwrap();
    let run = Ask::Run(web.clone(), disk.to_vec(), ip(2), token.clone(), LIVE);
    guests.ask(1, &run).unwrap();
    guests.ask(2, &Ask::Finish(web.clone(), token, true)).unwrap();
    assert_eq!(guests.runs(&web), (false, true));
}

#[test]
#[ignore = "needs root"]
fn local_disks_move_along_when_asked() {
    let guests = Guests::up("guest-disks");
    let web = guest("disks.lab", &[("migration_bandwidth", json!(0))]);
    let disk = [guests.disk(&web, false)];
    guests.ask(1, &Ask::Start(web.clone(), disk.to_vec())).unwrap();
    let (boot, count) = guests.wait_for_count(1, &web, 2);
    let (_, refused) = guests.migrate(1, &web, &disk, LIVE);
    assert!(refused.unwrap_err().message.contains("vda are only on this node"));
    assert_eq!(guests.runs(&web), (true, false));
    let began = Instant::now();
    let (_, moved) = guests.migrate(1, &web, &disk, MigrationMode { copy_disks: true, ..LIVE });
    moved.unwrap();
    println!("moved with its disk in {:?}", began.elapsed());
    let (now, count) = guests.wait_for_count(2, &web, count);
    assert_eq!(now, boot);
    // What it writes now is on the target; the boot sector came along.
    let record = format!("tail -c 1M {} | head -c 100 | tr -d '\\0'", disk[0].path.display());
    let fresh = || {
        let text = guests.lab.check("node2", &["sh", "-c", &record]).unwrap();
        let last = text.split_whitespace().find_map(|w| w.strip_prefix("count=")?.parse().ok());
        last.is_some_and(|n: u64| n >= count) && text.contains(&boot)
    };
    wait_until(LONG, || "the record on node2".into(), fresh).unwrap();
    let start = ["cmp", "-n", "65536", &format!("{TINY}/disk.img"), disk[0].path.to_str().unwrap()];
    guests.lab.check("node2", &start).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_migration_that_is_given_up_leaves_the_guest_where_it_was() {
    let guests = Guests::up("guest-abort");
    // Too slow to end by itself.
    let web = guest("abort.lab", &[("migration_bandwidth", json!(1))]);
    let disk = vec![guests.disk(&web, true)];
    guests.ask(1, &Ask::Start(web.clone(), disk.clone())).unwrap();
    let (boot, count) = guests.wait_for_count(1, &web, 1);
    let token = "secret".to_owned();
    guests.ask(2, &Ask::Accept(web.clone(), disk.clone(), token.clone())).unwrap();
    let mut run = guests.begin(1, &Ask::Run(web.clone(), disk.clone(), ip(2), token.clone(), LIVE));
    let Some(Line::Progress(step)) = run.line() else { panic!("no progress") };
    println!("{step:?}");
    assert_eq!(guests.state(2, &web), Some(GuestState::Incoming));
    drop(run);
    let gone = || guests.info(2, &web).is_none();
    wait_until(LONG, || "nothing on node2".into(), gone).unwrap();
    guests.ask(2, &Ask::Finish(web.clone(), token, false)).unwrap();
    let (now, _) = guests.wait_for_count(1, &web, count);
    assert_eq!((guests.runs(&web), now), ((true, false), boot));
}

#[test]
#[ignore = "needs root"]
fn a_noded_that_dies_during_a_migration_takes_it_up_again() {
    let mut guests = Guests::up("guest-crash");
    let slow = guest("crash.lab", &[("migration_bandwidth", json!(1))]);
    let disk = vec![guests.disk(&slow, true)];
    guests.ask(1, &Ask::Start(slow.clone(), disk.clone())).unwrap();
    let (boot, count) = guests.wait_for_count(1, &slow, 1);
    let token = "secret".to_owned();
    let fast = guest("crash.lab", &[("migration_bandwidth", json!(0))]);
    let run = |spec: &GuestSpec| Ask::Run(spec.clone(), disk.clone(), ip(2), token.clone(), LIVE);
    for dies in [1, 2] {
        guests.ask(2, &Ask::Accept(slow.clone(), disk.clone(), token.clone())).unwrap();
        let mut running = guests.begin(1, &run(&slow));
        assert!(matches!(running.line(), Some(Line::Progress(_))));
        guests.kill_agent(dies);
        let began = Instant::now();
        let (_, ended) = running.end();
        println!("node{dies}'s died: {} after {:?}", ended.unwrap_err(), began.elapsed());
        guests.start_agent(dies);
        assert_eq!(guests.runs(&slow), (true, false));
    }
    // The target has forgotten nothing: the ticket is still good.
    let began = Instant::now();
    guests.ask(1, &run(&fast)).unwrap();
    println!("moved in {:?}", began.elapsed());
    guests.ask(2, &Ask::Finish(fast.clone(), token, true)).unwrap();
    let (now, _) = guests.wait_for_count(2, &fast, count);
    assert_eq!((guests.runs(&fast), now), ((false, true), boot));
}

#[test]
#[ignore = "needs root"]
fn noded_may_die_at_any_moment_of_a_migration() {
    let mut guests = Guests::up("guest-sweep");
    let web = guest("sweep.lab", &[("migration_bandwidth", json!(0))]);
    let disk = vec![guests.disk(&web, true)];
    guests.ask(1, &Ask::Start(web.clone(), disk.clone())).unwrap();
    let (boot, mut count) = guests.wait_for_count(1, &web, 1);
    let (mut from, mut survived) = (1, 0);
    for moment in 0..24 {
        let to = 3 - from;
        let token = format!("secret{moment}");
        guests.ask(to, &Ask::Accept(web.clone(), disk.clone(), token.clone())).unwrap();
        let run = Ask::Run(web.clone(), disk.clone(), ip(to), token.clone(), LIVE);
        let first = guests.begin(from, &run);
        // The moment is what is varied; nothing is waited for.
        std::thread::sleep(Duration::from_millis(moment / 2 * 130));
        let dies = if moment % 2 == 0 { from } else { to };
        guests.kill_agent(dies);
        let ended = first.end().1;
        guests.start_agent(dies);
        assert_ne!(guests.runs(&web), (true, true), "moment {moment}: it runs twice");
        if ended.is_err() {
            survived += 1;
            guests.ask(from, &run).unwrap();
        }
        guests.ask(to, &Ask::Finish(web.clone(), token, true)).unwrap();
        assert_eq!(guests.runs(&web), (to == 1, to == 2), "moment {moment}");
        let (now, counted) = guests.wait_for_count(to, &web, count);
        assert_eq!(now, boot, "moment {moment}");
        (from, count) = (to, counted);
    }
    println!("{survived} of 24 migrations were broken and taken up again");
}

#[test]
#[ignore = "needs root"]
fn a_source_that_loses_power_leaves_no_half_guest() {
    let guests = Guests::up("guest-power");
    let web = guest("power.lab", &[("migration_bandwidth", json!(1))]);
    let disk = vec![guests.disk(&web, true)];
    guests.ask(1, &Ask::Start(web.clone(), disk.clone())).unwrap();
    guests.wait_for_count(1, &web, 1);
    let token = "secret".to_owned();
    guests.ask(2, &Ask::Accept(web.clone(), disk.clone(), token.clone())).unwrap();
    let mut run = guests.begin(1, &Ask::Run(web.clone(), disk.clone(), ip(2), token.clone(), LIVE));
    assert!(matches!(run.line(), Some(Line::Progress(_))));
    assert_eq!(guests.state(2, &web), Some(GuestState::Incoming));
    guests.lab.kill("node1").unwrap();
    let began = Instant::now();
    guests.ask(2, &Ask::Finish(web.clone(), token, false)).unwrap();
    assert_eq!(guests.info(2, &web), None);
    println!("nothing left after {:?}", began.elapsed());
    guests.ask(2, &Ask::Start(web.clone(), disk.clone())).unwrap();
    guests.wait_for_count(2, &web, 1);
}

/// Hypervisor parameters that differ from the default, and what virsh must show of them.
fn variants() -> Vec<(Vec<(&'static str, Value)>, &'static str)> {
    let vnc = ("vnc_bind_address", json!("0.0.0.0"));
    vec![
        (vec![("acpi", json!(false))], "<apic/>"),
        (vec![("boot_order", json!("cdrom,network,disk")), ("cdrom_image_path", json!(ISO))], ISO),
        (vec![("cdrom_image_path", json!(ISO)), ("cdrom2_image_path", json!(ISO))], "dev='sdv'"),
        (vec![("cdrom_image_path", json!(ISO)), ("cdrom_disk_type", json!("scsi-cd"))], "scsi"),
        (vec![("cdrom_image_path", json!(ISO)), ("cdrom_disk_type", json!("paravirtual"))], "vdu"),
        (vec![("floppy_image_path", json!(ISO))], "fda"),
        (vec![("cpu_mask", json!("0"))], "cpuset='0'"),
        (vec![("cpu_mask", json!("0:all"))], "vcpupin vcpu='0' cpuset='0'"),
        (vec![("cpu_type", json!("Nehalem,-vmx")), ("cpu_cores", json!(2))], "Nehalem"),
        (vec![("cpu_type", json!("host"))], "maximum"),
        (vec![("disk_aio", json!("native")), ("disk_cache", json!("none"))], "io='native'"),
        (vec![("disk_aio", json!("io_uring"))], "io='io_uring'"),
        (vec![("disk_cache", json!("writethrough"))], "cache='writethrough'"),
        (vec![("disk_discard", json!("unmap"))], "discard='unmap'"),
        (vec![("disk_type", json!("ide"))], "bus='sata'"),
        (vec![("disk_type", json!("ide")), ("machine_version", json!("pc"))], "bus='ide'"),
        (vec![("disk_type", json!("scsi"))], "lsilogic"),
        (
            vec![
                ("disk_type", json!("scsi-hd")),
                ("scsi_controller_type", json!("virtio-scsi-pci")),
            ],
            "virtio-scsi",
        ),
        (
            vec![("disk_type", json!("scsi-hd")), ("scsi_controller_type", json!("megasas"))],
            "lsisas1078",
        ),
        (
            vec![("disk_type", json!("scsi-hd")), ("scsi_controller_type", json!("dc390"))],
            "am53c974",
        ),
        (
            vec![
                ("kernel_path", json!(format!("{TINY}/vmlinuz"))),
                ("initrd_path", json!(format!("{TINY}/initrd.gz"))),
            ],
            "root=/dev/vda1 ro console=ttyS0,38400",
        ),
        (vec![("kvm_extra", json!("-global \"isa-debugcon.iobase=0x402\""))], "isa-debugcon"),
        (vec![("kvm_flag", json!("disabled"))], "type='qemu'"),
        (vec![("kvm_pci_reservations", json!(0))], "pcie-root-port"),
        (vec![("machine_version", json!("pc-i440fx-9.0"))], "pc-i440fx-9.0"),
        (vec![("nic_type", json!("e1000"))], "e1000"),
        (vec![("nic_type", json!("rtl8139"))], "rtl8139"),
        (vec![("nic_type", json!("pcnet"))], "pcnet"),
        (vec![("nic_type", json!("ne2k_pci"))], "ne2k_pci"),
        (vec![("nic_type", json!("i82557b"))], "i82557b"),
        (vec![("reboot_behavior", json!("exit"))], "<on_reboot>destroy"),
        (
            vec![("security_model", json!("user")), ("security_domain", json!("root"))],
            "model='dac'",
        ),
        (vec![("serial_console", json!(false)), vnc.clone()], "type='vnc'"),
        (vec![("soundhw", json!("ac97"))], "ac97"),
        (vec![("soundhw", json!("hda,es1370,sb16"))], "sb16"),
        (vec![("usb_mouse", json!("tablet"))], "type='tablet'"),
        (vec![("usb_devices", json!("tablet,keyboard"))], "type='keyboard'"),
        (vec![("use_guest_agent", json!(true))], "org.qemu.guest_agent.0"),
        (vec![("use_localtime", json!(true))], "localtime"),
        (vec![("vga", json!("cirrus")), vnc.clone()], "cirrus"),
        (vec![("vga", json!("none"))], "memballoon"),
        (vec![("vhost_net", json!(false))], "name='qemu'"),
        (vec![("virtio_net_queues", json!(2))], "queues='2'"),
        (vec![vnc.clone(), ("keymap", json!("de"))], "keymap='de'"),
        (vec![("vnc_bind_address", json!("lo"))], "127.0.0.1"),
        (vec![("vnc_bind_address", json!("/run"))], "/run/vary.lab.vnc"),
        (vec![vnc, ("vnc_password_file", json!("/etc/hostname"))], "type='vnc'"),
    ]
}

/// Something to put into drives.
const ISO: &str = "/var/lib/roost/tiny/disk.img";

#[test]
#[ignore = "needs root"]
fn qemu_takes_every_parameter() {
    let guests = Guests::up("guest-vary");
    let mut failures = vec![];
    for (changes, shown) in variants() {
        let mut vary = guest("vary.lab", &changes);
        vary.network_port = Some(5950);
        vary.beparams.insert("vcpus".into(), 2.into());
        let disk = guests.disk(&vary, false);
        let valid = guests.ask(1, &Ask::Validate(vary.hvparams.clone()));
        let started = valid.and_then(|_| guests.ask(1, &Ask::Start(vary.clone(), vec![disk])));
        let argv = ["virsh", "-c", "qemu:///system", "dumpxml", "vary.lab"];
        match started {
            Ok(_) => {
                let xml = guests.lab.check("node1", &argv).unwrap();
                if !xml.contains(shown) {
                    failures.push(format!("{changes:?}: no {shown}"));
                }
            }
            Err(error) => failures.push(format!("{changes:?}: {error}")),
        }
        guests.ask(1, &Ask::Stop(reference(&vary), 0)).unwrap();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
#[ignore = "needs root"]
fn cards_are_connected_by_scripts_and_routes() {
    let guests = Guests::up("guest-cards");
    let mut web = guest("cards.lab", &[]);
    let tap = format!("gnt{}", &web.nics[0].uuid.to_string().replace('-', "")[..10]);
    let disk = guests.disk(&web, false);
    let on_node = |script: &str| guests.lab.check("node1", &["sh", "-c", script]).unwrap();

    // Routed: the guest's address by way of its own device, in the table named by the link.
    web.nics[0].mode = roost_proto::choices::NicMode::Routed;
    web.nics[0].link = "100".into();
    web.nics[0].ip = Some(GUEST.into());
    guests.ask(1, &Ask::Start(web.clone(), vec![disk.clone()])).unwrap();
    let routes = on_node("ip route show table 100; ip rule");
    assert!(routes.contains(&format!("{GUEST} dev {tap}")), "{routes}");
    assert!(routes.contains(&format!("iif {tap} lookup 100")), "{routes}");
    guests.wait_for_count(1, &web, 0);
    let answers = || {
        // Seen from the node itself, so its own table must know the way.
        let argv = ["busybox", "ping", "-c", "1", "-W", "1", GUEST];
        guests.lab.exec("node1", &argv).is_ok_and(|out| out.ok())
    };
    on_node(&format!("ip route add {GUEST} dev {tap}"));
    wait_until(LONG, || "the routed guest's answer".into(), answers).unwrap();
    guests.ask(1, &Ask::Stop(reference(&web), 0)).unwrap();
    assert!(!on_node("ip link").contains(&tap), "the tap device is gone");

    // ext: only by the site's scripts; without one it fails and leaves nothing.
    web.nics[0].mode = roost_proto::choices::NicMode::Ext;
    let error = guests.ask(1, &Ask::Start(web.clone(), vec![disk.clone()])).unwrap_err();
    assert!(error.message.contains("network/ext/up"), "{error}");
    assert!(!on_node("ip link").contains(&tap));
    let script = "mkdir -p /etc/ganeti/network/ext && cd /etc/ganeti/network/ext && \
                  printf '#!/bin/sh\nenv | sort > /run/told.$ACTION\nip link set $1 master br0 up\n' > up && \
                  cp up down && chmod +x up down";
    on_node(script);
    guests.ask(1, &Ask::Start(web.clone(), vec![disk])).unwrap();
    let told = on_node("cat /run/told.up");
    for line in ["ACTION=up", "INSTANCE=cards.lab", "MODE=ext", &format!("INTERFACE={tap}")] {
        assert!(told.lines().any(|l| l == line), "{line} in {told}");
    }
    wait_until(LONG, || "the guest's answer".into(), answers).unwrap();
    // It dies: its card is disconnected all the same.
    on_node("kill -9 $(cat /run/libvirt/qemu/cards.lab.pid)");
    let gone = || on_node("cat /run/told.down 2>/dev/null; ip link").contains("ACTION=down");
    wait_until(LONG, || "the down script".into(), gone).unwrap();
    let removed = || !on_node("ip link").contains(&tap);
    wait_until(LONG, || "the tap device's end".into(), removed).unwrap();
}
