//! The job engine as its users see it: order, locks, cancelling, restarts, a store that fails.

#[path = "engine/cut_short.rs"]
mod cut_short;
#[path = "engine/order.rs"]
mod order;
#[allow(dead_code, reason = "each test program uses another part of it")]
mod sim;

use roost_masterd::jobs::locks::Mode;
use roost_masterd::ops::Operations;
use roost_masterd::state::Commit;
use roost_masterd::store::sqlite::SqliteStore;
use roost_masterd::store::{Batch, Space, Store};
use roost_proto::error::{ErrorKind, ErrorType};
use roost_proto::ids::{Epoch, JobId};
use roost_proto::job::JobStatus;
use roost_proto::node::Action;
use roost_proto::opcodes::OpInput;
use serde_json::{Value, json};
use sim::answers::OS;
use sim::compare;
use sim::hands::{Faults, When};
use sim::site::{Master, Site, node_id};
use sim::store::Ledger;
use std::sync::{Arc, Mutex};

/// Work on node2 that stops at a closed gate.
fn delay() -> Value {
    json!({"OP_ID": "OP_TEST_DELAY", "duration": 1.0, "on_master": false, "on_nodes": ["node2"]})
}

/// Fails when it is planned.
fn failing() -> Value {
    json!({"OP_ID": "OP_TEST_DELAY", "duration": -1.0})
}

fn with(mut op: Value, key: &str, value: Value) -> Value {
    op[key] = value;
    op
}

fn create(name: &str) -> Value {
    json!({
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "mode": "create",
        "disk_template": "sharedfile", "disks": [{"size": 1024}],
        "nics": [{"link": "br0", "mode": "bridged"}], "os_type": OS, "pnode": "node1",
    })
}

fn about(op: &str, name: &str) -> Value {
    json!({"OP_ID": format!("OP_INSTANCE_{op}"), "instance_name": name})
}

/// A cluster where these instances run on node1.
fn site_with(names: &[&str]) -> Site {
    let site = Site::new();
    work(&site, async |master| {
        for name in names {
            let job = master.submit(&[create(name)]).await;
            assert_eq!(master.end(job).await, JobStatus::Success);
        }
        master.settle().await;
    });
    site
}

fn work<T>(site: &Site, body: impl AsyncFnOnce(&Master) -> T) -> T {
    site.run(Faults::default(), body).expect("nothing crashes")
}

fn message(master: &Master, job: JobId) -> String {
    master.job(job).record().ops[0].result.to_string()
}

fn agree(site: &Site) {
    let problems = compare::disagreements(&site.config(), &site.world());
    assert!(problems.is_empty(), "{problems:#?}");
    let contents = site.contents();
    assert!(contents.documents.iter().all(|(key, _)| key.space != Space::Journal));
}

/// Stops as if the power failed, with these jobs submitted and the gate closed for all calls.
fn crash_during(site: &Site, jobs: &[Value]) {
    let faults = Faults { hold: Some(0), ..Faults::default() };
    work_until_crash(site, faults, jobs);
}

fn work_until_crash(site: &Site, faults: Faults, jobs: &[Value]) {
    site.run(faults, async |master| {
        for op in jobs {
            master.submit(std::slice::from_ref(op)).await;
            // The first one is at work before there are others to choose from.
            master.hands.gate.reached(1).await;
        }
    });
}

#[test]
fn dependencies_wait_and_look_at_the_end() {
    work(&Site::new(), async |master| {
        master.hands.gate.close();
        let first = master.submit(&[delay()]).await;
        let depends = |states: Value| with(delay(), "depends", json!([[first.0, states]]));
        let on_success = master.submit(&[depends(json!(["success"]))]).await;
        let on_error = master.submit(&[depends(json!(["error"]))]).await;
        let on_any = master.submit(&[depends(json!([]))]).await;
        master.hands.gate.reached(1).await;
        assert_eq!(master.hands.calls().len(), 1);
        for waiting in [on_success, on_error, on_any] {
            assert!(!master.job(waiting).status().is_final());
        }
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(on_success).status(), JobStatus::Success);
        assert_eq!(master.job(on_any).status(), JobStatus::Success);
        assert_eq!(master.job(on_error).status(), JobStatus::Error);
        let text = message(master, on_error);
        assert!(text.contains("finished with status 'success', not one of 'error'"), "{text}");
    });
}

#[test]
fn a_canceled_dependency_cancels() {
    work(&Site::new(), async |master| {
        master.hands.gate.close();
        let first = master.submit(&[delay()]).await;
        let op = with(delay(), "depends", json!([[first.0, ["success"]]]));
        let second = master.submit(&[op]).await;
        master.hands.gate.reached(1).await;
        master.engine.cancel(first, false).await.expect("it can be stored");
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(first).status(), JobStatus::Canceled);
        assert_eq!(master.job(second).status(), JobStatus::Canceled);
    });
}

#[test]
fn relative_dependencies_count_back() {
    work(&Site::new(), async |master| {
        let op = |value: Value| vec![OpInput::from_json(&value).expect("a good opcode")];
        let back = |n: i64| op(with(delay(), "depends", json!([[n, ["success"]]])));
        let jobs = vec![op(delay()), back(-1), back(-2), back(-9), back(-1)];
        let results = master.engine.submit(jobs, false).await;
        let ids: Vec<_> = results.iter().map(|r| r.as_ref().ok().copied()).collect();
        let first = ids[0].expect("accepted");
        assert_eq!(
            results[3].as_ref().expect_err("beyond the first").kind,
            ErrorKind::OpPrereqError
        );
        assert!(ids[4].is_none(), "the job before was refused");
        master.settle().await;
        for id in [ids[1], ids[2]] {
            let record = master.job(id.expect("accepted")).record();
            assert_eq!(record.status(), JobStatus::Success);
            assert_eq!(record.ops[0].input["depends"], json!([[first, ["success"]]]));
        }
    });
}

#[test]
fn dependencies_on_what_is_not_there() {
    let site = Site::new();
    let old = work(&site, async |master| {
        let missing = with(delay(), "depends", json!([[4711, []]]));
        let job = master.submit(&[missing]).await;
        assert_eq!(master.end(job).await, JobStatus::Error);
        assert!(message(master, job).contains("job 4711 does not exist"));
        let old = master.submit(&[delay()]).await;
        master.settle().await;
        assert!(master.engine.archive(old).await.expect("it can be stored"));
        old
    });
    work(&site, async |master| {
        let on_archived = with(delay(), "depends", json!([[old.0, ["success"]]]));
        let job = master.submit(&[on_archived]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
    });
}

#[test]
fn urgent_jobs_go_first_and_only_so_many_at_once() {
    work(&Site::new(), async |master| {
        let one = json!({"OP_ID": "OP_CLUSTER_SET_PARAMS", "max_running_jobs": 1});
        let job = master.submit(&[one]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
        master.hands.gate.close();
        let prioritized = |p: i32| with(delay(), "priority", json!(p));
        let first = master.submit(&[prioritized(0)]).await;
        master.hands.gate.reached(1).await;
        let late = master.submit(&[prioritized(10)]).await;
        let normal = master.submit(&[prioritized(0)]).await;
        let urgent = master.submit(&[prioritized(-10)]).await;
        let raised = master.submit(&[prioritized(19)]).await;
        let reply = master.engine.change_priority(raised, -20).await.expect("it can be stored");
        assert!(reply.done);
        for waiting in [late, normal, urgent, raised] {
            assert_eq!(master.job(waiting).status(), JobStatus::Queued);
        }
        master.hands.gate.open();
        master.settle().await;
        let order: Vec<_> = master.hands.calls().iter().map(|call| call.id.job).collect();
        assert_eq!(order, [first, raised, urgent, normal, late]);
    });
}

#[test]
fn one_instance_one_job() {
    let site = site_with(&["web", "db"]);
    work(&site, async |master| {
        master.hands.gate.close();
        let first = master.submit(&[about("SHUTDOWN", "web")]).await;
        master.hands.gate.reached(1).await;
        let second = master
            .submit(&[about("REBOOT", "web")].map(|op| with(op, "reboot_type", json!("hard"))))
            .await;
        let other = master.submit(&[about("SHUTDOWN", "db")]).await;
        master.hands.gate.reached(2).await;
        assert_eq!(master.job(other).status(), JobStatus::Running);
        assert_eq!(master.job(second).status(), JobStatus::Waiting);
        let progress = master.job(second).progress().expect("it says what it waits for");
        let text = progress.waits_for.expect("it waits");
        assert_eq!(text, format!("instance/web, held by job {first}"));

        let locks = master.engine.locks().list();
        let lock = locks.iter().find(|l| l.name.to_string() == "instance/web").expect("held");
        assert_eq!(lock.mode, Some(Mode::Exclusive));
        assert_eq!(lock.owners, [first]);
        assert_eq!(lock.pending, [(Mode::Exclusive, vec![second])]);
        let big = locks.iter().find(|l| l.name.to_string() == "cluster/BGL").expect("held");
        assert_eq!(big.mode, Some(Mode::Shared));

        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(second).status(), JobStatus::Success);
    });
    agree(&site);
}

#[test]
fn who_waits_plans_with_what_is_there_then() {
    let site = site_with(&["web"]);
    work(&site, async |master| {
        master.hands.gate.close();
        let away = with(about("MIGRATE", "web"), "target_node", json!("node2"));
        let first = master.submit(&[away]).await;
        master.hands.gate.reached(1).await;
        let second = master.submit(&[about("SHUTDOWN", "web")]).await;
        master.until(second, |job| job.progress().is_some_and(|p| p.waits_for.is_some())).await;
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(first).status(), JobStatus::Success);
        assert_eq!(master.job(second).status(), JobStatus::Success);
        let stop = |c: &&sim::hands::Call| matches!(c.action, Action::GuestStop { .. });
        let calls = master.hands.calls();
        assert_eq!(calls.iter().find(stop).expect("it was stopped").node, node_id("node2"));
    });
    agree(&site);
}

#[test]
fn memory_is_promised_once() {
    let site = Site::new();
    work(&site, async |master| {
        let large = |name: &str| with(create(name), "beparams", json!({"memory": 5000}));
        master.hands.gate.close();
        let first = master.submit(&[large("web")]).await;
        master.hands.gate.reached(1).await;
        let second = master.submit(&[large("db")]).await;
        assert_eq!(master.end(second).await, JobStatus::Error);
        assert!(message(master, second).contains("insufficient_resources"));
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(first).status(), JobStatus::Success);
    });
    agree(&site);
}

#[test]
fn the_same_name_is_taken_once() {
    let site = Site::new();
    work(&site, async |master| {
        let jobs = [master.submit(&[create("web")]).await, master.submit(&[create("web")]).await];
        master.settle().await;
        let ends = jobs.map(|job| master.job(job).status());
        assert_eq!(ends, [JobStatus::Success, JobStatus::Error]);
        assert!(message(master, jobs[1]).contains("already_exists"));
    });
    agree(&site);
}

#[test]
fn opcodes_run_in_order_until_one_fails() {
    let site = Site::new();
    work(&site, async |master| {
        let job = master.submit(&[create("web"), delay(), failing(), about("REMOVE", "web")]).await;
        assert_eq!(master.end(job).await, JobStatus::Error);
        let record = master.job(job).record();
        let states: Vec<_> = record.ops.iter().map(|op| op.status).collect();
        use JobStatus::{Error, Success};
        assert_eq!(states, [Success, Success, Error, Error]);
        assert_eq!(record.ops[0].result, json!(["node1.example.com"]));
        assert!(record.ops[3].result.to_string().contains("Preceding opcode failed"));
        let serials: Vec<_> =
            record.ops.iter().flat_map(|op| &op.log).map(|entry| entry.0).collect();
        assert_eq!(serials, (1..=serials.len() as u64).collect::<Vec<_>>());
        assert!(serials.len() > 2);
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn what_is_done_is_not_done_again_after_a_restart() {
    let site = Site::new();
    let ops = [create("web"), delay(), about("SHUTDOWN", "web")];
    // The fifth call is the delay: disks, wiping, assembling, installing and starting come before.
    let faults = Faults { crash_call: Some((5, When::Before)), ..Faults::default() };
    let ended = site.run(faults, async |master| {
        master.submit(&ops).await;
        master.settle().await;
    });
    assert!(ended.is_none(), "it crashed");
    work(&site, async |master| {
        master.settle().await;
        assert_eq!(master.job(JobId(1)).status(), JobStatus::Success);
        let calls = master.hands.calls();
        let made = |c: &sim::hands::Call| matches!(c.action, Action::DisksCreate { .. });
        assert!(!calls.iter().any(made), "{calls:#?}");
        assert!(matches!(calls[0].action, Action::Delay { .. }));
        let log = &master.job(JobId(1)).record().ops[1].log;
        assert!(log.iter().any(|line| line.3.to_string().contains("was restarted")));
    });
    agree(&site);
}

#[test]
fn many_jobs_survive_a_restart() {
    let site = Site::new();
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    crash_during(&site, &names.map(create));
    work(&site, async |master| {
        master.settle().await;
        assert_eq!(master.engine.jobs().len(), names.len());
        for job in master.engine.jobs() {
            assert_eq!(job.status(), JobStatus::Success, "{:?}", job.record().ops[0].result);
        }
        let next = master.submit(&[delay()]).await;
        assert_eq!(next, JobId(names.len() as u64 + 1));
        master.settle().await;
    });
    assert_eq!(site.config().instances.size(), names.len());
    agree(&site);
}

#[test]
fn queued_jobs_survive_a_restart() {
    let site = Site::new();
    work(&site, async |master| {
        let one = json!({"OP_ID": "OP_CLUSTER_SET_PARAMS", "max_running_jobs": 1});
        let job = master.submit(&[one]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
    });
    let urgent = with(delay(), "priority", json!(-10));
    let dependent =
        with(with(delay(), "depends", json!([[5, ["success"]]])), "priority", json!(-20));
    crash_during(&site, &[delay(), dependent, delay(), urgent]);
    work(&site, async |master| {
        let last = master.submit(&[delay()]).await;
        assert_eq!(last, JobId(6));
        master.settle().await;
        let order: Vec<_> = master.hands.calls().iter().map(|call| call.id.job.0).collect();
        // The one at work goes on; then by priority, but not before what they depend on.
        assert_eq!(order, [2, 5, 3, 4, 6]);
        assert!(master.engine.jobs().iter().all(|job| job.status() == JobStatus::Success));
    });
}

#[test]
fn archived_jobs_are_put_aside() {
    let site = Site::new();
    let (done, running) = work(&site, async |master| {
        let done = master.submit(&[delay()]).await;
        master.settle().await;
        master.hands.gate.close();
        let running = master.submit(&[delay()]).await;
        master.hands.gate.reached(1).await;
        assert!(!master.engine.archive(running).await.expect("it can be stored"));
        assert_eq!(master.engine.autoarchive(None).await.expect("it can be stored"), (1, 0));
        assert!(master.engine.job(done).is_none());
        let record = master.engine.archived(done).await.expect("readable").expect("archived");
        assert_eq!((record.archived, record.status()), (true, JobStatus::Success));
        master.hands.gate.open();
        master.settle().await;
        assert!(master.engine.archive(running).await.expect("it can be stored"));
        (done, running)
    });
    work(&site, async |master| {
        assert!(master.engine.jobs().is_empty());
        let all = master.engine.jobs_between(0..99).await.expect("readable");
        assert_eq!(all.iter().map(|job| job.id).collect::<Vec<_>>(), [done, running]);
        assert!(all.iter().all(|job| job.archived));
        // Numbers are not used again.
        assert_eq!(master.submit(&[delay()]).await, JobId(running.0 + 1));
        master.settle().await;
    });
}

#[test]
fn young_jobs_are_not_archived() {
    work(&Site::new(), async |master| {
        master.submit(&[delay()]).await;
        master.settle().await;
        let done = master.engine.autoarchive(Some(3600)).await.expect("it can be stored");
        assert_eq!(done, (0, 0));
    });
}

#[test]
fn a_drained_queue_takes_nothing() {
    let site = Site::new();
    work(&site, async |master| master.engine.drain(true).await.expect("it can be stored"));
    work(&site, async |master| {
        assert!(master.engine.is_drained());
        let error = master.try_submit(&[delay()]).await.expect_err("drained");
        assert_eq!(error.kind, ErrorKind::JobQueueDrainError);
        let op = OpInput::from_json(&delay()).expect("a good opcode");
        let forced = master.engine.submit(vec![vec![op]], true).await;
        assert!(forced[0].is_ok());
        master.settle().await;
        master.engine.drain(false).await.expect("it can be stored");
        master.submit(&[delay()]).await;
        master.settle().await;
    });
}

#[test]
fn empty_jobs_are_refused() {
    work(&Site::new(), async |master| {
        let error = master.try_submit(&[]).await.expect_err("nothing to do");
        assert_eq!(error.error_type, Some(ErrorType::WrongInput));
    });
}

#[test]
fn a_queued_job_is_canceled_at_once() {
    let site = Site::new();
    work(&site, async |master| {
        let one = json!({"OP_ID": "OP_CLUSTER_SET_PARAMS", "max_running_jobs": 1});
        master.submit(&[one]).await;
        master.settle().await;
        master.hands.gate.close();
        master.submit(&[delay()]).await;
        master.hands.gate.reached(1).await;
        let queued = master.submit(&[delay()]).await;
        let reply = master.engine.cancel(queued, false).await.expect("it can be stored");
        assert_eq!((reply.done, reply.message), (true, format!("Dequeued job {queued}")));
        assert_eq!(master.job(queued).status(), JobStatus::Canceled);
        let again = master.engine.cancel(queued, false).await.expect("it can be stored");
        assert!(!again.done && again.message.ends_with("status canceled"), "{again:?}");
        let reply = master.engine.cancel(JobId(99), false).await.expect("it can be stored");
        assert!(!reply.done && reply.message.contains("not found"), "{reply:?}");
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.hands.calls().len(), 1);
    });
}

#[test]
fn a_job_that_waits_for_locks_or_jobs_is_canceled() {
    let site = site_with(&["web"]);
    work(&site, async |master| {
        master.hands.gate.close();
        let first = master.submit(&[about("SHUTDOWN", "web")]).await;
        master.hands.gate.reached(1).await;
        let second = master.submit(&[about("REMOVE", "web")]).await;
        let third = master.submit(&[about("STARTUP", "web")]).await;
        let waits = |job: &roost_masterd::jobs::JobEntry| {
            job.progress().is_some_and(|p| p.waits_for.is_some())
        };
        master.until(second, waits).await;
        master.until(third, waits).await;
        assert!(master.engine.cancel(second, false).await.expect("it can be stored").done);
        assert_eq!(master.end(second).await, JobStatus::Canceled);
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(first).status(), JobStatus::Success);
        assert_eq!(master.job(third).status(), JobStatus::Success);
    });
    agree(&site);
}

#[test]
fn a_dry_run_changes_nothing() {
    let site = site_with(&["web"]);
    let (before, world) = (compare::exact(&site.contents()), site.world());
    work(&site, async |master| {
        let op = with(about("REMOVE", "web"), "dry_run", json!(true));
        let job = master.submit(&[op]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
        assert!(master.hands.calls().is_empty());
        let log = master.job(job).record().ops[0].log.clone();
        let said = |text: &str| log.iter().any(|line| line.3.to_string().contains(text));
        assert!(said("would do: removing instance disks"), "{log:?}");
        master.settle().await;
    });
    assert_eq!(compare::exact(&site.contents()), before);
    assert_eq!(site.world(), world);
}

#[test]
fn a_full_disk_holds_jobs_up_and_loses_nothing() {
    let site = Site::new();
    work(&site, async |master| {
        let refused = {
            master.ledger.entries().full = 1;
            master.try_submit(&[delay()]).await.expect_err("it cannot be stored")
        };
        assert!(refused.message.contains("no space left"), "{refused}");
        master.hands.gate.close();
        let job = master.submit(&[create("web")]).await;
        master.hands.gate.reached(1).await;
        master.ledger.entries().full = 5;
        master.hands.gate.open();
        assert_eq!(master.end(job).await, JobStatus::Success);
        assert_eq!(master.ledger.entries().full, 0, "every one was tried");
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn nobody_hears_of_an_end_that_is_not_durable() {
    for ops in [vec![create("web")], vec![failing()], vec![about("REMOVE", "nobody")]] {
        let site = Site::new();
        let early = Arc::new(Mutex::new(Vec::new()));
        work(&site, async |master| {
            master.hands.gate.close();
            let job = master.submit(&ops).await;
            let (entry, noted) = (master.job(job), early.clone());
            let watcher = move |batches: &[Batch]| {
                let ending = batches.iter().flat_map(|b| &b.puts).any(|(key, body)| {
                    key.space == Space::Job && body.contains("\"end_timestamp\":[")
                });
                if ending {
                    noted.lock().expect("nobody panics").push(entry.status());
                }
            };
            master.ledger.entries().watcher = Some(Box::new(watcher));
            master.hands.gate.open();
            master.settle().await;
        });
        let seen = early.lock().expect("nobody panics").clone();
        assert!(!seen.is_empty());
        assert!(seen.iter().all(|status| !status.is_final()), "{seen:?}");
    }
}

#[test]
fn a_plan_of_another_version_is_not_touched() {
    let site = Site::new();
    crash_during(&site, &[create("web")]);
    let mut store = SqliteStore::open(&site.database()).expect("a sound database");
    let documents = store.load().expect("readable").documents;
    let plan = documents.iter().find(|(key, _)| key.id.ends_with("/plan")).expect("a plan");
    let mut body: Value = serde_json::from_str(&plan.1).expect("plain data");
    body["format"] = json!(99);
    let puts = vec![(plan.0.clone(), body.to_string())];
    store.commit(Epoch(0), &[Batch { puts, deletes: vec![] }]).expect("room for it");
    drop(store);
    let before = site.contents().documents;
    let planner = Arc::new(Operations);
    let started =
        site.try_run(Faults::default(), Ledger::default(), planner, async |_: &Master| ());
    let error = started.expect_err("another version's plan");
    assert!(error.message.contains("plan format 99"), "{error}");
    assert_eq!(site.contents().documents, before);
}

#[test]
fn secrets_are_never_stored() {
    let site = Site::new();
    let secret = "correct-horse-battery";
    let op = with(create("web"), "osparams_secret", json!({"password": secret}));
    crash_during(&site, std::slice::from_ref(&op));
    for entry in std::fs::read_dir(site.database().parent().expect("a directory")).expect("it") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("readable");
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()));
    }
    // Without it the OS cannot be installed any more: everything is undone.
    work(&site, async |master| {
        master.settle().await;
        assert_eq!(master.job(JobId(1)).status(), JobStatus::Error);
        assert!(message(master, JobId(1)).contains("re-submit secret parameters"));
        // With it, it can.
        let job = master.submit(&[op]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
        let given = master.hands.calls().into_iter().find_map(|call| match call.action {
            Action::OsRun { osparams_private, .. } => Some(osparams_private),
            _ => None,
        });
        assert_eq!(json!(given), json!({ "password": secret }));
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn a_change_made_meanwhile_is_not_overwritten() {
    let site = site_with(&["web"]);
    work(&site, async |master| {
        master.hands.gate.close();
        let job = master
            .submit(&[with(
                about("SET_PARAMS", "web"),
                "nics",
                json!([["add", -1, {"link": "br1"}]]),
            )])
            .await;
        master.hands.gate.reached(1).await;
        // Nobody who takes locks does this.
        let config = master.state.config();
        let mut instance = (**config.instance("web").expect("it is there")).clone();
        instance.tags.push("meanwhile".into());
        let change = roost_masterd::config::Change::Update(
            roost_masterd::config::Object::Instance(Box::new(instance)),
        );
        let commit = Commit { changes: vec![change], ..Commit::default() };
        master.state.commit(commit).await.expect("it fits");
        master.hands.gate.open();
        assert_eq!(master.end(job).await, JobStatus::Error);
        assert!(message(master, job).contains("changed meanwhile"));
        master.settle().await;
    });
    assert_eq!(site.config().instance("web").expect("it is there").tags, ["meanwhile"]);
    agree(&site);
}

#[test]
fn debris_that_is_wanted_by_now_is_let_be() {
    let site = Site::new();
    work(&site, async |master| {
        let op = with(create("web"), "start", json!(false));
        let job = master.submit(&[op]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
        master.settle().await;
    });
    // Starting fails, and so does undoing it: debris says to stop it and release its disks.
    let faults = Faults {
        fail: Some((1, When::After)),
        for_good: true,
        fail_undos: true,
        ..Faults::default()
    };
    let ended = site.run(faults, async |master| {
        let job = master.submit(&[about("STARTUP", "web")]).await;
        let ended = master.end(job).await;
        master.settle().await;
        (ended, master.engine.debris().len())
    });
    assert_eq!(ended, Some((JobStatus::Error, 2)));
    // Then it is started after all, and much later somebody repairs.
    work(&site, async |master| {
        let job = master.submit(&[about("STARTUP", "web")]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
        assert_eq!(master.engine.debris().len(), 2);
        assert!(master.engine.repair_debris().await.expect("it can be stored").is_empty());
        assert!(master.engine.debris().is_empty());
        master.settle().await;
    });
    agree(&site);
}
