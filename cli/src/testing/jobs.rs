//! What commands print while and after their jobs run, what they ask, and how they exit.

use super::{FakeMaster, run_alone};
use roost_proto::error::Error;
use roost_proto::query::Resource;
use serde_json::json;

fn instances() -> FakeMaster {
    FakeMaster::start().table(Resource::Instance, json!([{"name": "web1"}, {"name": "web2"}]))
}

#[tokio::test]
async fn a_job_that_says_nothing_prints_nothing() {
    let ran = FakeMaster::start().run("gnt-debug delay 0").await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
}

#[tokio::test]
async fn logs_are_printed_with_times() {
    let master = FakeMaster::start().log(
        "OP_TEST_DELAY",
        json!([[1, [0, 0], "message", "hello"], [2, [0, 0], "delay-test", ["/sock"]]]),
    );
    let ran = master.run("gnt-debug delay --print-jobid 0").await;
    let time = crate::clock::ctime(0);
    assert_eq!(ran.out, format!("1\n{time} hello\n{time} ['/sock']\n"));
}

#[tokio::test]
async fn submit_does_not_wait() {
    let ran = FakeMaster::start().run("gnt-debug delay --submit 0").await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", "JobID: 1\n"));
    let ran = instances().run("gnt-instance startup --submit --force-multiple web1 web2").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "1: web1\n2: web2\n"));
}

#[tokio::test]
async fn failures_are_told_as_ganeti_does() {
    let master =
        FakeMaster::start().answer("OP_NODE_REMOVE", Err(Error::wrong_state("has instances")));
    let ran = master.run("gnt-node remove n1").await;
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "Failure: prerequisites not met for this operation:\nerror type: wrong_state, error \
         details:\nhas instances\n"
    );
}

#[tokio::test]
async fn several_instances_are_asked_about() {
    let master = instances();
    let ran = master.run("gnt-instance stop web1 web2").await;
    assert_eq!(ran.code, 1, "nobody answers: no");
    assert!(master.submitted().is_empty());
    let ran = master.run_answering("gnt-instance stop web1 web2", &["?", "maybe", "y"]).await;
    assert_eq!(ran.code, 0);
    assert_eq!(
        ran.out,
        "Submitted jobs 1, 2\nWaiting for job 1 for web1 ...\nWaiting for job 2 for web2 ...\n"
    );
    let ran = master.run("gnt-instance stop web1").await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "Waiting for job 3 for web1 ...\n"));
}

#[tokio::test]
async fn one_failed_job_of_several_fails_the_command() {
    let master = instances().answer("OP_INSTANCE_STARTUP", Err(Error::exec("no memory")));
    let ran = master.run("gnt-instance start --force-multiple web1 web2").await;
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "Job 1 for web1 has failed: Failure: command execution error:\nno memory\n\
         Job 2 for web2 has failed: Failure: command execution error:\nno memory\n"
    );
}

#[tokio::test]
async fn declined_questions_have_ganetis_exit_codes() {
    let master = FakeMaster::start()
        .table(Resource::Instance, json!([{"name": "web1"}]))
        .table(
            Resource::Node,
            json!([{"name": "n1", "pinst_list": ["web1"], "sinst_list": ["web1"]}]),
        )
        .table(Resource::Job, json!([{"id": 5, "status": "queued", "summary": ["X"]}]));
    for (line, code) in [
        ("gnt-instance remove web1", 1),
        ("gnt-instance migrate web1", 1),
        ("gnt-instance failover web1", 1),
        ("gnt-instance failover -f --ignore-consistency web1", 1),
        ("gnt-instance move -n n2 web1", 1),
        ("gnt-instance reinstall web1", 1),
        ("gnt-instance reinstall -f --all", 1),
        ("gnt-instance modify --net 0:ip=none web1", 1),
        ("gnt-node migrate n1", 13),
        ("gnt-node evacuate -s n1", 13),
        ("gnt-node failover n1", 2),
        ("gnt-node powercycle n1", 2),
        ("gnt-node modify -O no n1", 1),
        ("gnt-job cancel --queued", 13),
        ("gnt-job change-priority --priority high --pending", 13),
    ] {
        let ran = master.run_answering(line, &["n"]).await;
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        assert!(master.submitted().is_empty() && master.calls().is_empty(), "{line}");
    }
}

#[tokio::test]
async fn children_are_waited_for() {
    let children = json!({"jobs": [[true, 100], [true, "101"]]});
    let master = FakeMaster::start().answer("OP_CLUSTER_VERIFY", Ok(children));
    let ran = master.run("gnt-cluster verify").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out, "Waiting for job 100 ...\nWaiting for job 101 ...\n");
    let refused = json!({"jobs": [[false, "queue is full"]]});
    let master = FakeMaster::start().answer("OP_CLUSTER_VERIFY", Ok(refused));
    let ran = master.run("gnt-cluster verify").await;
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, "Failed to submit job: queue is full\n");
    assert_eq!(ran.out, "1 job(s) failed while verifying the cluster.\n");
}

#[tokio::test]
async fn changes_are_listed() {
    let master = FakeMaster::start()
        .answer("OP_INSTANCE_SET_PARAMS", Ok(json!([["be/vcpus", 2], ["hv/acpi", false]])))
        .answer("OP_NODE_SET_PARAMS", Ok(json!([["offline", true]])));
    let ran = master.run("gnt-instance modify -B vcpus=2 web1").await;
    let mut lines = ran.out.lines();
    assert_eq!(lines.next(), Some("Modified instance web1"));
    assert_eq!(lines.next(), Some(" - be/vcpus -> 2"));
    assert_eq!(lines.next(), Some(" - hv/acpi -> False"));
    assert!(lines.next().is_some_and(|line| line.starts_with("Please don't forget")));
    let ran = master.run("gnt-node modify -O yes n1").await;
    assert_eq!(ran.out, "Modified node n1\n - offline -> True\n");
}

#[tokio::test]
async fn job_commands() {
    let master = FakeMaster::start();
    let ran = master.run("gnt-job cancel 7 13").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, "Job 7 canceled\nJob 13 canceled\n"));
    let ran = master.run("gnt-job archive 7 13").await;
    assert_eq!((ran.code, ran.err.as_str()), (1, "Failed to archive job with ID '13'\n"));
    let ran = master.run("gnt-job autoarchive 2h").await;
    assert_eq!(ran.out, "Archived 3 jobs, 2 unchecked left\n");
    master.run("gnt-job autoarchive all").await;
    master.run("gnt-job change-priority --priority=high 7").await;
    assert_eq!(
        master.calls(),
        [
            "cancel 7 kill=false",
            "cancel 13 kill=false",
            "archive 7",
            "archive 13",
            "autoarchive 7200",
            "autoarchive -1",
            "priority 7 -10"
        ]
    );
}

#[tokio::test]
async fn watch_and_wait() {
    let master = FakeMaster::start()
        .log("OP_TEST_DELAY", json!([[1, [0, 0], "message", "hello"]]))
        .answer("OP_NODE_REMOVE", Err(Error::exec("no")));
    master.run("gnt-debug delay --submit 0").await;
    let ran = master.run("gnt-job watch 1").await;
    let time = crate::clock::ctime(0);
    assert_eq!(
        ran.out,
        format!("Output from job 1 follows\n-------------------------\n{time} hello\n")
    );
    assert_eq!(master.run("gnt-job wait 1").await.out, "");
    master.run("gnt-node remove n1").await;
    let ran = master.run("gnt-job wait 2").await;
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "Job 2 failed: Failure: command execution error:\nno\n")
    );
}

#[tokio::test]
async fn commands_on_nodes_are_printed_in_order() {
    let master = FakeMaster::start().table(
        Resource::Node,
        json!([
            {"name": "a", "offline": false, "master": true, "group": "g1", "group.uuid": "u1"},
            {"name": "bad", "offline": false, "master": false, "group": "g1", "group.uuid": "u1"},
            {"name": "c", "offline": true, "master": false, "group": "g2", "group.uuid": "u2"},
        ]),
    );
    let dashes = "-".repeat(48);
    let ran = master.run("gnt-cluster command ls -l --all").await;
    assert_eq!(
        ran.out,
        format!(
            "{dashes}\nnode: bad\nls -l --all on bad\nreturn code = 1\n\
             {dashes}\nnode: a\nls -l --all on a\nreturn code = 0\n"
        )
    );
    assert_eq!(ran.err, "Note: skipping offline node(s): c\n");
    let ran = master.run("gnt-cluster command -M --failure-only -g g1 id").await;
    assert_eq!(ran.out, format!("{dashes}\nbad: id on bad\nreturn code = 1\n"));
    let ran = master.run("gnt-cluster copyfile -n bad /etc/passwd").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("to node bad failed"), "{ran:?}");
    assert_eq!(master.run("gnt-cluster copyfile -n a /etc/passwd").await.code, 0);
}

#[tokio::test]
async fn small_cluster_commands() {
    let master = FakeMaster::start()
        .info(json!({"software_version": "1.0", "tags": ["b", "a"]}))
        .answer("OP_TAGS_SEARCH", Ok(json!([["/nodes/n1", "x"], ["/cluster", "x"]])));
    assert!(master.run("gnt-cluster version").await.out.starts_with("Software version: 1.0\n"));
    assert_eq!(master.run("gnt-cluster list-tags").await.out, "a\nb\n");
    assert_eq!(master.run("gnt-cluster search-tags x").await.out, "/cluster x\n/nodes/n1 x\n");
    master.run("gnt-cluster queue drain").await;
    assert_eq!(master.run("gnt-cluster queue info").await.out, "The drain flag is set\n");
    master.run("gnt-cluster queue undrain").await;
    assert_eq!(master.run("gnt-cluster queue info").await.out, "The drain flag is unset\n");
    assert_eq!(master.run("gnt-cluster master-ping").await.code, 0);
    assert_eq!(
        master.run("gnt-node token --address 10.0.0.7 N7").await.out,
        "token-of-n7-at-10.0.0.7\n"
    );
    assert_eq!(master.run("gnt-cluster repair-debris").await.out, "0 removed, 0 left\n");
    assert_eq!(master.run("gnt-cluster repair-debris --list").await.out, "There is no debris.\n");
    assert_eq!(
        FakeMaster::start()
            .answer("OP_TAGS_SEARCH", Ok(json!([])))
            .run("gnt-cluster search-tags x")
            .await
            .code,
        1
    );
}

#[tokio::test]
async fn the_cluster_gets_another_name() {
    let master = FakeMaster::start()
        .info(json!({"name": "c1"}))
        .answer("OP_CLUSTER_RENAME", Ok(json!("house.example.com")));
    let no = master.run_answering("gnt-cluster rename house", &["n"]).await;
    assert_eq!((no.code, master.submitted().len()), (1, 0));
    let yes = master.run_answering("gnt-cluster rename house", &["y"]).await;
    assert_eq!(yes.out, "Cluster renamed from 'c1' to 'house.example.com'\n");
    let no = master.run_answering("gnt-cluster deactivate-master-ip", &["n"]).await;
    assert_eq!((no.code, master.submitted().len()), (1, 1));
    assert_eq!(master.run("gnt-cluster deactivate-master-ip --yes").await.code, 0);
    assert_eq!(master.submitted().len(), 1);
}

/// Some masterd answers on this machine, but the master is elsewhere, and silent there.
#[tokio::test]
async fn the_master_is_asked_and_nobody_else() {
    let master = FakeMaster::start();
    let paths = roost_proto::paths::Paths::new(master.environment().root);
    std::fs::create_dir_all(paths.data_dir()).expect("directory");
    let identity = r#"{"cluster": "a5c9f2f4-7a08-4c0c-9df9-e3a2d3bfca7a",
        "node": "b5c9f2f4-7a08-4c0c-9df9-e3a2d3bfca7a", "name": "n1", "address": "127.0.0.1"}"#;
    for (path, text) in [
        (paths.identity(), identity),
        (paths.ssconf("master_node"), "n2\n"),
        (paths.ssconf("node_primary_ips"), "n1 127.0.0.1\nn2 127.0.0.1\n"),
        (paths.ssconf("master_candidates_certs"), "x=AA:BB\n"),
    ] {
        std::fs::write(path, text).expect("written");
    }
    assert_eq!(master.run("gnt-cluster master-ping").await.code, 1);
    assert_eq!(master.run("gnt-cluster getmaster").await.out, "n2\n");
    std::fs::write(paths.ssconf("master_node"), "n1\n").expect("written");
    assert_eq!(master.run("gnt-cluster master-ping").await.code, 0);
}

#[tokio::test]
async fn without_a_cluster() {
    let ran = run_alone("gnt-instance list").await;
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "Failure: prerequisites not met for this operation:\nCluster not initialized or this \
         machine is not part of a cluster\n"
    );
    assert_eq!(run_alone("gnt-cluster master-ping").await.code, 1);
    assert_eq!(run_alone("gnt-cluster getmaster").await.code, 1);
    let ran = run_alone("daemon-util status").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (1, "noded: stopped\nmasterd: stopped\nconfd: stopped\nmond: stopped\n")
    );
    assert_eq!(run_alone("gnt daemon stop-all").await.code, 0);
}
