//! Real guests under QEMU.

use roost_tests::guest::{self, Watch};
use roost_tests::lab::{Hypervisor, Options, wait_until};
use roost_tests::tour;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 50);
const LONG: Duration = Duration::from_secs(180);
const ADD: &str = "gnt-instance add -t sharedfile --disk 0:size=1G -o tiny+default \
                   -B memory=128M,vcpus=1 --net 0:ip=10.78.0.50 -n node2 web.lab";

fn need_tiny() {
    assert!(
        Path::new("/var/lib/roost/tiny/disk.img").exists(),
        "run scripts/build-tiny-guest first"
    );
}

/// Installation, boot, live migration, power cut, failover, evacuation: all of `make demo`.
#[test]
fn the_tour_gets_to_its_end() {
    need_tiny();
    let root = tempfile::tempdir().unwrap();
    let options = Options { root: root.path().into(), ..Options::new("t-tour") };
    let played = tour::run(options.clone());
    roost_tests::lab::Lab::down_by_name(&options).unwrap();
    played.unwrap();
}

/// The source loses power at different points of a migration: never two, and one command mends it.
#[test]
#[ignore = "long: make test-full"]
fn a_source_that_dies_in_a_migration_leaves_one_guest_or_none() {
    need_tiny();
    let c = Cluster::up("t-migkill", Hypervisor::Kvm);
    c.ok(ADD);
    let (mut home, mut away) = ("node2", "node3");
    for after in [50, 700, 2500] {
        guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > 1).unwrap();
        let id = c.submit(&format!("gnt-instance migrate -f -n {away} web"));
        std::thread::sleep(Duration::from_millis(after));
        c.lab.kill(home).unwrap();
        let began = Instant::now();
        c.jobs_end();
        println!("the job took {:?} to end", began.elapsed());
        let running: Vec<String> = c.lab.status().into_iter().flat_map(|n| n.guests).collect();
        println!("killed after {after} ms: job {}, running: {running:?}", c.job(id));
        assert!(running.len() <= 1, "{running:?}");
        c.ok(&format!("gnt-node modify -O yes {home}"));
        if running.is_empty() {
            c.ok(&format!("gnt-instance failover -f -n {away} web"));
        } else if c.instance("pnode", "web") != format!("{away}.lab") {
            c.ok("gnt-instance migrate -f --cleanup web");
        }
        guest::wait_for(&c.lab, GUEST, LONG, |_| true).unwrap();
        c.wait_for("web", "status", "running");
        assert_eq!(c.instance("pnode", "web"), format!("{away}.lab"));
        c.lab.start(home).unwrap();
        c.ok(&format!("gnt-node modify -O no -f {home}"));
        c.all_report();
        // What could not be undone on the dark node waits for this.
        c.ok("gnt-cluster repair-debris");
        c.verify();
        (home, away) = (away, home);
    }
}

/// QEMU is killed: shown, and started again.
#[test]
#[ignore = "long: make test-full"]
fn a_killed_qemu_is_shown_and_started_again() {
    need_tiny();
    let c = Cluster::up("t-qemu", Hypervisor::Kvm);
    c.ok(ADD);
    // Its disk remembers what it has counted.
    let first = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > 2).unwrap();
    let watch = Watch::start(&c.lab, GUEST).unwrap();
    assert!(c.on("node2", "kill -9 $(cat /run/libvirt/qemu/web.lab.pid)").ok());
    c.wait_for("web", "status", "ERROR_down");
    c.ok("gnt-instance startup web");
    let second = guest::wait_for(&c.lab, GUEST, LONG, |a| a.boot != first.boot).unwrap();
    assert_eq!(second.boots, 2);
    println!("nobody answered for {:?}", watch.stop().longest_gap);
    let steady = || c.run("gnt-cluster verify").ok();
    wait_until(LONG, || "a content verify".into(), steady).unwrap();
}
