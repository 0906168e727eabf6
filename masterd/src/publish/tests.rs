use super::*;
use crate::api::Role;
use crate::config::{Change, Object, ObjectKey};
use crate::init;
use crate::state::{Commit, NobodyElse};
use crate::store::sqlite::SqliteStore;
use crate::store::{Key, Space as Documents};
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::import::understand;
use roost_proto::names::NodeName;
use roost_proto::published::{Begin, Line, Space};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc};

const SECRET: &str = "nobody must see this";

/// A new cluster's only node, with something to hide.
struct Machine {
    dir: tempfile::TempDir,
    paths: Paths,
    me: Identity,
    state: State,
}

async fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(Some(dir.path().into()));
    let spec = json!({
        "cluster_name": "cluster.example.com", "master_ip": "192.0.2.250",
        "node_name": "node1.example.com", "node_ip": "192.0.2.1",
        "enabled_hypervisors": ["fake"], "enabled_disk_templates": ["diskless"],
        "file_storage_dir": "/srv/files", "shared_file_storage_dir": "",
    });
    init::init(&paths, &serde_json::from_value(spec).unwrap()).unwrap();
    let me = serde_json::from_str(&files::read(&paths.identity()).unwrap()).unwrap();
    let state = State::open(Box::new(SqliteStore::open(&paths.database()).unwrap())).unwrap();
    state.lead(Epoch(3), Arc::new(NobodyElse)).await.unwrap();
    let mut cluster = (*state.config().cluster).clone();
    cluster.extra.insert("authority".into(), SECRET.into());
    cluster.crypto.authorities.push(SECRET.into());
    let changes = vec![Change::Update(Object::Cluster(Box::new(cluster)))];
    let puts = vec![(Key::new(Documents::Meta, "authority-key"), SECRET.into())];
    state.commit(Commit { changes, puts, ..Commit::default() }).await.unwrap();
    Machine { dir, paths, me, state }
}

fn node_id(n: u128) -> NodeId {
    NodeId(uuid::Uuid::from_u128(n))
}

impl Machine {
    async fn commit(&self, change: Change) -> u64 {
        self.state.commit(Commit { changes: vec![change], ..Commit::default() }).await.unwrap().0
    }

    async fn add_node(&self, n: u128) -> u64 {
        let mut node = (**self.state.config().nodes.values().next().unwrap()).clone();
        node.uuid = node_id(n);
        node.name = NodeName::new(format!("node{n}.example.com")).unwrap();
        node.primary_ip = format!("192.0.2.{n}");
        node.secondary_ip.clone_from(&node.primary_ip);
        node.master_candidate = false;
        node.extra.insert("rack".into(), SECRET.into());
        self.commit(Change::Add(Object::Node(Box::new(node)))).await
    }

    /// A job is noted: nothing of the configuration changes.
    async fn note(&self) {
        let puts = vec![(Key::new(Documents::Meta, "note"), SECRET.to_owned())];
        self.state.commit(Commit { puts, ..Commit::default() }).await.unwrap();
    }

    /// Another machine's state, with what this one has.
    fn copy(&self) -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.db");
        std::fs::copy(self.paths.database(), &path).unwrap();
        (dir, State::open(Box::new(SqliteStore::open(&path).unwrap())).unwrap())
    }
}

/// Who reads the feed.
struct Follower {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _to: OwnedWriteHalf,
}

type Update = (Begin, Vec<(Space, String, Option<Value>)>);

impl Follower {
    async fn connect(paths: &Paths, hello: Value) -> Follower {
        let stream = loop {
            match UnixStream::connect(paths.config_feed()).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        Follower::over(stream, hello).await
    }

    async fn over(stream: UnixStream, hello: Value) -> Follower {
        let (from, mut to) = stream.into_split();
        to.write_all(format!("{hello}\n").as_bytes()).await.unwrap();
        Follower { lines: BufReader::new(from).lines(), _to: to }
    }

    async fn update(&mut self) -> Update {
        let mut begin = None;
        let mut objects = Vec::new();
        loop {
            let text = self.lines.next_line().await.unwrap().expect("the feed goes on");
            assert!(!text.contains(SECRET), "{text}");
            match serde_json::from_str(&text).unwrap() {
                Line::Begin(line) => begin = Some(line),
                Line::Put(put) => {
                    let body = serde_json::from_str(put.body.get()).unwrap();
                    objects.push((put.space, put.id, Some(body)));
                }
                Line::Delete(gone) => objects.push((gone.space, gone.id, None)),
                Line::End(serial) => {
                    let begin = begin.expect("an update begins");
                    assert_eq!(serial, begin.serial);
                    return (begin, objects);
                }
            }
        }
    }
}

fn find<'a>(update: &'a Update, space: Space, id: &str) -> &'a Option<Value> {
    let found = update.1.iter().find(|(s, i, _)| *s == space && i == id);
    &found.unwrap_or_else(|| panic!("{space:?} {id} is not in {update:?}")).2
}

#[tokio::test]
async fn the_file_is_what_ganeti_reads_and_hides_what_ganeti_does_not_have() {
    let machine = machine().await;
    let serial = machine.add_node(2).await;
    machine.note().await;
    let config = machine.state.config();
    let mut bytes = Vec::new();
    file::write_config(&config, &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    assert!(!text.contains("PRIVATE KEY") && !text.contains("crypto"), "{text}");
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["serial_no"], serial);
    assert_eq!(value["cluster"]["serial_no"], serial);
    assert_eq!(value["nodes"].as_object().unwrap().len(), 2);
    let (read, report) = understand(&value);
    assert!(report.odd.is_empty() && report.problems.is_empty(), "{}", report.to_text());
    assert_eq!(&*read.unwrap().nodes[&node_id(2)].name, "node2.example.com");
}

#[tokio::test]
async fn each_change_is_told_with_the_serial_of_its_commit() {
    let machine = machine().await;
    let stop = CancellationToken::new();
    let work = feed::run(machine.paths.clone(), machine.state.clone(), stop.clone());
    let work = tokio::spawn(work);
    let mut reader = Follower::connect(&machine.paths, json!({"from": 0})).await;
    let all = reader.update().await;
    assert!(all.0.snapshot);
    assert_eq!(all.0.epoch, Some(3));
    assert_eq!(find(&all, Space::Cluster, "").as_ref().unwrap()["serial_no"], all.0.serial);
    let me = machine.me.node.to_string();
    let name = &find(&all, Space::Node, &me).as_ref().unwrap()["name"];
    assert_eq!(*name, json!("node1.example.com"));
    assert!(find(&all, Space::Top, "").as_ref().unwrap()["version"].is_u64());

    machine.note().await;
    let added = machine.add_node(2).await;
    let change = reader.update().await;
    assert!(!change.0.snapshot);
    assert_eq!(change.0.serial, added, "what is no configuration is not told");
    assert_eq!(find(&change, Space::Cluster, "").as_ref().unwrap()["serial_no"], added);
    assert!(find(&change, Space::Node, &node_id(2).to_string()).is_some());
    assert!(change.1.iter().all(|(space, id, _)| *space != Space::Node || *id != me));

    let removed = machine.commit(Change::Remove(ObjectKey::Node(node_id(2)))).await;
    let change = reader.update().await;
    assert_eq!(change.0.serial, removed);
    assert!(find(&change, Space::Node, &node_id(2).to_string()).is_none());

    stop.cancel();
    assert!(reader.lines.next_line().await.unwrap().is_none(), "the feed ends");
    work.await.unwrap();
    assert!(!machine.paths.config_feed().exists());
}

#[tokio::test]
async fn who_comes_back_gets_what_it_lacks() {
    let machine = machine().await;
    let stop = CancellationToken::new();
    let began = machine.state.config().changed.0;
    tokio::spawn(feed::run(machine.paths.clone(), machine.state.clone(), stop.clone()));
    let at = async |hello| Follower::connect(&machine.paths, hello).await.update().await;
    let first = at(json!({"from": began})).await;
    assert!(!first.0.snapshot && first.1.is_empty(), "{first:?}");
    let added = machine.add_node(2).await;
    machine.note().await;

    for hello in [json!({"from": began}), json!({"from": began, "epoch": 3})] {
        let lacked = at(hello).await;
        assert_eq!((lacked.0.snapshot, lacked.0.serial), (false, added));
        let nodes = lacked.1.iter().filter(|(space, ..)| *space == Space::Node).count();
        assert_eq!(nodes, 1, "{lacked:?}");
    }
    for hello in [
        // Another leadership's: that log is not this one.
        json!({"from": began, "epoch": 2}),
        // A file of some time before.
        json!({"from": began - 1}),
        // A log that is gone.
        json!({"from": added + 100, "epoch": 3}),
    ] {
        let all = at(hello.clone()).await;
        assert_eq!((all.0.snapshot, all.0.serial), (true, added), "{hello}");
    }
    stop.cancel();
}

#[tokio::test]
async fn who_follows_publishes_what_counts() {
    let machine = machine().await;
    let (dir, copy) = machine.copy();
    let paths = Paths::new(Some(dir.path().into()));
    let stop = CancellationToken::new();
    tokio::spawn(feed::run(paths.clone(), copy.clone(), stop.clone()));
    let mut reader = Follower::connect(&paths, json!({"from": 0})).await;
    let first = reader.update().await;

    let (one, two) = (machine.add_node(2).await, machine.add_node(3).await);
    let entries = machine.state.entries(Serial(first.0.serial), usize::MAX).await.unwrap();
    // Both are here, and one of them counts.
    copy.append(entries.unwrap(), Serial(one)).await.unwrap();
    // What the copy lacked before may be told of first, or together with it.
    let change = loop {
        let change = reader.update().await;
        if change.0.serial >= one {
            break change;
        }
    };
    assert_eq!(change.0.serial, one);
    assert!(find(&change, Space::Node, &node_id(2).to_string()).is_some());
    // The log has it already: it does not count, so for readers it is not there.
    let third = change.1.iter().find(|(_, id, _)| *id == node_id(3).to_string());
    assert!(third.is_none_or(|(.., body)| body.is_none()), "{change:?}");
    copy.append(vec![], Serial(two)).await.unwrap();
    let change = reader.update().await;
    assert_eq!(change.0.serial, two);
    assert!(find(&change, Space::Node, &node_id(3).to_string()).is_some());
    stop.cancel();
}

#[tokio::test]
async fn who_does_not_keep_up_is_let_go() {
    let machine = machine().await;
    let (updates, listens) = broadcast::channel(1);
    let state = machine.state.clone();
    let reader = feed::Reader { state, began: Serial(1), updates: listens };
    for serial in 1..=3 {
        let update = feed::Update { serial: Serial(serial), lines: Vec::new() };
        updates.send(Arc::new(update)).unwrap();
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    let _follower = Follower::over(theirs, json!({"from": 0})).await;
    let why = reader.serve(ours).await.expect_err("two updates went by");
    assert!(why.contains("lagged"), "{why}");
}

#[tokio::test]
async fn a_node_that_is_no_candidate_any_more_publishes_nothing() {
    let machine = machine().await;
    // Another node's state: this one is no candidate of it after a while.
    machine.add_node(2).await;
    let Machine { paths, me, state, dir: _dir } = &machine;
    let role = Role::new(node_id(2), Some(state.clone()), None, mpsc::channel(1).0);
    let me = Identity { node: node_id(2), ..me.clone() };
    let stop = CancellationToken::new();
    files::write(&paths.published_config(), b"old", 0o600).unwrap();
    let work = tokio::spawn(run(paths.clone(), role, me, stop.clone()));
    let until = async |what: &dyn Fn() -> bool| {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(&|| !paths.published_config().exists()).await;

    let set = async |candidate| {
        let mut node = (**state.config().node_by_id(node_id(2)).unwrap()).clone();
        node.master_candidate = candidate;
        machine.commit(Change::Update(Object::Node(Box::new(node)))).await
    };
    set(true).await;
    let mut reader = Follower::connect(paths, json!({"from": 0})).await;
    reader.update().await;
    until(&|| paths.published_config().exists()).await;
    set(false).await;
    while reader.lines.next_line().await.unwrap().is_some() {}
    until(&|| !paths.published_config().exists() && !paths.config_feed().exists()).await;

    set(true).await;
    until(&|| paths.published_config().exists()).await;
    let serial = machine.add_node(3).await;
    stop.cancel();
    work.await.unwrap();
    let kept: Value =
        serde_json::from_str(&files::read(&paths.published_config()).unwrap()).unwrap();
    assert_eq!(kept["cluster"]["serial_no"], serial, "the last word is in the file");
}
