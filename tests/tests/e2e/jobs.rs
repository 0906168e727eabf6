//! Jobs: waiting, watching, cancelling, archiving; locks that show who holds and who waits.

use crate::cluster::Cluster;
use roost_tests::lab::wait_until;
use std::time::{Duration, Instant};

#[test]
fn jobs_are_followed_cancelled_and_archived() {
    let c = Cluster::fake("t-jobs");
    let id = c.submit("gnt-debug delay 0.3");
    c.ok(&format!("gnt-job wait {id}"));
    assert_eq!(c.job(id), "success");
    c.ok(&format!("gnt-job watch {id} && gnt-job archive {id}"));
    let listed = c.ok("gnt-job list --no-headers -o id");
    assert!(!listed.lines().any(|line| line.trim() == id.to_string()), "{listed}");

    // What waits for a lock can be cancelled at once.
    let holder = c.submit("gnt-debug delay -n node2 3");
    let waiter = c.submit("gnt-debug delay -n node2 3");
    c.wait_job(waiter, "waiting");
    c.ok(&format!("gnt-job cancel -f {waiter}"));
    c.wait_job(waiter, "canceled");
    let out = c.run(&format!("gnt-job wait {waiter}"));
    assert_ne!(out.code, 0, "{}", out.stdout);
    c.wait_job(holder, "success");
    assert_eq!(c.json("gnt-debug locks --json"), serde_json::json!([]));
}

#[test]
fn locks_show_their_holder_and_who_waits() {
    let c = Cluster::fake("t-locks");
    c.ok("gnt-instance add -t diskless -o noop -n node2 one");
    let holder = c.submit("gnt-debug delay -n node2 3");
    c.wait_job(holder, "running");
    let waiter = c.submit("gnt-instance reboot one");
    let second = c.submit("gnt-instance reboot one");
    let row = |name: &str| {
        let rows = c.json("gnt-debug locks --json");
        rows.as_array().unwrap().iter().find(|r| r["name"] == name).cloned()
    };
    let queued = || {
        row("instance/one").is_some_and(|r| r["pending"].to_string().contains(&second.to_string()))
    };
    wait_until(Duration::from_secs(2), || "the second in the list".into(), queued).unwrap();
    let lock = row("instance/one").unwrap();
    assert_eq!(lock["owner"], serde_json::json!([waiter]));
    assert_eq!(lock["pending"], serde_json::json!([["exclusive", [second]]]));
    let rows = c.json("gnt-debug locks --json");
    let held = rows.as_array().unwrap().iter().find(|r| {
        r["owner"] == serde_json::json!([holder])
            && r["pending"].to_string().contains(&waiter.to_string())
    });
    assert!(held.is_some(), "{rows}");
    for id in [holder, waiter, second] {
        c.wait_job(id, "success");
    }
}

#[test]
fn jobs_on_different_instances_overlap() {
    let c = Cluster::fake("t-overlap");
    let add = |name: &str, node: &str| {
        c.submit(&format!("gnt-instance add -t file --disk 0:size=1G -o slow -n {node} {name}"))
    };
    let began = Instant::now();
    let ids = [add("one", "node2"), add("two", "node3"), add("three", "node1")];
    let both = || ids.iter().all(|id| c.job(*id) == "running");
    wait_until(Duration::from_secs(20), || "three jobs at work at once".into(), both).unwrap();
    for id in ids {
        c.wait_job(id, "success");
    }
    println!("three installations of 0.8 s each took {:?}", began.elapsed());
    assert_eq!(c.instances().len(), 3);
    c.verify();
}

#[test]
fn rules_hold_jobs_killing_ends_them_and_archived_ones_are_listed() {
    let c = Cluster::fake("t-rules");
    let rule = c.ok("gnt-filter add --action=PAUSE --reason=busy \
         --predicates='[[\"opcode\", [\"=\", \"OP_ID\", \"OP_TEST_DELAY\"]]]'");
    let rule = rule.trim();
    let held = c.submit("gnt-debug delay 0.1");
    c.ok("gnt-instance add -t diskless -o noop -n node2 --no-start one");
    assert_eq!(c.job(held), "queued");
    assert!(c.ok(&format!("gnt-filter info {rule}")).contains("Action: PAUSE"));
    c.ok(&format!("gnt-filter replace --action=REJECT {rule}"));
    c.wait_job(held, "canceled");
    c.ok(&format!("gnt-filter delete {rule}"));
    assert_eq!(c.ok("gnt-filter list --no-headers").trim(), "");

    let hanging = c.submit("gnt-debug delay --no-master -n node2 600");
    c.wait_job(hanging, "running");
    c.ok(&format!("gnt-job cancel --kill --yes-do-it {hanging}"));
    c.wait_job(hanging, "canceled");

    c.ok("gnt-job autoarchive all");
    assert_eq!(c.ok("gnt-job list --no-headers").trim(), "");
    let all = c.ok("gnt-job list --archived --no-headers -o id,archived");
    let listed: Vec<String> =
        all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let wanted: Vec<String> = (1..=hanging).map(|id| format!("{id} Y")).collect();
    assert_eq!(listed, wanted);
    let out = c.run(&format!("gnt-job cancel {hanging}"));
    assert!(out.stdout.contains("status canceled"), "{}", out.stdout);
}
