//! Runs of `harep` against a master that pretends: what it says, and which jobs it submits.

use crate::testing::FakeMaster;
use roost_proto::query::Resource;
use serde_json::{Value, json};

const REFUSED: &str = "ganeti:watcher:autorepair:result:failover:a:10:enoperm:";
const PENDING: &str = "ganeti:watcher:autorepair:pending:failover:a:10:7";

fn node(name: &str, offline: bool, drained: bool) -> Value {
    json!({
        "name": name, "group.uuid": "u1", "offline": offline, "drained": drained, "vm_capable": true,
        "ndp/spindle_count": 1, "ndp/exclusive_storage": false, "ndp/cpu_speed": 1.0, "mtotal": 4096,
        "mnode": 100, "mfree": 3000, "dtotal": 9999, "dfree": 9999, "ctotal": 4, "cnos": 1, "tags": []
    })
}

fn instance(name: &str, template: &str, nodes: [&str; 2], tags: &[&str]) -> Value {
    let secondary: Vec<&str> = nodes[1..].iter().filter(|node| !node.is_empty()).copied().collect();
    json!({
        "name": name, "pnode": nodes[0], "snodes": secondary, "status": "running",
        "be/maxmem": 128, "be/vcpus": 1, "be/auto_balance": true, "be/spindle_use": 1,
        "disk_template": template, "disk_usage": 1024, "disk.sizes": [1024], "disk.spindles": [null],
        "forthcoming": false, "tags": tags
    })
}

/// A master of three nodes: `up`, `down`, which is offline, and `drained`; of these instances and jobs.
fn master(tags: &[&str], instances: Value, jobs: Value) -> FakeMaster {
    let policy = json!({
        "minmax": [], "std": {"memory-size": 128, "disk-size": 1024, "disk-count": 1, "cpu-count": 1,
        "nic-count": 1, "spindle-use": 1}, "disk-templates": ["drbd"], "vcpu-ratio": 4, "spindle-ratio": 32
    });
    let tags: Vec<String> =
        tags.iter().map(|tag| format!("ganeti:watcher:autorepair:{tag}")).collect();
    FakeMaster::start()
        .table(
            Resource::Group,
            json!([{"name": "default", "uuid": "u1", "alloc_policy": "preferred",
            "ipolicy": policy, "custom_ipolicy": {}, "tags": []}]),
        )
        .table(
            Resource::Node,
            json!([
                node("up", false, false),
                node("down", true, false),
                node("drained", false, true)
            ]),
        )
        .table(Resource::Instance, instances)
        .table(Resource::Job, jobs)
        .info(
            json!({"master": "up", "tags": tags, "ipolicy": policy, "default_hypervisor": "fake"}),
        )
}

/// What is said, without the lines around the counts.
fn said(out: &str) -> Vec<String> {
    let told = |line: &&str| !line.starts_with("---") && *line != "Instance status count";
    out.lines().filter(told).map(str::to_owned).collect()
}

/// OP_IDs of the jobs that were submitted.
fn jobs(master: &FakeMaster) -> Vec<Vec<String>> {
    let id = |op: &Value| op["OP_ID"].as_str().unwrap_or_default().to_owned();
    master.submitted().iter().map(|job| job.iter().map(id).collect()).collect()
}

#[tokio::test]
async fn a_broken_instance_is_mended_and_the_job_is_noted() {
    let instances = json!([
        instance("web", "drbd", ["down", "up"], &[]),
        instance("well", "drbd", ["up", "drained"], &[]),
    ]);
    let master = master(&["failover"], instances, json!([]));
    let ran = master.run("harep --job-delay=3 --reason=power").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let submitted = master.submitted();
    let said = said(&ran.out);
    assert_eq!(said[0], "Executing ArFailover repair on web");
    assert_eq!(said[1], ">>> Adding the following tag to web:");
    assert!(said[2].starts_with("\"ganeti:watcher:autorepair:pending:failover:"), "{}", said[2]);
    assert_eq!(said[3..], ["Healthy: 1", "Pending repair: 1"]);
    assert_eq!(submitted.len(), 2);
    let [wait, failover] = &submitted[0][..] else { panic!("{submitted:?}") };
    assert_eq!((&wait["OP_ID"], &wait["duration"]), (&json!("OP_TEST_DELAY"), &json!(3.0)));
    assert_eq!(failover["OP_ID"], "OP_INSTANCE_FAILOVER");
    assert_eq!(failover["reason"][0][0], "harep");
    assert_eq!(failover["reason"][0][1], "power");
    let tag = submitted[1][0]["tags"][0].as_str().expect("a tag");
    assert_eq!(format!("{tag:?}"), said[2]);
    assert_eq!(submitted[1][0]["name"], "web");
}

#[tokio::test]
async fn plain_disks_are_made_anew_only_where_their_node_is_offline() {
    let instances = json!([
        instance("gone", "plain", ["down", ""], &[]),
        instance("there", "plain", ["drained", ""], &[]),
        instance("other", "sharedfile", ["down", ""], &[]),
    ]);
    let master = master(&["reinstall"], instances, json!([]));
    let ran = master.run("harep --job-delay=0").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let repair = vec!["OP_INSTANCE_RECREATE_DISKS".to_owned(), "OP_INSTANCE_REINSTALL".to_owned()];
    assert_eq!(jobs(&master), [repair, vec!["OP_TAGS_SET".to_owned()]]);
    assert!(ran.out.contains("Executing ArReinstall repair on gone"), "{}", ran.out);
}

#[tokio::test]
async fn jobs_that_ended_are_noted() {
    for (status, result, moved) in [
        (json!([{"id": 7, "status": "success"}]), "success", "Healthy"),
        (json!([{"id": 7, "status": "error"}]), "failure", "Failure"),
        (json!([{"id": 7, "status": "canceled"}]), "failure", "Failure"),
        (json!([]), "failure", "Failure"),
    ] {
        let instances = json!([instance("web", "drbd", ["up", "drained"], &[PENDING])]);
        let master = master(&["failover"], instances, status);
        let ran = master.run("harep").await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        let said = said(&ran.out);
        assert_eq!(said[0], format!("Moving web from \"Pending repair\" to {moved:?}"));
        assert!(said[2].contains(&format!(":{result}:7\"")), "{}", said[2]);
        assert_eq!(
            said[3..5],
            [">>> Removing the following tags from web:".to_owned(), format!("{PENDING:?}")]
        );
        assert_eq!(said[5], format!("{moved}: 1"));
        assert_eq!(jobs(&master), [["OP_TAGS_SET"], ["OP_TAGS_DEL"]]);
    }
}

#[tokio::test]
async fn nothing_is_done_while_jobs_run_or_after_they_failed() {
    let failed = "ganeti:watcher:autorepair:result:failover:a:10:failure:7";
    for (tag, state) in [(PENDING, "Pending repair"), (failed, "Failure")] {
        let instances = json!([instance("web", "drbd", ["down", "up"], &[tag])]);
        let master = master(&["reinstall"], instances, json!([{"id": 7, "status": "running"}]));
        let ran = master.run("harep").await;
        assert_eq!((ran.code, said(&ran.out)), (0, vec![format!("{state}: 1")]));
        assert!(master.submitted().is_empty());
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_noted_once() {
    let broken = |tags: &[&str]| json!([instance("web", "drbd", ["down", "up"], tags)]);
    let first = master(&["fix-storage"], broken(&[]), json!([]));
    let ran = first.run("harep").await;
    let refused = "Not performing a repair of type ArFailover on web because only repairs up to \
                   ArFixStorage are allowed";
    let lines = said(&ran.out);
    assert_eq!((ran.code, lines[0].as_str()), (0, refused));
    assert!(lines[2].ends_with(":enoperm:\""), "{}", lines[2]);
    assert_eq!(jobs(&first), [["OP_TAGS_SET"]]);
    let second = master(&["fix-storage"], broken(&[REFUSED]), json!([]));
    let ran = second.run("harep").await;
    assert_eq!(said(&ran.out), [refused, "Needs repair: 1"]);
    assert!(second.submitted().is_empty());
    let third = master(&["failover"], broken(&[REFUSED]), json!([]));
    assert!(third.run("harep").await.out.contains("Executing ArFailover repair on web"));
    assert_eq!(jobs(&third)[2], ["OP_TAGS_DEL"]);
}

#[tokio::test]
async fn nothing_is_done_without_permission() {
    for (tags, state) in [
        (&[][..], "ArNotEnabled"),
        (&["reinstall", "suspend"][..], "ArSuspended Forever"),
        (&["reinstall", "suspend:9999999999"][..], "ArSuspended (Until "),
    ] {
        let master = master(tags, json!([instance("web", "drbd", ["down", "up"], &[])]), json!([]));
        let ran = master.run("harep").await;
        let line = format!("Not repairing web because it's in state {state}");
        assert!(ran.out.starts_with(&line), "{}", ran.out);
        assert!(ran.out.ends_with("\nHealthy: 1\n"), "{}", ran.out);
        assert!(master.submitted().is_empty());
    }
}

#[tokio::test]
async fn a_dry_run_submits_nothing() {
    let instances = json!([
        instance("web", "drbd", ["down", "up"], &[]),
        instance("db", "drbd", ["up", "drained"], &[PENDING]),
    ]);
    let master = master(&["failover"], instances, json!([{"id": 7, "status": "success"}]));
    let ran = master.run("harep --dry-run").await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(">>> Not submitting INSTANCE_FAILOVER(web)"), "{}", ran.out);
    assert!(ran.out.contains("Moving db from"), "{}", ran.out);
    assert!(master.submitted().is_empty());
}

#[tokio::test]
async fn tags_that_contradict_each_other_are_an_error() {
    let tags = [PENDING, "ganeti:watcher:autorepair:pending:failover:b:20:8"];
    let master = master(&[], json!([instance("web", "drbd", ["down", "up"], &tags)]), json!([]));
    let ran = master.run("harep").await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.starts_with("Error: when parsing auto-repair tags: An unfinished repair"),
        "{}",
        ran.err
    );
}
