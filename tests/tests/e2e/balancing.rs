//! Plans of moves carried out on a running cluster: `hbal -L -X` that is interrupted in its middle, and the
//! cluster's own balancer while the master changes.
//!
//! A filter rule holds the jobs that move instances, so that everything happens exactly in the middle.

use crate::cluster::{Cluster, SOON};
use roost_tests::lab::{Hypervisor, Options, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Child;

/// Jobs that move instances.
const MOVES: [&str; 2] = ["OP_INSTANCE_MIGRATE", "OP_INSTANCE_FAILOVER"];

/// While it is there, no job that moves instances begins.
struct Hold(String);

impl Cluster {
    /// A crowd on one node.
    fn crowd(&self, node: &str, guests: usize) {
        for n in 1..=guests {
            let add = "gnt-instance add -t sharedfile --disk 0:size=1G -o noop";
            self.submit(&format!("{add} -n {node} web{n}"));
        }
        self.jobs_end();
        for n in 1..=guests {
            self.wait_for(&format!("web{n}"), "status", "running");
        }
    }

    fn hold(&self) -> Hold {
        let [one, other] = MOVES.map(|op| format!("[\"=\", \"OP_ID\", \"{op}\"]"));
        let rule = format!("[[\"opcode\", [\"|\", {one}, {other}]]]");
        let add = format!("gnt-filter add --action=PAUSE --reason=test --predicates='{rule}'");
        Hold(self.ok(&add).trim().to_owned())
    }

    fn release(&self, hold: Hold) {
        self.ok(&format!("gnt-filter delete {}", hold.0));
    }

    /// Jobs that move instances, oldest first: number and status.
    #[track_caller]
    fn moves(&self) -> Vec<(u64, String)> {
        let text = self.ok("gnt-job list --no-headers --separator='|' -o id,status,summary");
        let mut all: Vec<(u64, String)> = text
            .lines()
            .filter(|line| MOVES.iter().any(|op| line.contains(&op["OP_".len()..])))
            .map(|line| {
                let (id, rest) = line.split_once('|').unwrap();
                (id.trim().parse().unwrap(), rest.split('|').next().unwrap().trim().to_owned())
            })
            .collect();
        all.sort_unstable();
        all
    }

    /// How many guests are on each node.
    fn seats(&self) -> [usize; 3] {
        let nodes = self.ok("gnt-instance list --no-headers -o pnode");
        ["node1", "node2", "node3"].map(|node| nodes.lines().filter(|l| l.contains(node)).count())
    }
}

/// An `hbal` that carries out its plan.
struct Hbal<'a> {
    c: &'a Cluster,
    child: Child,
}

impl Hbal<'_> {
    /// One whose first job has been submitted, and is held.
    #[track_caller]
    fn at_work(c: &Cluster) -> Hbal<'_> {
        c.ok("rm -f /tmp/hbal.*");
        let run = "echo $$ >/tmp/hbal.pid; exec hbal -L -X >/tmp/hbal.out 2>/tmp/hbal.err";
        let mut command = c.lab.node(&c.master).unwrap().command(&["sh", "-c", run]).unwrap();
        let hbal = Hbal { c, child: command.spawn().unwrap() };
        hbal.wait_said("Got job IDs");
        hbal
    }

    fn said(&self) -> String {
        self.c.run("cat /tmp/hbal.out /tmp/hbal.err").stdout
    }

    #[track_caller]
    fn wait_said(&self, words: &str) {
        let said = || self.said().contains(words);
        if let Err(e) = wait_until(SOON, || format!("`{words}` of hbal"), said) {
            panic!("{e}: {}", self.said());
        }
    }

    fn signal(&self, name: &str) {
        self.c.ok(&format!("kill -{name} $(cat /tmp/hbal.pid)"));
    }

    /// Waits until it ends; returns exit code and all it said. It has begun one set of jobs.
    #[track_caller]
    fn end(mut self) -> (i32, String) {
        let over = || self.child.try_wait().unwrap().is_some();
        wait_until(SOON, || "the end of hbal".into(), over).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let said = self.said();
        assert_eq!(said.matches("Executing jobset").count(), 1, "{said}");
        (code, said)
    }
}

#[test]
fn hbal_is_interrupted_in_the_middle_of_a_plan() {
    let c = Cluster::fake("t-hbal");
    c.crowd("node1", 9);

    // Ctrl-C: this set is waited for, and no other begun.
    let hold = c.hold();
    let hbal = Hbal::at_work(&c);
    hbal.signal("INT");
    hbal.wait_said("Cancel request registered, will exit at the end of the current job set...");
    let [(job, status)] = &c.moves()[..] else { panic!("{:?}", c.moves()) };
    assert_eq!(status, "queued");
    c.release(hold);
    let (code, said) = hbal.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("Job {job} for web")), "{said}");
    let left = "Exiting early due to user request, 5 jobset(s) remaining.";
    assert!(said.contains(left), "{said}");
    assert_eq!(c.moves(), [(*job, "success".to_owned())]);

    // SIGTERM: at once. The job goes on.
    let hold = c.hold();
    let hbal = Hbal::at_work(&c);
    hbal.signal("TERM");
    let (code, said) = hbal.end();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("Double cancel request, exiting now..."), "{said}");
    let (job, status) = c.moves().pop().unwrap();
    assert_eq!(status, "queued");
    c.release(hold);
    c.wait_job(job, "success");
    assert_eq!(c.moves().len(), 2);

    // A job that does not succeed: no other set.
    let hold = c.hold();
    let hbal = Hbal::at_work(&c);
    let (job, _) = c.moves().pop().unwrap();
    c.ok(&format!("gnt-job cancel -f {job}"));
    let (code, said) = hbal.end();
    assert_eq!(code, 1, "{said}");
    for words in [
        "Error: Not all jobs completed successfully:",
        &format!("job {job} for web"),
        "Job was canceled",
        "Aborting.",
    ] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    c.release(hold);

    // masterd ends, and starts again: nobody knows any more what becomes of the set.
    let hold = c.hold();
    let hbal = Hbal::at_work(&c);
    c.lab.kill_daemon("node1", "masterd").unwrap();
    let (code, said) = hbal.end();
    assert_eq!(code, 1, "{said}");
    for words in ["Connection to the master daemon was lost", "go on", "Aborting."] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    c.lab.start_daemon("node1", "masterd").unwrap();
    c.master_answers();
    let (job, status) = c.moves().pop().unwrap();
    assert_eq!(status, "queued");
    c.release(hold);
    c.wait_job(job, "success");

    // hbal dies: what it has submitted goes on, and nothing else.
    c.all_report();
    let hold = c.hold();
    let hbal = Hbal::at_work(&c);
    hbal.signal("KILL");
    hbal.end();
    let (job, status) = c.moves().pop().unwrap();
    assert_eq!(status, "queued");
    c.release(hold);
    c.wait_job(job, "success");
    let made = c.moves();
    assert_eq!(made.len(), 5);
    assert_eq!(made.iter().filter(|(_, status)| status == "success").count(), 4, "{made:?}");

    // Whoever starts it again gets the rest.
    let said = c.ok("hbal -L -X");
    assert!(said.contains("Executing jobset"), "{said}");
    assert_eq!(c.seats(), [3, 3, 3], "{said}");
    assert!(!c.ok("hbal -L -X").contains("Executing jobset"));
    c.verify();
    asks_monitoring_daemons(&c);
}

/// What monitoring daemons say counts if all of them answer; who does not is named.
fn asks_monitoring_daemons(c: &Cluster) {
    let request = "gnt-debug iallocator --dir=in --mode=allocate --disk-template=sharedfile \
                   --disks=1024 -o noop new >/tmp/request";
    c.ok(request);
    // Loads are averages: right after its start a daemon has none.
    let all_answer =
        || c.run("hbal -L --mond --exit-on-missing-mond-data && hail --mond /tmp/request").ok();
    wait_until(SOON, || "answers of all monitoring daemons".into(), all_answer).unwrap();
    c.lab.kill_daemon("node3", "mond").unwrap();
    for command in ["hbal -L --mond", "hail --mond /tmp/request"] {
        let out = c.run(command);
        assert!(out.ok(), "{command}: {}", out.stderr);
        let said = ["http://node3.lab:1815/", "cpu-avg-load's data will be ignored"];
        assert!(said.iter().all(|words| out.stderr.contains(words)), "{command}: {}", out.stderr);
    }
    let complete = "hbal -L --mond --exit-on-missing-mond-data";
    c.refused(complete, 1, &["Error: Not all required data available"]);
}

/// What the balancer tells.
#[track_caller]
fn told(c: &Cluster) -> Value {
    c.json("gnt-cluster balancer --json")
}

/// Waits until it tells so; the master may be about to answer.
#[track_caller]
fn wait_told(c: &Cluster, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let tells = || {
        let out = c.run("gnt-cluster balancer --json");
        last = serde_json::from_str(&out.stdout).unwrap_or_default();
        out.ok() && is(&last)
    };
    // A plan of many moves takes a report of all nodes for each.
    if let Err(e) = wait_until(SOON * 2, || format!("balancer: {what}"), tells) {
        panic!("{e}: {last:#}\n{}", c.run("gnt-job list").stdout);
    }
    last
}

/// Whether it has looked at the group, and does that.
fn does(told: &Value, words: &str) -> bool {
    let doing = told["groups"][0]["doing"].as_str().unwrap_or_default();
    !told["looked"].is_null() && doing.contains(words)
}

fn made(told: &Value) -> Vec<(u64, String)> {
    let moves = told["moves"].as_array().unwrap();
    let one = |m: &Value| (m["job"].as_u64().unwrap(), m["end"].as_str().unwrap().to_owned());
    moves.iter().map(one).collect()
}

/// How the master becomes another one.
struct Change<'a> {
    /// The master dies.
    dies: &'a dyn Fn(&mut Cluster),
    /// And is there again, as a copy.
    is_back: &'a dyn Fn(&mut Cluster),
    /// Another one leads, by a command.
    failover: &'a dyn Fn(&mut Cluster),
}

/// Only reports, then moves: through two changes of the master it has one budget, and makes each move once.
fn balances_through_changes(c: &mut Cluster, change: &Change<'_>) {
    c.crowd("node3", 9);
    let settings = "--hold=0 --interval=1 --threshold=0.5 --margin=0.1 --moves-per-hour=3";
    c.ok(&format!("gnt-cluster balancer --mode=report {settings}"));
    let would = |told: &Value| does(told, "would begin a plan of");
    wait_told(c, "a plan that is reported", would);
    (change.failover)(c);
    let told_now = wait_told(c, "a plan of the next master", would);
    assert_eq!(told_now["moves_left"], 3);
    assert_eq!(c.moves(), [], "a report moves nothing");

    // The master dies while a move is under way: it stays the only one, and stays charged.
    let hold = c.hold();
    c.ok("gnt-cluster balancer --mode=on");
    wait_told(c, "a move", |told| does(told, "waits for 1 of its moves"));
    let begun = c.moves();
    assert_eq!(begun.len(), 1, "{begun:?}");
    (change.dies)(c);
    let told_now = wait_told(c, "the move", |told| does(told, "waits for 1 of its moves"));
    assert_eq!((&told_now["moves_left"], c.moves()), (&2.into(), begun.clone()));
    assert_eq!(made(&told_now), [(begun[0].0, "under way".to_owned())]);
    (change.is_back)(c);
    c.release(hold);

    // The new one goes on with the rest of the hour, and the next one knows that there is none.
    let used = |told: &Value| does(told, "the hour's moves are used up");
    wait_told(c, "an hour that is used up", used);
    let all = c.moves();
    assert_eq!(all.len(), 3, "{all:?}");
    (change.failover)(c);
    let told_now = wait_told(c, "the hour is still used up", used);
    let done: Vec<_> = all.iter().map(|(job, _)| (*job, "done".to_owned())).collect();
    assert_eq!((&told_now["moves_left"], made(&told_now)), (&0.into(), done));
    assert_eq!(c.moves(), all);

    // With more of a budget it ends what it began.
    c.ok("gnt-cluster balancer --moves-per-hour=20");
    wait_told(c, "balance", |told| does(told, "is balanced well enough"));
    assert_eq!(c.seats(), [3, 3, 3], "{:#}", told(c));
    assert_eq!(c.moves().len(), 6);
    c.jobs_end();
    c.all_report();
    c.verify();
}

/// A move is charged, its job is stored, its number is noted, it runs: masterd dies behind each of these commits.
#[test]
#[ignore = "long: make test-full"]
fn each_move_is_made_once_wherever_masterd_dies() {
    let c = Cluster::fake("t-charge");
    c.crowd("node3", 18);
    // With a drained queue it begins nothing; settings are changed by a job, so it is on before.
    let hold = c.hold();
    let settings = "--hold=0 --interval=1 --threshold=0.5 --margin=0.1 --moves-per-hour=20";
    c.ok(&format!("gnt-cluster balancer --mode=on {settings}"));
    wait_told(&c, "a move", |told| does(told, "waits for 1 of its moves"));
    c.ok("gnt-cluster queue drain");
    c.release(hold);
    for commit in 2..=5 {
        wait_told(&c, "no move", |told| does(told, "waits for the job queue, which is drained"));
        c.set_failpoint("node1", &format!("commit-counts {commit}"));
        // It may die before it has answered.
        c.run("gnt-cluster queue undrain");
        c.wait_dead("node1", &format!("commit {commit}"));
        c.lab.start_daemon("node1", "masterd").unwrap();
        c.master_answers();
        c.ok("gnt-cluster queue drain");
    }
    c.ok("gnt-cluster queue undrain");
    let told = wait_told(&c, "balance", |told| does(told, "is balanced well enough"));
    assert_eq!(c.seats(), [6, 6, 6], "{told:#}");
    let charges = told["moves"].as_array().unwrap();
    let done = charges.iter().filter(|m| m["end"] == "done");
    let moved: BTreeSet<&str> = done.map(|m| m["instance"].as_str().unwrap()).collect();
    let jobs = c.moves();
    assert!(jobs.iter().all(|(_, status)| status == "success"), "{jobs:?}");
    assert_eq!((moved.len(), jobs.len()), (12, 12), "{told:#}\n{jobs:?}");
    // What was charged and not submitted is charged all the same.
    assert!(charges.iter().all(|m| m["end"] == "done" || m["end"] == "not submitted"), "{told:#}");
    assert_eq!(told["moves_left"].as_u64().unwrap() + charges.len() as u64, 20, "{told:#}");
    c.verify();
}

/// `gnt-cluster master-failover` to the other of the first two nodes.
fn fail_over(c: &mut Cluster) {
    let next = if c.master == "node1" { "node2" } else { "node1" };
    let leads = || {
        let out = c.on(next, "gnt-cluster master-failover");
        out.ok() || out.stderr.contains("already the master")
    };
    wait_until(SOON, || format!("{next} leads"), leads).unwrap();
    c.master = next.into();
    c.run("gnt-cluster activate-master-ip");
    c.master_answers();
}

#[test]
#[ignore = "long: make test-full"]
fn the_balancer_goes_on_where_the_former_master_ended() {
    let options = Options { hypervisor: Hypervisor::Fake, ..Options::new("t-balancer") };
    let mut c = Cluster::with(options);
    balances_through_changes(
        &mut c,
        &Change {
            dies: &|c| {
                c.lab.kill(&c.master).unwrap();
                fail_over(c);
            },
            is_back: &|c| {
                let dead = if c.master == "node1" { "node2" } else { "node1" };
                c.lab.start(dead).unwrap();
                c.all_report();
            },
            failover: &fail_over,
        },
    );
}

#[test]
#[ignore = "long: make test-full"]
fn the_balancer_goes_on_where_the_former_master_ended_with_etcd() {
    let options =
        Options { hypervisor: Hypervisor::Fake, etcd: true, ..Options::new("e-balancer") };
    let mut c = Cluster::with(options);
    let wait_leader = |c: &mut Cluster, nodes: [&'static str; 2]| {
        let mut found = None;
        let leads = || {
            let one =
                |node: &&&str| c.on(node, "gnt-cluster balancer --json && gnt-debug delay 0").ok();
            found = nodes.iter().find(one);
            found.is_some()
        };
        wait_until(SOON, || format!("a master among {nodes:?}"), leads).unwrap();
        c.master = (*found.unwrap()).into();
    };
    balances_through_changes(
        &mut c,
        &Change {
            dies: &|c| {
                c.lab.kill_daemon(&c.master, "masterd").unwrap();
                let rest = match c.master.as_str() {
                    "node1" => ["node2", "node3"],
                    "node2" => ["node1", "node3"],
                    _ => ["node1", "node2"],
                };
                wait_leader(c, rest);
            },
            is_back: &|c| {
                for node in ["node1", "node2", "node3"] {
                    c.lab.start_daemon(node, "masterd").unwrap();
                }
            },
            failover: &fail_over,
        },
    );
}
