//! The master dies, hangs, or is cut off: nothing acknowledged is lost, nobody leads beside another,
//! and a failover leaves a cluster without locks and debris.

use crate::cluster::{Cluster, SOON};
use roost_tests::lab::{Hypervisor, Options, Output, wait_until};
use roost_tests::master::{self, Master, Submitted};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Creations under way when the master dies.
const CREATIONS: usize = 50;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn fake(name: &str, nodes: usize) -> Options {
    Options { hypervisor: Hypervisor::Fake, nodes, ..Options::new(name) }
}

impl Cluster {
    /// Connects to the masterd of a node.
    async fn connect(&self, node: &str) -> Master {
        Master::connect(&self.lab.master_socket(node).unwrap()).await.unwrap()
    }

    /// What a node's masterd says of the copies.
    fn replication(&self, node: &str) -> Option<roost_proto::rpc::master::ReplicationReply> {
        let ask = async {
            Master::connect(&self.lab.master_socket(node).ok()?)
                .await
                .ok()?
                .replication(&[])
                .await
                .ok()
        };
        runtime().block_on(ask)
    }

    /// `gnt-cluster master-failover` on a node, which leads afterwards.
    #[track_caller]
    fn fail_over(&mut self, node: &str, options: &str) -> Output {
        let began = Instant::now();
        let out = self.on(node, &format!("gnt-cluster master-failover {options}"));
        assert_eq!(out.code, 0, "{}\n{}", out.stdout, out.stderr);
        println!("failed over to {node} in {:?}: {}", began.elapsed(), out.stderr.trim());
        self.master = node.into();
        // Announcements of the former master may still be on their way.
        if out.stderr.contains("'gnt-cluster activate-master-ip' tries again") {
            self.run("gnt-cluster activate-master-ip");
        }
        out
    }

    /// Waits until a node's copy holds all that its master has written; returns how long that took.
    #[track_caller]
    fn wait_level(&self, node: &str) -> Duration {
        let began = Instant::now();
        let name = format!("{node}.lab");
        let level = || {
            self.replication(&self.master).is_some_and(|r| {
                r.replicas.iter().any(|replica| {
                    let near = replica.heard.is_some_and(|ago| ago < 2000);
                    replica.node == name && near && replica.holds >= r.counts
                })
            })
        };
        wait_until(SOON, || format!("a level copy on {node}"), level).unwrap();
        began.elapsed()
    }

    /// Waits until a node says that another one is the master.
    #[track_caller]
    fn wait_follows(&self, node: &str) {
        let master = format!("{}.lab", self.master);
        let follows = || {
            self.replication(node).is_some_and(|r| !r.leads && r.master == master && r.written > 0)
        };
        if let Err(e) = wait_until(SOON, || format!("{node} follows {master}"), follows) {
            panic!("{e}: {:?}\n{}", self.replication(node), self.lab.log(node, "masterd").unwrap());
        }
    }

    /// Waits until all nodes with power report, and all copies are level; then verifies.
    #[track_caller]
    fn verify_settled(&self) {
        let replicas = self.replication(&self.master).unwrap().replicas;
        for replica in replicas {
            let node = self.lab.canonical(&replica.node).unwrap();
            let took = self.wait_level(&node);
            if took > Duration::from_secs(1) {
                println!("{node} is level after {took:?}");
            }
        }
        self.all_report();
        self.verify();
    }

    /// Nothing is under way, nothing is left over.
    #[track_caller]
    fn at_rest(&self) {
        self.jobs_end();
        assert_eq!(self.json("gnt-debug locks --json"), json!([]));
        let debris = runtime()
            .block_on(async { self.connect(&self.master).await.debris(false).await.unwrap() });
        assert_eq!(debris, Vec::<String>::new());
    }
}

/// How the master dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    Kill,
    PowerCut,
}

/// What clients were told before the master died.
#[derive(Debug, Default)]
struct Told {
    accepted: BTreeMap<u64, String>,
    succeeded: BTreeSet<u64>,
    unknown: usize,
}

/// Many creations; the master dies some time after the first of them was accepted.
fn dies_during_creations(death: Death, seed: u64) {
    let mut c = Cluster::with(fake(&format!("t-death{seed}"), 3));
    let runtime = runtime();
    let told = Arc::new(Mutex::new(Told::default()));
    // Spread over what all of it takes.
    let after = Duration::from_millis(seed * 97 % 400);
    runtime.block_on(async {
        let client = c.connect("node1").await;
        let mut clients = JoinSet::new();
        for n in 0..CREATIONS {
            let (client, told) = (client.clone(), told.clone());
            clients.spawn(async move {
                let name = format!("i{n}");
                let opcode = master::diskless(&name, "noop", &format!("node{}", n % 2 + 2));
                match client.submit(&opcode).await {
                    Submitted::Accepted(job) => {
                        told.lock().unwrap().accepted.insert(job, name);
                        if let Ok(ended) = client.wait(job).await
                            && ended.ok()
                        {
                            told.lock().unwrap().succeeded.insert(job);
                        }
                    }
                    Submitted::Refused(why) => panic!("refused: {why}"),
                    Submitted::Unknown(_) => told.lock().unwrap().unknown += 1,
                }
            });
        }
        tokio::time::sleep(after).await;
        match death {
            Death::Kill => c.lab.kill_daemon("node1", "masterd").unwrap(),
            Death::PowerCut => c.lab.kill("node1").unwrap(),
        }
        // The connection dies with masterd; over a power cut nothing is lost here either.
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    });
    let told = Arc::try_unwrap(told).unwrap().into_inner().unwrap();
    println!(
        "{death:?} after {after:?}: {} accepted, {} of them done, {} unknown",
        told.accepted.len(),
        told.succeeded.len(),
        told.unknown
    );
    let next = if seed.is_multiple_of(2) { "node2" } else { "node3" };
    c.fail_over(next, "");
    match death {
        Death::Kill => c.lab.start_daemon("node1", "masterd").unwrap(),
        Death::PowerCut => c.lab.start("node1").unwrap(),
    }
    c.wait_follows("node1");
    c.jobs_end();
    let rows = runtime.block_on(async {
        c.connect(&c.master).await.query("job", &["id", "status", "summary"]).await.unwrap()
    });
    let status: BTreeMap<u64, String> = (rows.iter())
        .map(|row| (row[0].as_u64().unwrap(), row[1].as_str().unwrap().to_owned()))
        .collect();
    let created: BTreeSet<String> = c.instances().into_iter().collect();
    for (job, name) in &told.accepted {
        let status = status.get(job).unwrap_or_else(|| panic!("job {job} ({name}) is lost"));
        let there = created.contains(name);
        assert_eq!(status == "success", there, "job {job}: {status}, {name} is there: {there}");
        if told.succeeded.contains(job) {
            assert_eq!(status, "success", "job {job} was told to be done");
        }
    }
    // Of those whose submission was not answered some are there, some are not; none is half there.
    assert!(created.len() <= told.accepted.len() + told.unknown, "{created:?}");
    for name in &created {
        c.wait_for(name, "status", "running");
    }
    c.at_rest();
    let guests = c.files().into_iter().filter(|f| f.contains("fake-hypervisor/")).count();
    assert_eq!(guests, created.len(), "{:?}", c.files());
    c.verify_settled();
}

#[test]
fn a_killed_masters_creations_end_well_or_leave_nothing() {
    dies_during_creations(Death::Kill, 7);
}

#[test]
fn a_master_without_powers_creations_end_well_or_leave_nothing() {
    dies_during_creations(Death::PowerCut, 4);
}

#[test]
#[ignore = "long: make test-full"]
fn a_master_that_dies_at_twenty_moments() {
    for seed in 0..20 {
        let death = if seed % 2 == 0 { Death::PowerCut } else { Death::Kill };
        dies_during_creations(death, seed);
    }
}

/// A master that hangs is replaced, and wakes up: it changes nothing and follows.
fn hangs(name: &str, freeze: fn(&Cluster), thaw: fn(&Cluster)) {
    let mut c = Cluster::with(fake(name, 3));
    let runtime = runtime();
    let old = c.replication("node1").unwrap().epoch;
    // Long enough that the next step is commanded after it woke up.
    let job = c.submit("gnt-instance add -t file --disk 0:size=1G -o slow -n node3 one");
    c.wait_job(job, "running");
    let log = c.lab.log_place("node1", "masterd").unwrap();
    let client = runtime.block_on(c.connect("node1"));
    freeze(&c);
    let late = master::diskless("late", "noop", "node2");
    let pending = runtime.spawn(async move { client.submit(&late).await });
    // It is on its way, and nobody answers.
    std::thread::sleep(Duration::from_millis(200));
    assert!(!pending.is_finished());
    c.fail_over("node2", "");
    let reply = c.replication("node2").unwrap();
    assert!(reply.leads && reply.epoch > old, "{reply:?}");
    thaw(&c);
    c.wait_follows("node1");
    let late = runtime.block_on(within(SOON, pending)).unwrap();
    assert!(!matches!(late, Submitted::Accepted(_)), "a master of the past accepted: {late:?}");
    println!("the late submission: {late:?}");
    let said = log.since();
    assert!(said.contains("starting over"), "{said}");
    c.jobs_end();
    c.wait_job(job, "success");
    assert_eq!(c.instances(), ["one"]);
    assert_eq!(c.on("node1", "gnt-cluster getmaster").stdout, "node2.lab\n");
    let out = c.on("node1", "gnt-debug delay 0.01");
    assert_ne!(out.code, 0);
    assert!(out.stderr.contains("node2.lab"), "{}", out.stderr);
    // Every node obeys the new one only.
    for node in ["node1", "node2", "node3"] {
        let path = c.lab.host_path(node, "/var/lib/ganeti/noded/epoch");
        let epoch = std::fs::read_to_string(path.unwrap()).unwrap();
        assert!(epoch.trim().parse::<u64>().unwrap() > old, "{node} is in epoch {epoch}");
    }
    c.at_rest();
    c.wait_level("node1");
    c.all_report();
    // The kernel of a node that hung kept the master IP: verify says so, and what to do.
    let out = c.run("gnt-cluster verify");
    if out.stdout.contains("activate-master-ip") {
        println!("the former master has kept the master IP");
        c.ok("gnt-cluster activate-master-ip");
    }
    c.verify();
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, work).await.expect("it should have ended by now")
}

#[test]
fn a_masterd_that_hung_can_change_nothing_when_it_wakes_up() {
    hangs(
        "t-hangs",
        |c| c.lab.freeze("node1", "masterd").unwrap(),
        |c| c.lab.thaw("node1", "masterd").unwrap(),
    );
}

#[test]
#[ignore = "long: make test-full"]
fn a_node_that_hung_can_change_nothing_when_it_wakes_up() {
    hangs(
        "t-nodehangs",
        |c| c.lab.freeze_node("node1").unwrap(),
        |c| c.lab.thaw_node("node1").unwrap(),
    );
}

/// Makes this many commits at least, on the master.
fn commits(c: &Cluster, count: u64) -> Duration {
    let began = Instant::now();
    let goal = c.replication(&c.master).unwrap().written + count;
    runtime().block_on(async {
        let client = c.connect(&c.master).await;
        while client.replication(&[]).await.unwrap().written < goal {
            let mut jobs = JoinSet::new();
            for _ in 0..500 {
                let client = client.clone();
                jobs.spawn(async move { client.run(&master::noop()).await });
            }
            while let Some(ended) = jobs.join_next().await {
                ended.unwrap().unwrap();
            }
        }
    });
    began.elapsed()
}

fn comes_back_after(name: &str, count: u64) {
    let mut c = Cluster::with(fake(name, 3));
    c.lab.cut("node3", None).unwrap();
    println!("{count} commits took {:?}", commits(&c, count));
    let away = c.replication("node1").unwrap();
    let lag = |r: &roost_proto::rpc::master::ReplicationReply| {
        r.written - r.replicas.iter().find(|x| x.node == "node3.lab").unwrap().holds
    };
    assert!(lag(&away) >= count, "{away:?}");
    c.lab.heal().unwrap();
    let took = c.wait_level("node3");
    println!("level {took:?} after the wire was mended");
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    // It was no use of a whole copy unless the log is too short for it.
    c.verify_settled();
    // And it is good enough to lead.
    c.lab.kill_daemon("node1", "masterd").unwrap();
    c.fail_over("node3", "");
    c.lab.start_daemon("node1", "masterd").unwrap();
    c.wait_follows("node1");
    c.verify_settled();
}

#[test]
fn a_copy_that_was_cut_off_is_level_soon() {
    comes_back_after("t-rejoin", 1_000);
}

#[test]
#[ignore = "long: make test-full"]
fn a_copy_that_missed_ten_thousand_commits_is_level_soon() {
    comes_back_after("t-rejoin10k", 10_000);
}

#[test]
fn a_damaged_copy_is_said_set_aside_and_made_again() {
    let c = Cluster::with(fake("t-garbage", 3));
    commits(&c, 300);
    c.wait_level("node2");
    c.lab.kill_daemon("node2", "masterd").unwrap();
    // The log goes into the database first, else it would mend what is damaged here.
    let database = c.lab.host_path("node2", "/var/lib/ganeti/config.db").unwrap();
    for ending in ["-wal", "-shm"] {
        let mut file = database.clone().into_os_string();
        file.push(ending);
        std::fs::remove_file(file).ok();
    }
    let size = std::fs::metadata(&database).unwrap().len();
    let garbage = format!(
        "dd if=/dev/urandom of=/var/lib/ganeti/config.db bs=4096 seek={} count={} conv=notrunc",
        size / 4096 / 4,
        size / 4096 / 2
    );
    assert!(c.on("node2", &garbage).ok());
    let log = c.lab.log_place("node2", "masterd").unwrap();
    c.lab.start_daemon("node2", "masterd").unwrap();
    let took = c.wait_level("node2");
    println!("a new copy after {took:?}");
    let said = log.since();
    assert!(said.contains("damaged") && said.contains("config.db.damaged-"), "{said}");
    let kept = c.on("node2", "ls /var/lib/ganeti").stdout;
    assert!(kept.contains("config.db.damaged-"), "{kept}");
    c.verify();
}

/// A command that runs while something else happens.
struct Running(std::process::Child);

impl Running {
    fn start(c: &Cluster, command: &str) -> Running {
        let mut command = c.lab.node(&c.master).unwrap().command(&["sh", "-c", command]).unwrap();
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        Running(command.spawn().unwrap())
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Exit code, standard error.
    fn end(mut self) -> (i32, String) {
        wait_until(SOON, || "the end of a command".into(), || self.is_over()).unwrap();
        let out = self.0.wait_with_output().unwrap();
        (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

#[test]
fn without_a_majority_changes_wait_and_say_so() {
    let mut c = Cluster::with(fake("t-minority", 3));
    let cut = |c: &mut Cluster| {
        c.lab.cut("node2", None).unwrap();
        c.lab.cut("node3", None).unwrap();
        let waiting = || c.run("gnt-cluster info").stderr.contains("Changes wait");
        wait_until(SOON, || "a master that waits".into(), waiting).unwrap();
    };
    cut(&mut c);
    let out = c.run("gnt-node list -o name");
    assert!(out.ok() && out.stderr.contains("node2.lab"), "{}", out.stderr);
    // The other side refuses to become the master, and says who is missing.
    let refused = c.on("node2", "gnt-cluster master-failover");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("node1.lab") && refused.stderr.contains("--no-voting"));
    let mut waiting = Running::start(&c, "gnt-debug delay 0.01");
    // Longer than it is patient.
    std::thread::sleep(Duration::from_secs(4));
    assert!(!waiting.is_over());
    c.lab.heal().unwrap();
    let (code, said) = waiting.end();
    assert_eq!(code, 0, "{said}");
    for words in
        ["not accepted yet", "Changes wait", "node2.lab", "node3.lab", "gnt-node modify --offline"]
    {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    c.verify_settled();

    cut(&mut c);
    let mut waiting = Running::start(&c, "gnt-debug delay 0.01");
    let two = Running::start(&c, "gnt-node modify --offline yes node2");
    std::thread::sleep(Duration::from_secs(1));
    assert!(!waiting.is_over());
    let three = Running::start(&c, "gnt-node modify --offline yes node3");
    for (what, command) in [("node2", two), ("node3", three), ("the job", waiting)] {
        let (code, said) = command.end();
        assert_eq!(code, 0, "{what}: {said}");
    }
    assert_eq!(
        c.ok("gnt-node list --no-headers -o offline").split_whitespace().collect::<String>(),
        "NYY"
    );
    c.ok("gnt-debug delay 0.01");
    c.lab.heal().unwrap();
    c.ok("gnt-node modify -O no -f node2 && gnt-node modify -O no -f node3");
    c.all_report();
    c.ok("gnt-node modify -C yes node2; gnt-node modify -C yes node3; true");
    c.wait_level("node2");
    c.wait_level("node3");
    c.verify();
}

#[test]
fn a_failover_without_a_majority_is_refused_names_who_is_missing_and_asks() {
    let mut c = Cluster::with(fake("t-novoting", 3));
    c.lab.kill("node1").unwrap();
    c.lab.kill("node2").unwrap();
    let out = c.on("node3", "gnt-cluster master-failover");
    assert_ne!(out.code, 0);
    for words in ["node1.lab", "node2.lab", "--no-voting"] {
        assert!(out.stderr.contains(words), "`{words}` is missing: {}", out.stderr);
    }
    // Nobody is there to answer: no.
    let out = c.on("node3", "gnt-cluster master-failover --no-voting --accept-loss </dev/null");
    assert_ne!(out.code, 0);
    println!("{}", out.stderr);
    assert_eq!(c.on("node3", "gnt-cluster getmaster").stdout, "node1.lab\n");
    // Half of the candidates: still none.
    c.lab.start("node2").unwrap();
    c.fail_over("node3", "");
    c.lab.start("node1").unwrap();
    c.wait_follows("node1");
    c.all_report();
    c.at_rest();
    c.verify();
}

#[test]
#[ignore = "long: make test-full"]
fn a_master_that_is_alone_is_no_good_cluster() {
    let environment = [("ROOST_ALONE_AFTER".to_owned(), "3".to_owned())].into();
    let c = Cluster::with(Options { environment, ..fake("t-alone2", 3) });
    c.ok("gnt-cluster modify --candidate-pool-size=2 && gnt-node modify -C no node3");
    c.wait_level("node2");
    c.lab.kill_daemon("node2", "masterd").unwrap();
    c.ok("gnt-debug delay 0.01");
    let out = c.run("gnt-cluster verify");
    assert_eq!(out.code, 1);
    assert!(out.stdout.contains("ERROR: cluster: NOT REPLICATED"), "{}", out.stdout);
    c.lab.start_daemon("node2", "masterd").unwrap();
    c.verify_settled();
}

#[test]
fn one_of_two_goes_on_alone_and_says_so_and_nothing_is_lost_silently() {
    let environment = [("ROOST_ALONE_AFTER".to_owned(), "3".to_owned())].into();
    let mut c = Cluster::with(Options { environment, ..fake("t-alone", 3) });
    c.ok("gnt-cluster modify --candidate-pool-size=2 && gnt-node modify -C no node3");
    c.wait_level("node2");
    let before = Instant::now();
    c.lab.kill("node2").unwrap();
    c.ok("gnt-debug delay 0.01");
    println!("alone after {:?}", before.elapsed());
    // The verification waits for the node that is away, so it has a test of its own.
    for command in ["gnt-cluster info", "gnt-node list"] {
        let began = Instant::now();
        let out = c.run(command);
        println!("{command}: {:?}", began.elapsed());
        let said = format!("{}{}", out.stdout, out.stderr);
        for words in ["NOT REPLICATED", "node2.lab"] {
            assert!(said.contains(words), "`{words}` is missing in {command}: {said}");
        }
    }
    c.ok("gnt-instance add -t diskless -o noop -n node3 onlyhere");

    // The other one does not know of it.
    c.lab.kill("node1").unwrap();
    c.lab.start("node2").unwrap();
    let out = c.on("node2", "gnt-cluster master-failover");
    assert_ne!(out.code, 0);
    for words in ["node1.lab has accepted changes alone", "--accept-loss"] {
        assert!(out.stderr.contains(words), "`{words}` is missing: {}", out.stderr);
    }
    let said = c.fail_over("node2", "--accept-loss").stderr;
    assert!(said.contains("lost"), "{said}");
    assert!(c.instances().is_empty());
    c.lab.start("node1").unwrap();
    c.wait_follows("node1");
    c.wait_level("node1");
    let kept = c.on("node1", "ls /var/lib/ganeti").stdout;
    let kept = kept.lines().find(|f| {
        f.starts_with("config.db.replaced-") && !f.contains("-wal") && !f.contains("-shm")
    });
    let kept = kept.unwrap_or_else(|| panic!("nothing is kept aside"));
    let text = std::fs::read(c.lab.host_path("node1", &format!("/var/lib/ganeti/{kept}")).unwrap());
    let wal =
        std::fs::read(c.lab.host_path("node1", &format!("/var/lib/ganeti/{kept}-wal")).unwrap());
    let all = [text.unwrap_or_default(), wal.unwrap_or_default()].concat();
    let there = all.windows(8).any(|w| w == b"onlyhere");
    assert!(there, "{kept} does not have the lost instance");
    c.all_report();
    // The guest that nobody knows of is shown.
    let out = c.run("gnt-cluster verify");
    println!("{}", out.stdout);
    assert!(out.stdout.contains("onlyhere"), "{}", out.stdout);
}
