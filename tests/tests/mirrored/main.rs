//! The whole classic stack: a real guest on a DRBD disk, on nodes with a kernel of their own. It
//! writes all the time. Needs root, the image of those nodes and the tiny guest (`make uml guest`):
//! `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with other test programs")]
mod cluster;

use cluster::Cluster;
use roost_tests::guest::{self, Watch};
use roost_tests::lab::{Hypervisor, Kernel, Options, wait_until};
use std::net::Ipv4Addr;
use std::time::Duration;

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 60);
/// Emulated guests on emulated kernels on a busy machine.
const LONG: Duration = Duration::from_secs(300);

const ADD: &str = "gnt-instance add -t drbd -H kvm:disk_cache=none --disk 0:size=64M \
                   --ignore-ipolicy -o tiny+default -B memory=128M,vcpus=1 --net \
                   0:ip=10.78.0.60 -n node1:node2 web.lab";

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_guest_on_a_mirror_migrates_while_it_writes_and_survives_a_power_cut() {
    let c = Cluster::with(Options {
        nodes: 2,
        hypervisor: Hypervisor::Kvm,
        kernel: Kernel::Uml,
        disk_mib: 512,
        ..Options::new("t-mirrored")
    });
    c.ok(ADD);
    let first = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > 3).unwrap();
    let watch = Watch::start(&c.lab, GUEST).unwrap();
    c.ok("gnt-instance migrate -f web");
    let moved = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > first.count + 3).unwrap();
    let seen = watch.stop();
    assert_eq!(moved.boot, first.boot, "it is the same guest");
    assert!(seen.steady, "it never went back: {seen:?}");
    println!("{} answers, longest wait {:?}", seen.answers, seen.longest_gap);
    assert_eq!(c.instance("pnode", "web"), "node2.lab");
    // The former side is the mirror now, and neither allows two.
    let role = |node: &str| c.on(node, "cat /proc/drbd").stdout;
    assert!(role("node1").contains("ro:Secondary/Primary"), "{}", role("node1"));
    assert!(role("node1").contains("ds:UpToDate/UpToDate"), "{}", role("node1"));
    c.verify();

    // Back, and again: what it is started with does not wear out.
    c.ok("gnt-instance migrate -f web");
    let back = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > moved.count + 3).unwrap();
    assert_eq!(back.boot, first.boot);

    // The node that runs it loses power: the other one has what was written last.
    c.ok("gnt-instance migrate -f web");
    let last = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > back.count + 3).unwrap();
    c.lab.kill("node2").unwrap();
    c.ok("gnt-node modify -O yes node2");
    c.ok("gnt-instance failover -f web");
    let again = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > 1).unwrap();
    assert_ne!(again.boot, first.boot, "it has started anew");
    assert!(again.before >= last.count, "nothing is lost: {again:?} after {last:?}");

    // It returns, catches up, and all is well.
    c.lab.start("node2").unwrap();
    c.ok("gnt-node modify -f -O no node2");
    c.ok("gnt-instance activate-disks --wait-for-sync web");
    let equal = || role("node1").contains("ds:UpToDate/UpToDate");
    wait_until(LONG, || "two equal sides".into(), equal).unwrap();
    c.verify();
}
