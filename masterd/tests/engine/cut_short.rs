//! Jobs that are canceled, killed, or cannot go on.

use super::order::*;
use super::*;

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
