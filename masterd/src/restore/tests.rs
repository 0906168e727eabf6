use super::import;
use crate::backup;
use crate::init;
use crate::jobs::journal::{job_key, plan_key};
use crate::state::{Commit, State};
use crate::store::sqlite::SqliteStore;
use crate::store::{Key, Space};
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::ids::JobId;
use roost_proto::import::{Backup, BackupImport, GanetiImport, ImportSpec};
use roost_proto::init::InitSpec;
use roost_proto::job::{JobRecord, JobStatus};
use roost_proto::paths::{Identity, Paths};
use roost_proto::rpc::master as pb;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt;

fn root() -> (tempfile::TempDir, Paths) {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(Some(dir.path().into()));
    (dir, paths)
}

/// Opens a store whose last user may not quite have ended.
fn open(path: &Path) -> SqliteStore {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match SqliteStore::open(path) {
            Ok(store) => return store,
            Err(e) => assert!(Instant::now() < end, "{e}"),
        }
        std::thread::yield_now();
    }
}

fn load(paths: &Paths) -> (State, Vec<(Key, String)>) {
    State::start(Box::new(open(&paths.database()))).unwrap()
}

fn number(documents: &[(Key, String)], id: &str) -> u64 {
    let found = documents.iter().find(|(key, _)| *key == Key::new(Space::Meta, id));
    found.unwrap().1.parse().unwrap()
}

fn job(id: u64, status: JobStatus) -> (Key, String) {
    let op = json!({"input": {"OP_ID": "OP_TEST_DELAY"}, "status": status, "result": null,
        "priority": 0, "start_timestamp": null, "exec_timestamp": null, "end_timestamp": null});
    let record = json!({"id": id, "ops": [op], "received_timestamp": [1, 0],
        "start_timestamp": null, "end_timestamp": null});
    (job_key(JobId(id)), record.to_string())
}

async fn exported(paths: &Paths, format: &str) -> (String, Vec<String>) {
    let (state, _) = load(paths);
    let request = pb::ExportRequest { format: format.into(), archived: true };
    let mut stream = backup::export(&state, paths, &request).await.unwrap();
    let (mut bytes, mut notes) = (Vec::new(), Vec::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        bytes.extend(chunk.data);
        notes.extend(chunk.notes);
    }
    (String::from_utf8(bytes).unwrap(), notes)
}

/// A cluster with a second node and jobs in all states.
async fn cluster() -> (tempfile::TempDir, Paths) {
    let (dir, paths) = root();
    let spec: InitSpec = serde_json::from_value(json!({
        "cluster_name": "cluster.example.com", "master_ip": "192.0.2.250",
        "node_name": "node1.example.com", "node_ip": "192.0.2.1",
        "enabled_hypervisors": ["fake"], "enabled_disk_templates": ["diskless"],
        "file_storage_dir": "", "shared_file_storage_dir": "",
    }))
    .unwrap();
    init::init(&paths, &spec).unwrap();
    std::fs::write(paths.data_dir().join("hmac.key"), "secret\n").unwrap();
    let (state, _) = load(&paths);
    let config = state.config();
    let mut second = (**config.node("node1").unwrap()).clone();
    second.uuid = uuid::Uuid::from_u128(2).into();
    second.name = "node2.example.com".parse_name();
    second.primary_ip = "192.0.2.2".into();
    second.secondary_ip = "192.0.2.2".into();
    let node2 = second.uuid;
    let mut cluster = (*config.cluster).clone();
    cluster.candidate_certs.insert(second.uuid, "AA:BB".into());
    use crate::config::{Change, Object};
    let changes = vec![
        Change::Add(Object::Node(Box::new(second))),
        Change::Update(Object::Cluster(Box::new(cluster))),
    ];
    let puts = vec![
        job(7, JobStatus::Success),
        job(8, JobStatus::Running),
        job(9, JobStatus::Queued),
        (plan_key(JobId(8), 0), "{}".into()),
        (backup::epoch_key(), "17".into()),
        (Key::new(Space::Meta, "drained"), "true".into()),
        (crate::replication::Voters::key(), format!("[[\"{}\", \"{node2}\"]]", config.master())),
        (Key::new(Space::Archive, "000000000005"), job(5, JobStatus::Success).1),
    ];
    state.commit(Commit { changes, puts, ..Commit::default() }).await.unwrap();
    (dir, paths)
}

trait ParseName {
    fn parse_name(&self) -> roost_proto::names::NodeName;
}

impl ParseName for str {
    fn parse_name(&self) -> roost_proto::names::NodeName {
        roost_proto::names::NodeName::new(self).unwrap()
    }
}

fn restore(paths: &Paths, spec: BackupImport) -> Result<String> {
    import(paths, &ImportSpec::Backup(spec))
}

fn refused(result: Result<String>, kind: ErrorType, words: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.error_type, Some(kind), "{error}");
    assert!(error.message.contains(words), "{error}");
}

#[tokio::test]
async fn a_cluster_comes_back_on_another_machine() {
    let (_old, before) = cluster().await;
    let (file, _) = exported(&before, "roost").await;
    let (_new, paths) = root();

    let look = BackupImport { file: file.clone(), dry_run: true, ..Default::default() };
    let said = restore(&paths, look).unwrap();
    assert!(said.contains("Backup of cluster cluster.example.com"), "{said}");
    assert!(said.contains("epoch 17") && said.contains("Job 8 was running"), "{said}");
    assert!(!paths.data_dir().exists(), "a dry run writes nothing");

    restore(&paths, BackupImport { file, ..Default::default() }).unwrap();
    let (state, documents) = load(&paths);
    let (old, _) = load(&before);
    assert_eq!(state.config().cluster, old.config().cluster);
    assert_eq!(state.config().nodes.size(), 2);
    assert!(number(&documents, "epoch") > 1_000_000);
    for file in ["ca.pem", "ca.key", "node.pem", "node.key", "hmac.key"] {
        let text = |paths: &Paths| std::fs::read_to_string(paths.data_dir().join(file)).unwrap();
        assert_eq!(text(&paths), text(&before), "{file}");
    }
    let identity = |p: &Paths| -> Identity {
        serde_json::from_slice(&std::fs::read(p.identity()).unwrap()).unwrap()
    };
    assert_eq!(identity(&paths), identity(&before));
    assert!(paths.ssconf("master_candidates_certs").exists());

    // What was under way is over; other documents are as they were.
    let record = |id| -> JobRecord {
        let found = documents.iter().find(|(key, _)| *key == job_key(JobId(id)));
        serde_json::from_str(&found.unwrap().1).unwrap()
    };
    let states = [7, 8, 9].map(|id| record(id).status());
    assert_eq!(states, [JobStatus::Success, JobStatus::Error, JobStatus::Canceled]);
    assert!(documents.iter().all(|(key, _)| key.space != Space::Journal));
    assert!(documents.contains(&(Key::new(Space::Meta, "drained"), "true".into())));
    let archive = state.scan(Space::Archive).await.unwrap();
    assert_eq!(archive[0].0, "000000000005");
    assert_eq!(archive[1].0, "000000010009", "no number of a job comes twice");
}

#[tokio::test]
async fn what_is_there_is_set_aside_and_only_by_force() {
    let (_dir, paths) = cluster().await;
    let (file, _) = exported(&paths, "roost").await;
    let spec = BackupImport { file, ..Default::default() };
    refused(restore(&paths, spec.clone()), ErrorType::WrongState, "--force");
    std::fs::create_dir_all(paths.noded_dir()).unwrap();
    std::fs::write(paths.noded_dir().join("epoch"), "9999999999\n").unwrap();
    let said = restore(&paths, BackupImport { force: true, ..spec }).unwrap();
    let aside: Vec<&str> = said.lines().filter(|l| l.starts_with("What was here is now")).collect();
    assert!(aside[0].contains("config.db.before-import-"), "{said}");
    let old = aside[0].rsplit(' ').next().unwrap();
    open(old.as_ref());
    assert_eq!(number(&load(&paths).1, "epoch"), 9_999_999_999);
}

#[tokio::test]
async fn the_machine_and_the_lost_ones_may_be_others() {
    let (_old, before) = cluster().await;
    let (file, _) = exported(&before, "roost").await;
    let spec = BackupImport {
        file,
        address: Some("192.0.2.77".into()),
        lost: vec!["node2".into()],
        epoch: Some(99_999_999_999),
        ..Default::default()
    };
    let (_new, paths) = root();
    restore(&paths, spec.clone()).unwrap();
    let (state, documents) = load(&paths);
    let config = state.config();
    assert_eq!(config.node("node1").unwrap().primary_ip, "192.0.2.77");
    assert_eq!(config.node("node1").unwrap().secondary_ip, "192.0.2.77");
    let lost = config.node("node2").unwrap();
    assert!(lost.offline && !lost.master_candidate);
    // Nobody waits for its vote.
    let voters = documents.iter().find(|(key, _)| *key == crate::replication::Voters::key());
    assert_eq!(voters.unwrap().1, format!("[[\"{}\"]]", config.master()));
    assert_eq!(config.cluster.candidate_certs.len(), 1);
    // The next leadership has one more.
    assert_eq!(number(&documents, "epoch"), 99_999_999_998);

    let (_new, paths) = root();
    let itself = BackupImport { lost: vec!["node1".into()], ..spec.clone() };
    refused(restore(&paths, itself), ErrorType::WrongInput, "it cannot be lost");
    let nobody = BackupImport { lost: vec!["node9".into()], ..spec.clone() };
    refused(restore(&paths, nobody), ErrorType::UnknownEntity, "node9");
    let nowhere = BackupImport { address: Some("here".into()), ..spec };
    refused(restore(&paths, nowhere), ErrorType::WrongInput, "'here' is not an address");
    assert!(!paths.data_dir().exists());
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let (_old, before) = cluster().await;
    let (file, _) = exported(&before, "roost").await;
    let (_new, paths) = root();
    let with = |change: &dyn Fn(&mut Backup)| {
        let mut backup = Backup::read(&file).unwrap();
        change(&mut backup);
        let file = serde_json::to_string(&backup).unwrap();
        restore(&paths, BackupImport { file, ..Default::default() })
    };
    let damaged = "does not have its digest";
    refused(with(&|b| drop(b.documents.pop())), ErrorType::WrongInput, damaged);
    refused(with(&|b| b.files.key.push('x')), ErrorType::WrongInput, damaged);
    let other = |b: &mut Backup| {
        b.documents.retain(|d| d.0 != "cluster");
        b.digest = backup::digest(b);
    };
    refused(with(&other), ErrorType::WrongInput, "holds no cluster");
}

#[tokio::test]
async fn ganeti_can_read_what_is_written_for_it() {
    let (_dir, paths) = cluster().await;
    let (file, notes) = exported(&paths, "ganeti").await;
    let value: Value = serde_json::from_str(&file).unwrap();
    let (config, report) = roost_proto::import::understand(&value);
    assert!(report.problems.is_empty() && report.odd.is_empty(), "{}", report.to_text());
    assert_eq!(config.unwrap().nodes.len(), 2);
    assert!(notes.is_empty(), "{notes:?}");
    let error = restore(&root().1, BackupImport { file, ..Default::default() });
    refused(error, ErrorType::WrongInput, "import-ganeti");
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../../proto/fixtures/config.data.json")).unwrap()
}

fn take_over(paths: &Paths, spec: GanetiImport) -> Result<String> {
    import(paths, &ImportSpec::Ganeti(spec))
}

#[tokio::test]
async fn ganetis_cluster_becomes_ours() {
    let (_dir, paths) = root();
    let old = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(old.path().join("queue")).unwrap();
    std::fs::write(old.path().join("queue/serial"), "4711\n").unwrap();
    std::fs::write(old.path().join("hmac.key"), "shared").unwrap();
    std::fs::write(old.path().join("server.pem"), "of no use").unwrap();
    let data_dir = Some(old.path().to_str().unwrap().to_owned());
    let spec = GanetiImport { config: fixture(), data_dir, ..Default::default() };

    let look = GanetiImport { dry_run: true, ..spec.clone() };
    let said = take_over(&paths, look).unwrap();
    assert!(said.contains("Taken over from") && said.contains("hmac.key"), "{said}");
    assert!(!paths.data_dir().exists(), "a dry run writes nothing");

    let spec = GanetiImport { force: true, ..spec };
    std::fs::create_dir_all(paths.data_dir()).unwrap();
    std::fs::write(paths.published_config(), "theirs").unwrap();
    take_over(&paths, spec.clone()).unwrap();
    let kept = paths.data_dir().join("config.data.ganeti");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "theirs", "the way back needs it");
    let (state, _) = load(&paths);
    let config = state.config();
    let file = fixture();
    let node = |name: &str| config.node(name).unwrap().clone();
    assert_eq!(node("node1").uuid, config.master());
    assert!(node("node1").master_candidate && !node("node2").master_candidate);
    assert_eq!(config.cluster.candidate_certs.len(), 1);
    for (id, original) in file["instances"].as_object().unwrap() {
        let instance = config.instances.get(&id.parse().unwrap()).unwrap();
        assert_eq!(json!(instance.serial_no), original["serial_no"]);
        assert_eq!(json!(instance.ctime), original["ctime"]);
        let was_up = original["admin_state"] == "up";
        assert_eq!(instance.tags.contains(&"imported:up".to_owned()), was_up);
        assert_ne!(instance.admin_state.as_str(), "up");
    }
    assert_eq!(config.disks.size(), file["disks"].as_object().unwrap().len());
    let archive = state.scan(Space::Archive).await.unwrap();
    assert_eq!(archive[0].0, "000000004711");
    assert_eq!(std::fs::read_to_string(paths.data_dir().join("hmac.key")).unwrap(), "shared");
    assert!(!paths.data_dir().join("server.pem").exists());
    let certificate = std::fs::read_to_string(paths.certificate()).unwrap();
    let fingerprint = crate::pki::fingerprint(&certificate).unwrap();
    assert_eq!(config.cluster.candidate_certs[&config.master()], fingerprint);

    refused(take_over(&paths, spec), ErrorType::WrongState, "belongs to a cluster already");
}

#[tokio::test]
async fn another_node_may_take_over_and_states_may_stay() {
    let (_dir, paths) = root();
    let spec = GanetiImport {
        config: fixture(),
        force: true,
        master: Some("node2".into()),
        keep_admin_state: true,
        ..Default::default()
    };
    let nobody = GanetiImport { master: Some("node77".into()), ..spec.clone() };
    refused(take_over(&paths, nobody), ErrorType::UnknownEntity, "node77");
    take_over(&paths, spec).unwrap();
    let config = load(&paths).0.config();
    assert_eq!(config.node_name(config.master()), "node2.example.org");
    assert_eq!(config.instance("inst1").unwrap().admin_state.as_str(), "up");
}

#[test]
fn what_is_wrong_or_unsupported_stops_it() {
    let (_dir, paths) = root();
    let spec = GanetiImport { config: fixture(), ..Default::default() };
    refused(take_over(&paths, spec.clone()), ErrorType::WrongState, "drbd disks are not used");
    let mut broken = spec;
    broken.config["nodes"] = json!({});
    broken.dry_run = true;
    refused(take_over(&paths, broken), ErrorType::WrongInput, "which is not there");
    assert!(!paths.data_dir().exists());
}
