//! Daemons killed in the middle of a creation: it ends well or is undone, and nothing stays.

use crate::cluster::Cluster;
use std::time::{Duration, Instant};

/// Kills `daemon` on `node` this long after a creation began, and looks what became of it.
fn kill_during_creation(c: &Cluster, node: &str, daemon: &str, after: Duration) {
    let clean = c.files();
    let began = Instant::now();
    let id = c.submit("gnt-instance add -t file --disk 0:size=1G -o slow -n node2 one");
    std::thread::sleep(after.saturating_sub(began.elapsed()));
    c.lab.kill_daemon(node, daemon).unwrap();
    c.lab.start_daemon(node, daemon).unwrap();
    c.master_answers();
    c.jobs_end();
    let status = c.job(id);
    println!("{daemon} killed after {after:?}: {status}");
    assert_eq!(c.json("gnt-debug locks --json"), serde_json::json!([]));
    c.all_report();
    if status == "success" {
        c.wait_for("one", "status", "running");
        c.verify();
        c.ok("gnt-instance remove -f one");
    } else {
        assert!(c.instances().is_empty(), "{after:?}: {status} but the instance is there");
    }
    assert_eq!(c.files(), clean, "{daemon} killed after {after:?}: {status}");
    c.verify();
}

/// Points spread over what a creation takes, the earlier ones closer together.
fn points(count: u32) -> impl Iterator<Item = Duration> {
    (0..count).map(move |n| Duration::from_millis(u64::from(n * n * 1200 / (count * count))))
}

#[test]
fn a_killed_master_takes_its_jobs_up_again() {
    let c = Cluster::fake("t-masterd");
    for after in points(6) {
        kill_during_creation(&c, "node1", "masterd", after);
    }
}

#[test]
fn a_killed_noded_leaves_no_half_instance() {
    let c = Cluster::fake("t-noded");
    for after in points(6) {
        kill_during_creation(&c, "node2", "noded", after);
    }
}

#[test]
#[ignore = "long: make test-full"]
fn sweep_of_kills() {
    let c = Cluster::fake("t-sweep");
    for after in points(40) {
        kill_during_creation(&c, "node1", "masterd", after);
        kill_during_creation(&c, "node2", "noded", after);
    }
}

/// The whole node goes, with guests on it, and comes back.
#[test]
fn a_node_that_loses_power_is_failed_over_and_comes_back() {
    let c = Cluster::fake("t-power");
    c.ok("gnt-instance add -t sharedfile --disk 0:size=1G -o noop -n node2 one");
    c.lab.kill("node2").unwrap();
    c.wait_for("one", "status", "ERROR_nodedown");
    c.ok("gnt-node modify -O yes node2 && gnt-instance failover -f -n node3 one");
    assert_eq!(c.instance("status", "one"), "running");
    c.verify();
    c.lab.start("node2").unwrap();
    c.ok("gnt-node modify -O no -f node2");
    c.all_report();
    c.verify();
    assert_eq!(c.instance("pnode", "one"), "node3.lab");
}
