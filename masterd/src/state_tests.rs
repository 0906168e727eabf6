use super::*;
use crate::config::{Object, ObjectKey};
use crate::init;
use crate::store::sqlite::SqliteStore;
use roost_proto::ids::NodeId;
use roost_proto::paths::Paths;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The state of a new cluster, and where it is.
fn cluster() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(Some(dir.path().into()));
    let spec = json!({
        "cluster_name": "cluster.example.com", "master_ip": "192.0.2.250",
        "node_name": "node1.example.com", "node_ip": "192.0.2.1",
        "enabled_hypervisors": ["fake"], "enabled_disk_templates": ["diskless"],
        "file_storage_dir": "/srv/files", "shared_file_storage_dir": "",
    });
    init::init(&paths, &serde_json::from_value(spec).unwrap()).unwrap();
    (dir, paths.database())
}

fn open(path: &std::path::Path) -> State {
    State::open(Box::new(SqliteStore::open(path).unwrap())).unwrap()
}

fn note(text: &str) -> Commit {
    Commit { puts: vec![(Key::new(Space::Meta, "note"), text.into())], ..Commit::default() }
}

/// Adds a node that is a copy of the first one, under another name.
fn second_node(config: &Config) -> Commit {
    let mut node = (**config.nodes.values().next().unwrap()).clone();
    node.uuid = NodeId(uuid::Uuid::from_u128(2));
    node.name = roost_proto::names::NodeName::new("node2.example.com").unwrap();
    let changes = vec![Change::Add(Object::Node(Box::new(node)))];
    Commit { changes, ..Commit::default() }
}

/// A majority that comes when the test says so.
#[derive(Default)]
struct Later {
    may_write: AtomicBool,
    counts: AtomicU64,
    wrote: Mutex<Vec<(Vec<Entry>, Voters)>>,
}

impl Quorum for Later {
    fn may_write(&self) -> bool {
        self.may_write.load(Ordering::SeqCst)
    }

    fn wrote(&self, entries: Vec<Entry>, voters: &Voters, _: &Arc<Config>) -> Serial {
        self.wrote.lock().unwrap().push((entries, voters.clone()));
        Serial(self.counts.load(Ordering::SeqCst))
    }
}

/// A task that has not ended although everything it could do is done.
async fn is_waiting<T>(task: &tokio::task::JoinHandle<T>, state: &State) -> bool {
    // Answers come in order: after this one the writer has seen all that came before.
    state.end().await.unwrap();
    tokio::task::yield_now().await;
    !task.is_finished()
}

#[tokio::test]
async fn a_change_is_visible_and_acknowledged_only_when_it_counts() {
    let (_dir, path) = cluster();
    let state = open(&path);
    let quorum = Arc::new(Later::default());
    quorum.may_write.store(true, Ordering::SeqCst);
    state.lead(Epoch(2), quorum.clone()).await.unwrap();
    let (before, _) = state.end().await.unwrap();

    let change = second_node(&state.config());
    let task = tokio::spawn({
        let state = state.clone();
        async move { state.commit(change).await }
    });
    while quorum.wrote.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(is_waiting(&task, &state).await);
    assert_eq!(state.config().nodes.size(), 1, "not visible yet");
    assert_eq!(state.config_written().await.unwrap().nodes.size(), 2);
    let (end, voters) = state.end().await.unwrap();
    assert_eq!(end, Position { epoch: Epoch(2), serial: Serial(before.serial.0 + 1) });
    assert_eq!(voters.sets().len(), 2, "the old and the new voters have a say");

    quorum.counts.store(end.serial.0, Ordering::SeqCst);
    state.counts(end.serial);
    assert_eq!(task.await.unwrap().unwrap(), end.serial);
    assert_eq!(state.config().nodes.size(), 2);
    // What ends the change of the voters is a commit of its own.
    let (settled, voters) = state.end().await.unwrap();
    assert_eq!(settled.serial.0, end.serial.0 + 1);
    assert_eq!(voters.sets().len(), 1);
    assert_eq!(voters.newest().len(), 2);
}

#[tokio::test]
async fn nothing_is_written_while_the_quorum_forbids_it() {
    let (_dir, path) = cluster();
    let state = open(&path);
    let quorum = Arc::new(Later::default());
    state.lead(Epoch(2), quorum.clone()).await.unwrap();
    let task = tokio::spawn({
        let state = state.clone();
        async move { state.commit(note("a")).await }
    });
    let (before, _) = state.end().await.unwrap();
    assert!(is_waiting(&task, &state).await);
    assert_eq!(state.end().await.unwrap().0, before);
    quorum.may_write.store(true, Ordering::SeqCst);
    quorum.counts.store(u64::MAX, Ordering::SeqCst);
    state.counts(Serial(0));
    assert_eq!(task.await.unwrap().unwrap().0, before.serial.0 + 1);
}

#[tokio::test]
async fn a_copy_takes_commits_and_shows_those_that_count() {
    let (_dir, path) = cluster();
    let (_other, copied) = cluster();
    std::fs::copy(&path, &copied).unwrap();
    let (leader, copy) = (open(&path), open(&copied));
    let refused = copy.commit(note("x")).await.unwrap_err();
    assert!(matches!(refused, CommitError::NotLeading), "{refused}");

    leader.lead(Epoch(3), Arc::new(NobodyElse)).await.unwrap();
    let (start, _) = copy.end().await.unwrap();
    leader.commit(second_node(&leader.config())).await.unwrap();
    let removal = vec![Change::Remove(ObjectKey::Node(NodeId(uuid::Uuid::from_u128(2))))];
    leader.commit(Commit { changes: removal, ..Commit::default() }).await.unwrap();
    let entries = leader.entries(start.serial, usize::MAX).await.unwrap().unwrap();
    let first = entries[0].at.serial;

    let end = copy.append(entries.clone(), first).await.unwrap();
    assert_eq!(end, entries.last().unwrap().at);
    assert_eq!(copy.config().serial, first);
    assert_eq!(copy.config().nodes.size(), 2);
    copy.append(vec![], end.serial).await.unwrap();
    assert_eq!(copy.config().nodes.size(), 1);
    assert_eq!(copy.end().await.unwrap(), leader.end().await.unwrap());
    let gap = copy.append(entries, end.serial).await.unwrap_err();
    assert!(gap.message.contains("does not follow"), "{gap}");
}

#[tokio::test]
async fn candidates_of_a_time_without_copies_get_their_say_with_the_first_commit() {
    let (_dir, path) = cluster();
    // As an earlier version of the program left it: two candidates, and no word of voters.
    let (state, _) = State::start(Box::new(SqliteStore::open(&path).unwrap())).unwrap();
    state.commit(second_node(&state.config())).await.unwrap();
    let forget = Commit { deletes: vec![Voters::key()], ..Commit::default() };
    state.commit(forget).await.unwrap();
    drop(state);
    // The writer closes the file when nobody can ask it any more.
    let state = loop {
        match SqliteStore::open(&path) {
            Ok(store) => break State::open(Box::new(store)).unwrap(),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let (_, voters) = state.end().await.unwrap();
    assert_eq!(voters.newest().len(), 1, "only the master has a copy");
    let quorum = Arc::new(Later::default());
    quorum.may_write.store(true, Ordering::SeqCst);
    state.lead(Epoch(7), quorum.clone()).await.unwrap();
    let task = tokio::spawn({
        let state = state.clone();
        async move { state.commit(note("first")).await }
    });
    while quorum.wrote.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let (_, voters) = state.end().await.unwrap();
    assert_eq!(voters.sets().iter().map(|set| set.len()).collect::<Vec<_>>(), [1, 2]);
    task.abort();
}

#[tokio::test]
async fn what_a_copy_cannot_read_it_does_not_store() {
    let (_dir, path) = cluster();
    let copy = open(&path);
    let (start, voters) = copy.end().await.unwrap();
    let entry = |serial, key: Key, body: &str| Entry {
        at: Position { epoch: Epoch(1), serial: Serial(start.serial.0 + serial) },
        batch: Batch { puts: vec![(key, body.into())], deletes: vec![] },
    };
    let good = entry(1, Key::new(Space::Meta, "note"), "a");
    for bad in [
        entry(2, Key::new(Space::Node, uuid::Uuid::from_u128(9)), "no node"),
        entry(2, Voters::key(), "[]"),
    ] {
        let error = copy.append(vec![good.clone(), bad], Serial(0)).await.unwrap_err();
        assert!(error.message.contains("does not fit"), "{error}");
        assert_eq!(copy.end().await.unwrap(), (start, voters.clone()));
    }
    copy.append(vec![good], Serial(0)).await.unwrap();
}
