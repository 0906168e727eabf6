//! Who runs when: limits, dependencies, filter rules, and the reasons jobs carry.

use super::*;

pub fn in_parallel(n: u32) -> Value {
    json!({"OP_ID": "OP_CLUSTER_SET_PARAMS", "max_running_jobs": n})
}

pub async fn at_most(master: &Master, n: u32) {
    let job = master.submit(&[in_parallel(n)]).await;
    assert_eq!(master.end(job).await, JobStatus::Success);
}

pub async fn calm() {
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

pub fn add_rule(number: u128, rule: Value) -> roost_masterd::config::Change {
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

pub fn remove_rule(number: u128) -> roost_masterd::config::Change {
    let id = roost_proto::ids::FilterId(uuid::Uuid::from_u128(number));
    roost_masterd::config::Change::Remove(roost_masterd::config::ObjectKey::Filter(id))
}

pub async fn change(master: &Master, change: roost_masterd::config::Change) {
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
