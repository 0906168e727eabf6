//! The job engine as its users see it: order, locks, cancelling, restarts, a store that fails.

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

fn in_parallel(n: u32) -> Value {
    json!({"OP_ID": "OP_CLUSTER_SET_PARAMS", "max_running_jobs": n})
}

async fn at_most(master: &Master, n: u32) {
    let job = master.submit(&[in_parallel(n)]).await;
    assert_eq!(master.end(job).await, JobStatus::Success);
}

async fn calm() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn the_number_of_running_jobs_changes_at_once() {
    work(&Site::new(), async |master| {
        at_most(master, 1).await;
        master.hands.gate.close();
        for _ in 0..4 {
            master.submit(&[delay()]).await;
        }
        master.hands.gate.reached(1).await;
        let set = async |key: &str, value: u32| {
            let config = master.state.config();
            let mut cluster = (*config.cluster).clone();
            match key {
                "running" => cluster.max_running_jobs = value,
                _ => cluster.max_tracked_jobs = value,
            }
            let change = roost_masterd::config::Change::Update(
                roost_masterd::config::Object::Cluster(Box::new(cluster)),
            );
            let commit = Commit { changes: vec![change], ..Commit::default() };
            master.state.commit(commit).await.expect("it fits");
            calm().await;
        };
        // No job ends meanwhile: the change itself is what starts more.
        set("running", 2).await;
        master.hands.gate.reached(2).await;
        set("tracked", 2).await;
        set("running", 9).await;
        let running = || {
            let jobs = master.engine.jobs();
            jobs.iter().filter(|job| job.status() == JobStatus::Running).count()
        };
        assert_eq!(running(), 2, "no more are tracked");
        set("tracked", 3).await;
        master.hands.gate.reached(3).await;
        assert_eq!(running(), 3);
        master.hands.gate.open();
        master.settle().await;
    });
}

#[test]
fn who_depends_on_others_does_not_take_their_place() {
    work(&Site::new(), async |master| {
        at_most(master, 1).await;
        // The second job does not exist when the first begins: it is found only when it is reached.
        let later = with(delay(), "depends", json!([[3, ["success"]]]));
        let first = master.submit(&[delay(), later]).await;
        let second = master.submit(&[delay()]).await;
        assert_eq!((first, second), (JobId(2), JobId(3)));
        master.settle().await;
        for job in [first, second] {
            assert_eq!(master.job(job).status(), JobStatus::Success, "{}", message(master, job));
        }
        let order: Vec<_> = master.hands.calls().iter().map(|call| call.id.job.0).collect();
        assert_eq!(order, [2, 3, 2]);
        // An older one is waited for before anything is done.
        master.hands.gate.close();
        let third = master.submit(&[delay()]).await;
        let waits = with(delay(), "depends", json!([[third.0, ["success"]]]));
        let fourth = master.submit(&[delay(), waits]).await;
        master.hands.gate.reached(1).await;
        calm().await;
        assert_eq!(master.job(fourth).status(), JobStatus::Queued);
        let reply = master.engine.cancel(fourth, false).await.expect("it can be stored");
        assert_eq!(reply.message, format!("Dequeued job {fourth}"));
        master.hands.gate.open();
        master.settle().await;
    });
}

#[test]
fn a_job_between_its_opcodes_is_canceled_in_the_queue() {
    let site = Site::new();
    work(&site, async |master| {
        at_most(master, 1).await;
        let later = with(delay(), "depends", json!([[3, ["success"]]]));
        // Creating takes five calls; the gate closes for the one after them.
        master.hands.faults.lock().expect("nobody panics").hold = Some(5);
        let first = master.submit(&[create("web"), later]).await;
        let second = master.submit(&[delay()]).await;
        master.hands.gate.reached(1).await;
        assert_eq!(master.job(second).status(), JobStatus::Running);
        let reply = master.engine.cancel(first, false).await.expect("it can be stored");
        assert!(reply.done, "{reply:?}");
        let record = master.job(first).record();
        let states: Vec<_> = record.ops.iter().map(|op| op.status).collect();
        assert_eq!(states, [JobStatus::Success, JobStatus::Canceled]);
        assert_eq!(record.ops[1].result, json!("Job canceled by request"));
        master.hands.gate.open();
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn jobs_that_wait_for_each_other_are_told() {
    work(&Site::new(), async |master| {
        let later = with(delay(), "depends", json!([[2, []]]));
        let first = master.submit(&[delay(), later]).await;
        let back = with(delay(), "depends", json!([[first.0, []]]));
        let second = master.submit(&[back]).await;
        assert_eq!((first, second), (JobId(1), JobId(2)));
        master.settle().await;
        let result = master.job(first).record().ops[1].result.to_string();
        assert!(result.contains("job 2 waits for this one"), "{result}");
        assert_eq!(master.job(second).status(), JobStatus::Success);
    });
}

#[test]
fn a_canceled_dependency_is_named() {
    work(&Site::new(), async |master| {
        at_most(master, 1).await;
        master.hands.gate.close();
        master.submit(&[delay()]).await;
        let first = master.submit(&[delay()]).await;
        let op = with(delay(), "depends", json!([[first.0, ["success", "error"]]]));
        let second = master.submit(&[op, delay()]).await;
        let fine = with(delay(), "depends", json!([[first.0, ["canceled"]]]));
        let third = master.submit(&[fine]).await;
        master.engine.cancel(first, false).await.expect("it can be stored");
        master.hands.gate.open();
        master.settle().await;
        let record = master.job(second).record();
        assert_eq!(record.status(), JobStatus::Canceled);
        assert!(record.ops.iter().all(|op| op.result == json!("Job canceled by request")));
        let said = record.ops[0].log[0].3.clone();
        assert_eq!(said, json!(format!("Dependency job {first} was cancelled")));
        assert_eq!(master.job(third).status(), JobStatus::Success);
    });
}

#[test]
fn nobody_can_wait_for_himself() {
    work(&Site::new(), async |master| {
        let own = with(delay(), "depends", json!([[1, []]]));
        let error = master.try_submit(&[own]).await.expect_err("its own number");
        assert_eq!(error.message, "Job can't depend on itself");
    });
}

fn add_rule(number: u128, rule: Value) -> roost_masterd::config::Change {
    let mut all = json!({
        "uuid": uuid::Uuid::from_u128(number), "watermark": 0, "priority": 0, "predicates": [],
        "action": "PAUSE",
    });
    for (key, value) in rule.as_object().expect("fields") {
        all[key] = value.clone();
    }
    let rule = serde_json::from_value(all).expect("a rule");
    roost_masterd::config::Change::Add(roost_masterd::config::Object::Filter(rule))
}

fn remove_rule(number: u128) -> roost_masterd::config::Change {
    let id = roost_proto::ids::FilterId(uuid::Uuid::from_u128(number));
    roost_masterd::config::Change::Remove(roost_masterd::config::ObjectKey::Filter(id))
}

async fn change(master: &Master, change: roost_masterd::config::Change) {
    let commit = Commit { changes: vec![change], ..Commit::default() };
    master.state.commit(commit).await.expect("it fits");
    calm().await;
}

#[test]
fn filters_pause_and_let_go() {
    let site = Site::new();
    let delays = json!([["opcode", ["=", "OP_ID", "OP_TEST_DELAY"]]]);
    work(&site, async |master| {
        change(master, add_rule(1, json!({"predicates": delays}))).await;
        let held = master.submit(&[delay()]).await;
        let other = master.submit(&[create("web")]).await;
        assert_eq!(master.end(other).await, JobStatus::Success);
        calm().await;
        assert_eq!(master.job(held).status(), JobStatus::Queued);
    });
    // It is held after a restart too, until the rule goes.
    work(&site, async |master| {
        calm().await;
        assert_eq!(master.job(JobId(1)).status(), JobStatus::Queued);
        change(master, remove_rule(1)).await;
        master.settle().await;
        assert_eq!(master.job(JobId(1)).status(), JobStatus::Success);
    });
    agree(&site);
}

#[test]
fn filters_reject_new_jobs_and_those_in_the_queue() {
    let site = Site::new();
    work(&site, async |master| {
        at_most(master, 1).await;
        master.hands.gate.close();
        let running = master.submit(&[delay()]).await;
        master.hands.gate.reached(1).await;
        let queued = master.submit(&[delay()]).await;
        let blocked = with(delay(), "depends", json!([[running.0, []]]));
        let blocked = master.submit(&[blocked]).await;
        change(master, add_rule(1, json!({"action": "REJECT"}))).await;
        for job in [queued, blocked] {
            assert_eq!(master.end(job).await, JobStatus::Canceled);
            let said = master.job(job).record().ops[0].log[0].3.to_string();
            assert!(said.contains("rejected by filter rule"), "{said}");
        }
        let error = master.try_submit(&[delay()]).await.expect_err("rejected");
        assert!(error.message.contains("is rejected by filter rule"), "{error}");
        assert_eq!(master.job(running).status(), JobStatus::Running);
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(running).status(), JobStatus::Success);
    });
    agree(&site);
}

#[test]
fn filters_limit_how_many_run() {
    work(&Site::new(), async |master| {
        master.hands.gate.close();
        let early = master.submit(&[delay()]).await;
        master.hands.gate.reached(1).await;
        let two = json!({"action": ["RATE_LIMIT", 2]});
        change(master, add_rule(1, two)).await;
        let jobs = [master.submit(&[delay()]).await, master.submit(&[delay()]).await];
        master.hands.gate.reached(2).await;
        calm().await;
        assert_eq!(master.job(early).status(), JobStatus::Running);
        assert_eq!(
            jobs.map(|job| master.job(job).status()),
            [JobStatus::Running, JobStatus::Queued]
        );
        // An earlier rule takes those over: the limit does not concern them any more.
        let accept = json!({"action": "ACCEPT", "predicates": [["jobid", ["=", "id", 3]]]});
        let accept = with(accept, "watermark", json!(0));
        change(master, remove_rule(1)).await;
        change(master, add_rule(2, accept)).await;
        master.hands.gate.reached(3).await;
        master.hands.gate.open();
        master.settle().await;
    });
}

#[test]
fn reasons_limit_how_many_run() {
    work(&Site::new(), async |master| {
        master.hands.gate.close();
        let limited = || with(delay(), "reason", json!([["gnt:user", "rate-limit:1:backup", 1]]));
        let first = master.submit(&[limited()]).await;
        let second = master.submit(&[limited()]).await;
        let free = master.submit(&[delay()]).await;
        master.hands.gate.reached(2).await;
        calm().await;
        let states = [first, second, free].map(|job| master.job(job).status());
        assert_eq!(states, [JobStatus::Running, JobStatus::Queued, JobStatus::Running]);
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(second).status(), JobStatus::Success);
    });
}

#[test]
fn reason_trails_say_who_took_it_up_and_go_on_with_children() {
    let site = Site::new();
    work(&site, async |master| {
        let verify = json!({
            "OP_ID": "OP_CLUSTER_VERIFY", "priority": -10, "debug_level": 1,
            "reason": [["gnt:user", "look", 5]],
        });
        let parent = master.submit(&[verify]).await;
        assert_eq!(master.end(parent).await, JobStatus::Success);
        master.settle().await;
        let trail = |job: JobId| {
            let record = master.job(job).record();
            let entries = record.ops[0].input["reason"].as_array().expect("a list").clone();
            let pair = |entry: &Value| {
                let part = |i: usize| entry[i].as_str().expect("text").to_owned();
                assert!(entry[2].is_u64());
                (part(0), part(1))
            };
            entries.iter().map(pair).collect::<Vec<_>>()
        };
        let own = |source: &str, job: JobId| (source.to_owned(), format!("job={job};index=0"));
        let user = ("gnt:user".to_owned(), "look".to_owned());
        let picked = own("gnt:daemon:masterd:pickup:op_cluster_verify", parent);
        assert_eq!(trail(parent), [user.clone(), picked.clone()]);
        let children = master.job(parent).record().ops[0].result["jobs"].clone();
        let child = JobId(children[0][1].as_u64().expect("a job"));
        let record = master.job(child).record();
        let op = &record.ops[0];
        let id = op.input["OP_ID"].as_str().expect("text").to_lowercase();
        assert_eq!(
            trail(child),
            [
                user,
                picked,
                own("gnt:opcode:op_cluster_verify", parent),
                own(&format!("gnt:daemon:masterd:pickup:{id}"), child),
            ]
        );
        assert_eq!(op.input["comment"], json!("Submitted by OP_CLUSTER_VERIFY"));
        assert_eq!((op.priority, &op.input["debug_level"]), (-10, &json!(1)));
    });
}

#[test]
fn a_wish_to_cancel_survives_a_crash() {
    for kill in [false, true] {
        let site = Site::new();
        let faults = Faults { hold: Some(0), ..Faults::default() };
        work_until_crash_after(&site, faults, async |master| {
            let job = master.submit(&[create("web"), delay()]).await;
            master.hands.gate.reached(1).await;
            // The step hangs, so the job does not come to where it could stop.
            let reply = master.engine.cancel(job, kill).await.expect("it can be stored");
            assert!(reply.done, "{reply:?}");
        });
        work(&site, async |master| {
            master.settle().await;
            assert_eq!(master.job(JobId(1)).status(), JobStatus::Canceled);
        });
        assert!(site.config().instances.is_empty());
        agree(&site);
    }
}

/// Stops as if the power failed when `body` is done.
fn work_until_crash_after(site: &Site, faults: Faults, body: impl AsyncFnOnce(&Master)) {
    site.run(faults, body);
}

#[test]
fn a_wish_to_cancel_a_job_that_was_being_planned_survives_too() {
    let site = Site::new();
    work(&site, async |master| {
        at_most(master, 1).await;
        master.hands.gate.close();
        let first = master.submit(&[delay()]).await;
        master.hands.gate.reached(1).await;
        // Stored as if it had been wished just before the plan was.
        let key = roost_masterd::jobs::journal::wish_key(JobId(3));
        let job = master.submit(&[create("web")]).await;
        assert_eq!((first, job), (JobId(2), JobId(3)));
        let stray = roost_masterd::jobs::journal::wish_key(JobId(1));
        let body = || r#"{"cancel": true}"#.to_owned();
        let puts = vec![(key, body()), (stray, body())];
        master.state.commit(Commit { puts, ..Commit::default() }).await.expect("it fits");
    });
    work(&site, async |master| {
        assert_eq!(master.end(JobId(3)).await, JobStatus::Canceled);
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn a_changed_priority_survives_a_crash() {
    let site = Site::new();
    work(&site, async |master| {
        at_most(master, 1).await;
        master.hands.gate.close();
        master.submit(&[delay()]).await;
        master.hands.gate.reached(1).await;
        master.submit(&[delay()]).await;
        let urgent = master.submit(&[delay()]).await;
        assert!(master.engine.change_priority(urgent, -10).await.expect("it can be stored").done);
    });
    work(&site, async |master| {
        master.settle().await;
        let order: Vec<_> = master.hands.calls().iter().map(|call| call.id.job.0).collect();
        assert_eq!(order, [2, 4, 3]);
        assert_eq!(master.job(JobId(4)).record().ops[0].priority, -10);
    });
    agree(&site);
}

#[test]
fn killed_undos_that_hang_become_debris() {
    let site = Site::new();
    work(&site, async |master| {
        master.hands.gate.close();
        let job = master.submit(&[create("web")]).await;
        master.hands.gate.reached(1).await;
        let reply = master.engine.cancel(job, true).await.expect("it can be stored");
        assert!(reply.done && reply.message.contains("debris"), "{reply:?}");
        // The gate stays closed: neither the step nor its undo ever comes back.
        assert_eq!(master.end(job).await, JobStatus::Canceled);
        assert_eq!(master.engine.debris().len(), 1);
        let log = master.job(job).record().ops[0].log.clone();
        assert!(log.iter().any(|line| line.3.to_string().contains("not undone within 30 seconds")));
        master.hands.gate.open();
        assert!(master.engine.repair_debris().await.expect("it can be stored").is_empty());
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn killed_after_the_pivot_what_is_left_is_told() {
    let site = Site::new();
    work(&site, async |master| {
        // Disks, wiping, assembling, installing come before; starting after.
        let job = master.submit(&[create("web")]).await;
        assert_eq!(master.end(job).await, JobStatus::Success);
        master.settle().await;
        let calls = master.hands.calls().len();
        master.hands.faults.lock().expect("nobody panics").hold = Some(calls + 4);
        let second = master.submit(&[create("db"), delay()]).await;
        master.hands.gate.reached(1).await;
        let polite = master.engine.cancel(second, false).await.expect("it can be stored");
        assert!(polite.done && polite.message.contains("the 1 after it"), "{polite:?}");
        assert!(master.engine.cancel(second, true).await.expect("it can be stored").done);
        assert_eq!(master.end(second).await, JobStatus::Error);
        let text = message(master, second);
        assert!(text.contains("which stands; not finished:"), "{text}");
        let record = master.job(second).record();
        assert!(record.ops[1].result.to_string().contains("Preceding opcode failed"));
        assert!(master.engine.locks().list().is_empty());
        master.hands.gate.open();
        master.settle().await;
    });
    assert!(site.config().instance("db").is_ok());
    assert!(site.contents().documents.iter().all(|(key, _)| key.space != Space::Journal));
}

#[test]
fn opportunistic_locking_takes_what_is_free() {
    let site = Site::new();
    work(&site, async |master| {
        master.hands.gate.close();
        // It holds node2 for itself while its step runs.
        let busy = || with(delay(), "no_locks", json!(false));
        let first = master.submit(&[busy()]).await;
        master.hands.gate.reached(1).await;
        let free = json!({"instance_name": "web", "opportunistic_locking": true});
        let mut op = create("web");
        for (key, value) in free.as_object().expect("fields") {
            op[key] = value.clone();
        }
        op.as_object_mut().expect("fields").remove("pnode");
        op["iallocator"] = json!("hail");
        let second = master.submit(std::slice::from_ref(&op)).await;
        master.until(second, |job| job.status() != JobStatus::Queued).await;
        master.hands.gate.reached(2).await;
        let held = master.engine.locks().list();
        let node2 = format!("node/{}", node_id("node2"));
        let lock = held.iter().find(|lock| lock.name.to_string() == node2).expect("held");
        assert_eq!(lock.owners, [first]);
        assert!(lock.pending.is_empty(), "it is not waited for");
        master.hands.gate.open();
        master.settle().await;
        assert_eq!(master.job(second).status(), JobStatus::Success, "{}", message(master, second));
        // With more memory than any free node has, the busy ones are needed after all.
        master.hands.gate.close();
        master.submit(&[busy()]).await;
        master.hands.gate.reached(1).await;
        op["instance_name"] = json!("db");
        op["beparams"] = json!({"memory": 1_000_000});
        let third = master.submit(&[op]).await;
        let log = |job: &roost_masterd::jobs::JobEntry| {
            let record = job.record();
            record.ops[0].log.iter().any(|l| l.3 == json!("* falling back to full lock allocation"))
        };
        master.until(third, log).await;
        master.until(third, |job| job.progress().is_some_and(|p| p.waits_for.is_some())).await;
        master.hands.gate.open();
        assert_eq!(master.end(third).await, JobStatus::Error);
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn who_cannot_commit_any_more_undoes_nothing() {
    let site = Site::new();
    let faults = Faults { hold: Some(1), ..Faults::default() };
    site.run(faults, async |master| {
        let job = master.submit(&[create("web")]).await;
        master.hands.gate.reached(1).await;
        // The writer is gone, as when another master leads.
        master.ledger.entries().watcher = Some(Box::new(|_| panic!("deposed, for this test")));
        master.hands.gate.open();
        let error = master.state.commit(Commit::default()).await.expect_err("nobody writes");
        assert!(!matches!(error, roost_masterd::state::CommitError::Store(_)), "{error}");
        calm().await;
        assert!(master.hands.calls().iter().all(|call| !call.id.undo));
        assert_eq!(master.job(job).status(), JobStatus::Running, "nobody hears of an end");
    });
    // Whoever leads next goes on with it.
    work(&site, async |master| {
        assert_eq!(master.end(JobId(1)).await, JobStatus::Success);
        master.settle().await;
    });
    agree(&site);
}

#[test]
fn a_full_queue_takes_no_more() {
    work(&Site::new(), async |master| {
        change(master, add_rule(1, json!({"action": "PAUSE"}))).await;
        let op = || vec![OpInput::from_json(&delay()).expect("a good opcode")];
        let jobs = master.engine.submit((0..5_000).map(|_| op()).collect(), false).await;
        assert!(jobs.iter().all(Result::is_ok));
        let error = master.try_submit(&[delay()]).await.expect_err("one too many");
        assert_eq!(error.kind, ErrorKind::JobQueueFull);
        assert!(error.message.starts_with("Job queue is full"), "{error}");
        assert!(master.engine.cancel(JobId(17), false).await.expect("it can be stored").done);
        master.submit(&[delay()]).await;
    });
}
