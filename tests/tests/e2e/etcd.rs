//! The state in etcd: another master candidate leads by itself when the master dies, hangs or is cut
//! off; nothing acknowledged is lost; guests never notice.

use crate::cluster::{Cluster, SOON};
use roost_proto::rpc::master::ReplicationReply;
use roost_tests::lab::{Hypervisor, Options, Output, wait_until};
use roost_tests::master::{self, Master, Submitted};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Creations under way when the master dies.
const CREATIONS: usize = 50;
const MASTER_IP: &str = "10.78.0.250";
const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// What `gnt-cluster migrate-store etcd` needs in the lab.
const ETCD: &str = "--etcd-ca=/etc/etcd/ca.pem --etcd-certificate=/etc/etcd/client.pem \
                    --etcd-key=/etc/etcd/client.key --etcd-user=roost \
                    --etcd-password-file=/etc/etcd/password \
                    --etcd-endpoints=https://10.78.0.1:2379,https://10.78.0.2:2379,\
                    https://10.78.0.3:2379";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Three nodes, each with a member of etcd; all know where the state is.
fn up(name: &str) -> Cluster {
    let options = Options { hypervisor: Hypervisor::Fake, etcd: true, ..Options::new(name) };
    let c = Cluster::with(options);
    c.all_follow(&NODES, "etcd");
    c.wait_address("node1");
    c
}

/// What a node's masterd says of the state.
fn state_on(c: &Cluster, node: &str) -> Option<ReplicationReply> {
    let ask = async {
        let master = Master::connect(&c.lab.master_socket(node).ok()?).await.ok()?;
        master.replication(&[]).await.ok()
    };
    runtime().block_on(ask)
}

impl Cluster {
    /// Waits until these nodes agree on who leads from this store.
    #[track_caller]
    fn all_follow(&self, nodes: &[&str], store: &str) {
        let master = format!("{}.lab", self.master);
        let said = |node: &&str| state_on(self, node);
        let all = || {
            nodes.iter().all(|node| {
                let leads = *node == self.master;
                let fits = |r: ReplicationReply| {
                    r.store == store && r.master == master && r.leads == leads && r.written > 0
                };
                said(node).is_some_and(fits)
            })
        };
        if let Err(e) = wait_until(SOON, || format!("{nodes:?} follow {master}"), all) {
            let logs =
                |n: &&str| format!("{n}: {:?}\n{}", said(n), self.lab.log(n, "masterd").unwrap());
            panic!("{e}\n{}", nodes.iter().map(logs).collect::<Vec<_>>().join("\n"));
        }
    }

    /// Waits until one of these nodes leads, by itself; returns how long that took.
    #[track_caller]
    fn wait_new_master(&mut self, nodes: &[&str]) -> Duration {
        let began = Instant::now();
        let mut found = None;
        let leads = || {
            let leader = |n: &&&str| state_on(self, n).is_some_and(|r| r.leads);
            found = nodes.iter().find(leader);
            found.is_some()
        };
        if let Err(e) = wait_until(SOON, || format!("a master among {nodes:?}"), leads) {
            let logs = nodes.iter().map(|n| self.lab.log(n, "masterd").unwrap());
            panic!("{e}\n{}", logs.collect::<Vec<_>>().join("\n"));
        }
        self.master = (*found.unwrap()).into();
        println!("{} leads after {:?}", self.master, began.elapsed());
        began.elapsed()
    }

    fn has_address(&self, node: &str) -> bool {
        self.on(node, "ip -4 -o addr").stdout.contains(&format!(" {MASTER_IP}/"))
    }

    /// Waits until this node has the master IP, and no other node that has power.
    #[track_caller]
    fn wait_address(&self, node: &str) {
        let powered: Vec<String> =
            self.lab.status().into_iter().filter(|n| n.power).map(|n| n.name).collect();
        let right = || powered.iter().all(|n| self.has_address(n) == (n == node));
        if let Err(e) = wait_until(SOON, || format!("the master IP on {node} only"), right) {
            panic!("{e}\n{}", self.lab.log(node, "masterd").unwrap());
        }
    }

    /// Nothing is under way, nothing is left over, all is well.
    #[track_caller]
    fn all_is_well(&self) {
        self.jobs_end();
        assert_eq!(self.json("gnt-debug locks --json"), json!([]));
        let debris = runtime().block_on(async {
            let socket = self.lab.master_socket(&self.master).unwrap();
            Master::connect(&socket).await.unwrap().debris(false).await.unwrap()
        });
        assert_eq!(debris, Vec::<String>::new());
        self.wait_address(&self.master);
        self.all_report();
        self.verify();
    }

    /// A guest that runs on a node, made now.
    fn guest(&self, name: &str, node: &str) {
        self.ok(&format!("gnt-instance add -t diskless -o noop -n {node} {name}"));
    }

    /// The simulated guests of a node.
    fn guests(&self, node: &str) -> Vec<String> {
        let out = self.on(node, "ls /run/ganeti/fake-hypervisor 2>/dev/null");
        out.stdout.split_whitespace().map(str::to_owned).collect()
    }

    /// `gnt-debug delay` on a node, for a few seconds at most.
    fn try_change(&self, node: &str) -> Output {
        let argv = ["gnt-debug", "delay", "0.01"];
        self.lab.exec_within(Duration::from_secs(30), node, &argv).unwrap()
    }
}

/// How the master dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    Kill,
    PowerCut,
}

/// Many creations; the master dies `after` the first of them were sent.
fn dies_during_creations(name: &str, death: Death, after: Duration, creations: usize) {
    let mut c = up(name);
    let runtime = runtime();
    let (mut accepted, mut succeeded) = (BTreeMap::new(), BTreeSet::new());
    let mut unknown = 0;
    let mut died = Instant::now();
    runtime.block_on(async {
        let socket = c.lab.master_socket("node1").unwrap();
        let client = Master::connect(&socket).await.unwrap();
        let mut clients = JoinSet::new();
        for n in 0..creations {
            let client = client.clone();
            clients.spawn(async move {
                let name = format!("i{n}");
                let opcode = master::diskless(&name, "noop", &format!("node{}", n % 2 + 2));
                let submitted = client.submit(&opcode).await;
                let ended = match submitted {
                    Submitted::Accepted(job) => client.wait(job).await.is_ok_and(|e| e.ok()),
                    _ => false,
                };
                (name, submitted, ended)
            });
        }
        tokio::time::sleep(after).await;
        died = Instant::now();
        match death {
            Death::Kill => c.lab.kill_daemon("node1", "masterd").unwrap(),
            Death::PowerCut => c.lab.kill("node1").unwrap(),
        }
        while let Some(ended) = clients.join_next().await {
            match ended.unwrap() {
                (name, Submitted::Accepted(job), ended) => {
                    accepted.insert(job, name);
                    succeeded.extend(ended.then_some(job));
                }
                (_, Submitted::Unknown(_), _) => unknown += 1,
                (name, Submitted::Refused(why), _) => panic!("{name}: {why}"),
            }
        }
    });
    println!(
        "{death:?} after {after:?}: {} accepted, {} of them done, {unknown} unknown",
        accepted.len(),
        succeeded.len()
    );
    c.wait_new_master(&["node2", "node3"]);
    println!("another node leads {:?} after the death", died.elapsed());
    c.wait_address(&c.master);
    match death {
        Death::Kill => c.lab.start_daemon("node1", "masterd").unwrap(),
        Death::PowerCut => c.lab.start("node1").unwrap(),
    }
    c.all_follow(&NODES, "etcd");
    c.jobs_end();
    let rows = runtime.block_on(async {
        let socket = c.lab.master_socket(&c.master).unwrap();
        Master::connect(&socket).await.unwrap().query("job", &["id", "status"]).await.unwrap()
    });
    let status: BTreeMap<u64, &str> =
        rows.iter().map(|row| (row[0].as_u64().unwrap(), row[1].as_str().unwrap())).collect();
    let created: BTreeSet<String> = c.instances().into_iter().collect();
    for (job, name) in &accepted {
        let status = status.get(job).unwrap_or_else(|| panic!("job {job} ({name}) is lost"));
        let there = created.contains(name);
        assert_eq!(*status == "success", there, "job {job}: {status}, {name} is there: {there}");
        assert!(there || !succeeded.contains(job), "job {job} was told to be done: {status}");
    }
    assert!(created.len() <= accepted.len() + unknown, "{created:?}");
    for name in &created {
        c.wait_for(name, "status", "running");
    }
    let guests = c.files().into_iter().filter(|f| f.contains("fake-hypervisor/")).count();
    assert_eq!(guests, created.len(), "{:?}", c.files());
    c.all_is_well();
}

#[test]
fn a_killed_master_is_replaced_without_a_command() {
    dies_during_creations("e-kill", Death::Kill, Duration::from_millis(300), CREATIONS);
}

#[test]
#[ignore = "long: make test-full"]
fn masters_that_die_at_many_moments_are_replaced() {
    for seed in 0..10 {
        let death = if seed % 2 == 0 { Death::PowerCut } else { Death::Kill };
        let after = Duration::from_millis(seed * 173 % 900);
        dies_during_creations(&format!("e-death{seed}"), death, after, CREATIONS);
    }
}

#[test]
#[ignore = "long: make test-full"]
fn a_master_that_hung_changes_nothing_when_it_wakes_up() {
    let mut c = up("e-hangs");
    c.guest("one", "node3");
    let old = state_on(&c, "node1").unwrap().epoch;
    let log = c.lab.log_place("node1", "masterd").unwrap();
    let runtime = runtime();
    let socket = c.lab.master_socket("node1").unwrap();
    let client = runtime.block_on(async { Master::connect(&socket).await.unwrap() });
    c.lab.freeze("node1", "masterd").unwrap();
    let late = async move { client.submit(&master::diskless("late", "noop", "node2")).await };
    let pending = runtime.spawn(late);
    c.wait_new_master(&["node2", "node3"]);
    // The node daemon of a frozen master lives, and obeys the new one.
    c.wait_address(&c.master);
    assert!(state_on(&c, &c.master).unwrap().epoch > old);
    c.lab.thaw("node1", "masterd").unwrap();
    c.all_follow(&NODES, "etcd");
    let late = runtime.block_on(async { tokio::time::timeout(SOON, pending).await }).unwrap();
    let late = late.unwrap();
    assert!(!matches!(late, Submitted::Accepted(_)), "a master of the past accepted: {late:?}");
    let said = log.since();
    assert!(said.contains("leadership is over") && said.contains("starting over"), "{said}");
    let out = c.try_change("node1");
    assert!(!out.ok() && out.stderr.contains(&c.master), "{}", out.stderr);
    assert_eq!(c.instances(), ["one"]);
    c.all_is_well();
}

#[test]
#[ignore = "long: make test-full"]
fn a_master_that_is_cut_off_stops_before_another_leads() {
    let mut c = up("e-cut");
    for node in NODES {
        c.guest(&format!("on-{node}"), node);
    }
    let guests = |c: &Cluster| NODES.map(|node| c.guests(node));
    let before = guests(&c);
    assert!(before.iter().all(|g| !g.is_empty()), "{before:?}");
    let log = c.lab.log_place("node1", "masterd").unwrap();
    c.lab.cut("node1", None).unwrap();
    c.wait_new_master(&["node2", "node3"]);
    // It has dropped the address by itself: nobody could tell it to.
    assert!(!c.has_address("node1"), "{}", log.since());
    assert!(log.since().contains("the lease in etcd was lost"), "{}", log.since());
    c.wait_address(&c.master);
    c.ok("gnt-debug delay 0.01");
    let out = c.try_change("node1");
    assert!(!out.ok(), "{}", out.stdout);
    for words in ["etcd", "https://10.78.0.2:2379", "https://10.78.0.3:2379", "2 are needed"] {
        assert!(out.stderr.contains(words), "`{words}` is missing: {}", out.stderr);
    }
    assert_eq!(guests(&c), before);
    c.lab.heal().unwrap();
    // etcd may elect a leader anew when its lost member returns, and that may take too long.
    c.wait_new_master(&NODES);
    c.all_follow(&NODES, "etcd");
    assert_eq!(guests(&c), before);
    c.all_is_well();
}

#[test]
#[ignore = "long: make test-full"]
fn a_cluster_without_etcd_says_so_and_goes_on_when_it_is_back() {
    let mut c = up("e-lost");
    c.guest("one", "node3");
    let before = c.guests("node3");
    // One member less is a warning.
    c.lab.kill_daemon("node3", "etcd").unwrap();
    let seen = || c.run("gnt-cluster info").stderr.contains("https://10.78.0.3:2379");
    wait_until(SOON, || "a warning about etcd".into(), seen).unwrap();
    let out = c.run("gnt-cluster verify");
    assert!(out.ok(), "{}\n{}", out.stdout, out.stderr);
    let said = format!("{}{}", out.stdout, out.stderr);
    for words in ["WARNING", "https://10.78.0.3:2379", "no other may fail"] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    c.lab.kill_daemon("node2", "etcd").unwrap();
    let nobody = || NODES.iter().all(|node| !state_on(&c, node).is_some_and(|r| r.leads));
    wait_until(SOON, || "a master that stops".into(), nobody).unwrap();
    wait_until(SOON, || "no master IP".into(), || !c.has_address("node1")).unwrap();
    let out = c.try_change("node1");
    assert!(!out.ok(), "{}", out.stdout);
    for words in ["2 are needed", "https://10.78.0.2:2379", "Start etcd there", "no majority"] {
        assert!(out.stderr.contains(words), "`{words}` is missing: {}", out.stderr);
    }
    assert_eq!(c.guests("node3"), before);
    for node in ["node2", "node3"] {
        c.lab.start_daemon(node, "etcd").unwrap();
    }
    c.wait_new_master(&NODES);
    c.all_follow(&NODES, "etcd");
    assert_eq!(c.guests("node3"), before);
    c.ok("gnt-debug delay 0.01");
    c.all_is_well();
}

#[test]
#[ignore = "long: make test-full"]
fn a_master_makes_way_when_it_is_asked() {
    let mut c = up("e-way");
    c.guest("one", "node3");
    let job = c.submit("gnt-instance add -t file --disk 0:size=1G -o slow -n node3 two");
    c.wait_job(job, "running");
    for next in ["node2", "node3", "node1"] {
        let began = Instant::now();
        let out = c.on(next, "gnt-cluster master-failover");
        assert!(out.ok(), "{}", out.stderr);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(out.stderr.contains(&format!("Node {next}.lab leads")), "{}", out.stderr);
        c.master = next.into();
        c.all_follow(&NODES, "etcd");
        c.wait_address(next);
    }
    c.refused("gnt-cluster master-failover", 1, &["already the master"]);
    c.wait_job(job, "success");
    c.all_is_well();
}

#[test]
#[ignore = "long: make test-full"]
fn all_candidates_move_with_the_state() {
    let mut c = up("e-move");
    c.guest("one", "node3");
    let wrong = c.on("node2", "gnt-cluster migrate-store --yes embedded");
    assert!(!wrong.ok() && wrong.stderr.contains("node1.lab leads"), "{}", wrong.stderr);
    c.all_follow(&NODES, "etcd");

    c.ok("gnt-cluster migrate-store --yes embedded");
    c.all_follow(&NODES, "embedded");
    assert_eq!(c.instances(), ["one"]);
    for node in NODES {
        let files = c.on(node, "ls /var/lib/ganeti").stdout;
        assert!(files.contains("config.db\n") && !files.contains("store.json"), "{node}: {files}");
    }
    c.ok("gnt-debug delay 0.01");
    // The copies are good enough to lead, without the former master.
    c.lab.kill_daemon("node1", "masterd").unwrap();
    let out = c.on("node2", "gnt-cluster master-failover");
    assert!(out.ok(), "{}", out.stderr);
    c.master = "node2".into();
    c.lab.start_daemon("node1", "masterd").unwrap();
    c.all_follow(&NODES, "embedded");
    c.all_is_well();

    c.ok(&format!("gnt-cluster migrate-store --yes etcd {ETCD}"));
    c.all_follow(&NODES, "etcd");
    for node in NODES {
        let files = c.on(node, "ls /var/lib/ganeti").stdout;
        assert!(!files.contains("config.db\n"), "{node}: {files}");
        assert!(files.contains("config.db.migrated-"), "{node}: {files}");
    }
    c.lab.kill("node2").unwrap();
    c.wait_new_master(&["node1", "node3"]);
    assert_eq!(c.instances(), ["one"]);
    c.lab.start("node2").unwrap();
    c.all_follow(&NODES, "etcd");
    c.all_is_well();
}
