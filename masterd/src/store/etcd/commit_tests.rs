//! Commits to a real etcd, with everything that can go wrong between it and us.

use super::connection::Etcd;
use super::testing::{Server, cluster, leading, program, runtime};
use super::{Campaign, Candidate, EtcdStore};
use crate::store::{Batch, Contents, Key, Since, Space, Store, StoreError, conformance};
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use roost_proto::ids::{Epoch, Serial};
use roost_proto::store::EtcdSettings;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn put(id: &str, body: &str) -> Batch {
    Batch { puts: vec![(Key::new(Space::Instance, id), body.into())], deletes: vec![] }
}

fn body(contents: &Contents, id: &str) -> Option<String> {
    let key = Key::new(Space::Instance, id);
    contents.documents.iter().find(|(k, _)| *k == key).map(|(_, body)| body.clone())
}

#[test]
fn conforms() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let mut leaderships = Vec::new();
    conformance::check(&mut |new| {
        leaderships.clear();
        let (mut store, leadership) = leading(&runtime, &etcd);
        leaderships.push(leadership);
        if new {
            store.create().unwrap();
            assert!(matches!(store.create(), Err(StoreError::Exists { .. })));
        }
        Box::new(store)
    });
}

#[test]
fn without_a_cluster_there_is_nothing_to_read() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let mut store = EtcdStore::new(runtime.handle().clone(), etcd, cluster());
    assert!(!store.exists().unwrap());
    let error = store.load().unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    let error = store.commit(Epoch(1), &[put("a", "1")]).unwrap_err();
    assert!(matches!(error, StoreError::NotLeader { .. }), "{error}");
}

/// Forwards to a server; swallows its answers when told to.
async fn deaf_proxy(server: &str, deaf: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = server.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let upstream = TcpStream::connect(&server).await.unwrap();
            let (mut from, mut to) = client.into_split();
            let (mut answers, mut requests) = upstream.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut requests).await });
            let deaf = deaf.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 65_536];
                while let Ok(n @ 1..) = answers.read(&mut buffer).await {
                    if !deaf.load(Ordering::SeqCst) && to.write_all(&buffer[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_commit_whose_answer_is_lost_happens_once_and_is_reported_as_done() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let deaf = Arc::new(AtomicBool::new(false));
    let proxy = runtime.block_on(deaf_proxy(&server.url, deaf.clone()));
    let etcd = Etcd::new(&server.settings()).unwrap();
    let (mut direct, leadership) = leading(&runtime, &etcd);
    direct.create().unwrap();

    let endpoints = vec![proxy, server.url.clone()];
    let through = Etcd::new(&EtcdSettings { endpoints, ..server.settings() }).unwrap();
    let mut store = EtcdStore::new(runtime.handle().clone(), through, cluster());
    store.lead(leadership.guard());
    assert_eq!(store.commit(Epoch(1), &[put("a", "1")]).unwrap(), Serial(1));
    let before = store.revision;
    deaf.store(true, Ordering::SeqCst);
    assert_eq!(store.commit(Epoch(1), &[put("a", "2")]).unwrap(), Serial(2));
    assert_eq!(store.revision, before + 1, "one commit is one revision");
    assert_eq!(store.commit(Epoch(1), &[put("b", "3")]).unwrap(), Serial(3));
    let contents = direct.load().unwrap();
    assert_eq!(contents.serial, Serial(3));
    assert_eq!(body(&contents, "a").as_deref(), Some("2"));
    match direct.since(Serial(1)).unwrap() {
        Since::Tail(tail) => {
            assert_eq!(tail, vec![(Serial(2), put("a", "2")), (Serial(3), put("b", "3"))]);
        }
        Since::Snapshot(_) => panic!("the tail is there"),
    }
}

#[test]
fn a_commit_nobody_answers_stays_undecided_and_is_seen_by_the_next_leader() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let (mut store, first) = leading(&runtime, &etcd);
    store.create().unwrap();
    store.commit(Epoch(1), &[put("a", "1")]).unwrap();
    server.signal(Signal::SIGSTOP);
    let error = store.commit(Epoch(1), &[put("a", "2")]).unwrap_err();
    assert!(matches!(error, StoreError::Undecided { .. }), "{error}");
    assert!(!first.holds());
    server.signal(Signal::SIGCONT);
    let error = store.commit(Epoch(1), &[put("a", "3")]).unwrap_err();
    assert!(matches!(error, StoreError::Undecided { .. }), "it commits nothing any more: {error}");
    drop(first);

    let (mut next, _second) = leading(&runtime, &etcd);
    let contents = next.load().unwrap();
    let expected = match contents.serial {
        Serial(1) => "1",
        Serial(2) => "2",
        other => panic!("never more than was committed: {other}"),
    };
    assert_eq!(body(&contents, "a").as_deref(), Some(expected));
    let serial = next.commit(Epoch(2), &[put("a", "4")]).unwrap();
    assert_eq!(serial.0, contents.serial.0 + 1);
}

#[test]
fn a_leader_that_knows_nothing_of_its_end_changes_nothing() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let (mut store, leadership) = leading(&runtime, &etcd);
    store.create().unwrap();
    store.commit(Epoch(1), &[put("a", "1")]).unwrap();
    let key = format!("/roost/{}/leader", cluster());
    let Some(_) = server.control(&["del", &key]) else { return };
    let (mut other, _leadership) = leading(&runtime, &etcd);
    let error = store.commit(Epoch(1), &[put("a", "2")]).unwrap_err();
    assert!(matches!(error, StoreError::NotLeader { .. }), "{error}");
    assert!(error.to_string().contains("node1"), "it says who leads: {error}");
    assert!(leadership.lost().is_cancelled());
    let contents = other.load().unwrap();
    assert_eq!((contents.serial, body(&contents, "a").as_deref()), (Serial(1), Some("1")));
}

#[test]
fn a_head_changed_by_hand_ends_the_leadership() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let (mut store, leadership) = leading(&runtime, &etcd);
    store.create().unwrap();
    let head = format!("/roost/{}/head", cluster());
    let value = r#"{"format":1,"serial":9,"epoch":0,"folded":9,"by":0}"#;
    let Some(_) = server.control(&["put", &head, value]) else { return };
    let error = store.commit(Epoch(1), &[put("a", "1")]).unwrap_err();
    assert!(error.to_string().contains("what else writes"), "{error}");
    assert!(leadership.lost().is_cancelled());
    assert_eq!(store.load().unwrap().serial, Serial(9), "nothing was stored");

    let Some(_) = server.control(&["put", &head, r#"{"format":2}"#]) else { return };
    let error = store.load().unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, .. }), "{error}");
    let Some(_) = server.control(&["put", &head, "{"]) else { return };
    let error = store.load().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_large_commit_that_was_interrupted_is_whole_for_readers_and_the_next_leader() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let (mut store, first) = leading(&runtime, &etcd);
    store.create().unwrap();
    let old = (0..300).map(|i| (Key::new(Space::Instance, i), "old".to_owned())).collect();
    store.commit(Epoch(1), &[Batch { puts: old, deletes: vec![] }]).unwrap();

    // Every character another, so that nothing gets shorter by being deflated.
    let noise: String = (0..3_000_000u64)
        .map(|i| {
            char::from(b' ' + (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 13) as u8 % 90)
        })
        .collect();
    let mut puts: Vec<(Key, String)> =
        (0..300).map(|i| (Key::new(Space::Instance, i), format!("new {i}"))).collect();
    puts.push((Key::new(Space::Instance, "large"), noise.clone()));
    let deletes = vec![Key::new(Space::Instance, 299)];
    store.interrupt_folding = true;
    assert_eq!(store.commit(Epoch(1), &[Batch { puts, deletes }]).unwrap(), Serial(2));
    drop(store);

    let check = |store: &mut EtcdStore, when: &str| {
        let contents = store.load().unwrap();
        assert_eq!(contents.serial, Serial(2), "{when}");
        assert_eq!(contents.documents.len(), 300, "{when}");
        assert_eq!(body(&contents, "7").as_deref(), Some("new 7"), "{when}");
        assert_eq!(body(&contents, "299"), None, "{when}");
        assert_eq!(body(&contents, "large").as_deref(), Some(noise.as_str()), "{when}");
        let get =
            |store: &mut EtcdStore, id: &str| store.get(&Key::new(Space::Instance, id)).unwrap();
        assert_eq!(get(store, "299"), None, "{when}");
        assert_eq!(get(store, "large").as_deref(), Some(noise.as_str()), "{when}");
        assert_eq!(store.last_id(Space::Instance).unwrap().as_deref(), Some("large"), "{when}");
        assert_eq!(store.scan(Space::Instance).unwrap().len(), 300, "{when}");
    };
    let mut reader = EtcdStore::new(runtime.handle().clone(), etcd.clone(), cluster());
    check(&mut reader, "before folding");
    runtime.block_on(first.resign());
    let (mut next, _second) = leading(&runtime, &etcd);
    runtime.block_on(next.fold_pending()).unwrap();
    check(&mut next, "after folding");
    assert_eq!(next.head.as_ref().unwrap().folded, Serial(2));

    // Pieces go with their document.
    assert!(!runtime.block_on(next.reader.in_pieces()).unwrap().is_empty());
    next.commit(Epoch(2), &[put("large", "small")]).unwrap();
    assert!(runtime.block_on(next.reader.in_pieces()).unwrap().is_empty());
}

#[test]
fn the_tail_is_cut_and_says_so() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let (mut store, _leadership) = leading(&runtime, &etcd);
    store.create().unwrap();
    store.tail = 100;
    for round in 0..30 {
        let batches: Vec<Batch> = (0..70).map(|i| put("a", &format!("{round}.{i}"))).collect();
        store.commit(Epoch(1), &batches).unwrap();
    }
    let log = runtime.block_on(store.reader.count(store.reader.keys.kind("log"))).unwrap();
    assert!(log < 10, "{log} entries are left");
    assert!(matches!(store.since(Serial(500)).unwrap(), Since::Snapshot(_)));
    // Within a group of commits too.
    match store.since(Serial(2_050)).unwrap() {
        Since::Tail(tail) => {
            assert_eq!(tail.len(), 50);
            assert_eq!(tail[0], (Serial(2_051), put("a", "29.20")));
        }
        Since::Snapshot(_) => panic!("the last hundred must be there"),
    }
}

#[test]
fn what_is_imported_is_there_all_at_once() {
    let Some(server) = Server::start() else { return };
    let runtime = runtime();
    let etcd = Etcd::new(&server.settings()).unwrap();
    let (mut store, _leadership) = leading(&runtime, &etcd);
    let documents = |n: usize| {
        (0..n)
            .map(|i| Ok((Key::new(Space::Archive, i), "x".repeat(1_000 * (i % 7)))))
            .collect::<Vec<_>>()
    };
    let broken = StoreError::NotLeader { detail: "a test".into() };
    let half = documents(900).into_iter().chain([Err(broken)]);
    store.import(Serial(42), Epoch(5), &mut half.into_iter()).unwrap_err();
    assert!(!store.exists().unwrap(), "half is nothing");
    store.import(Serial(42), Epoch(5), &mut documents(700).into_iter()).unwrap();
    let position = store.position().unwrap();
    assert_eq!((position.serial, position.epoch), (Serial(42), Epoch(5)));
    assert_eq!(store.scan(Space::Archive).unwrap().len(), 700, "nothing is left of the first");
    assert_eq!(store.commit(Epoch(6), &[put("a", "1")]).unwrap(), Serial(43));
    let error = store.import(Serial(1), Epoch(1), &mut documents(1).into_iter()).unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    store.retire().unwrap();
    assert!(!store.exists().unwrap());
    assert!(matches!(store.load(), Err(StoreError::Missing { .. })));
}

#[test]
fn secrets_are_asked_for_and_used() {
    if program("etcdctl").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        crate::files::write(&path, text.as_bytes(), 0o600).unwrap();
        path
    };
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = file("ca.pem", &authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    let certificate = |name: &str| {
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &issuer).unwrap().pem();
        (file(&format!("{name}.pem"), &pem), file(&format!("{name}.key"), &key.serialize_pem()))
    };
    let ((server_pem, server_key), (pem, key)) = (certificate("server"), certificate("client"));
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let options = [
        "--cert-file",
        &text(&server_pem),
        "--key-file",
        &text(&server_key),
        "--client-cert-auth",
        "--trusted-ca-file",
        &text(&ca),
    ];
    let Some(server) = Server::start_with("https", &options) else { return };
    let tls = ["--cacert", &text(&ca), "--cert", &text(&pem), "--key", &text(&key)];
    let root = [tls.as_slice(), &["--user", "root:top"]].concat();
    for command in ["user add root:top", "user add roost:secret", "role add roost"] {
        let words: Vec<&str> = command.split(' ').collect();
        server.control(&[tls.as_slice(), &words].concat());
    }
    server.control(
        &[
            &tls[..],
            &["role", "grant-permission", "roost", "--prefix=true", "readwrite", "/roost/"],
        ]
        .concat(),
    );
    server.control(&[&tls[..], &["user", "grant-role", "roost", "roost"]].concat());
    server.control(&[&tls[..], &["auth", "enable"]].concat());

    let runtime = runtime();
    let settings = EtcdSettings {
        ca: Some(ca.clone()),
        certificate: Some(pem.clone()),
        key: Some(key.clone()),
        user: Some("roost".into()),
        password_file: Some(file("password", "secret\n")),
        ..server.settings()
    };
    let etcd = Etcd::new(&settings).unwrap();
    let (mut store, _leadership) = leading(&runtime, &etcd);
    store.create().unwrap();
    store.commit(Epoch(1), &[put("a", "1")]).unwrap();
    // Changes of users make tokens old; that is nobody's fault.
    server.control(&[&root[..], &["role", "add", "other"]].concat());
    assert_eq!(store.commit(Epoch(1), &[put("a", "2")]).unwrap(), Serial(2));

    let refused = |settings: &EtcdSettings| {
        let etcd = Etcd::new(settings).unwrap();
        EtcdStore::new(runtime.handle().clone(), etcd, cluster()).load().unwrap_err().to_string()
    };
    // Without a name, etcd takes the certificate's for one.
    let nameless = EtcdSettings { user: None, password_file: None, ..settings.clone() };
    assert!(
        refused(&nameless).contains("needs read and write permission"),
        "{}",
        refused(&nameless)
    );
    let wrong = EtcdSettings { password_file: Some(file("wrong", "guess")), ..settings.clone() };
    assert!(refused(&wrong).contains("check user and password_file"), "{}", refused(&wrong));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Etcd::new(&settings).unwrap_err().message.contains("chmod 600"));
}

#[test]
fn members_that_freeze_one_after_the_other_lose_and_double_nothing() {
    let Some(servers) = Server::start_three() else { return };
    let runtime = runtime();
    let settings = EtcdSettings {
        endpoints: servers.each_ref().map(|server| server.url.clone()).into(),
        // etcd needs seconds to choose another leader of its own.
        ttl: 30,
        ..servers[0].settings()
    };
    let etcd = Etcd::new(&settings).unwrap();
    let node = cluster().0.into();
    let candidate = Candidate { node, name: "node1".into() };
    let campaign = Campaign::new(etcd.clone(), cluster(), candidate, settings.ttl);
    let leadership = runtime.block_on(campaign.win()).unwrap();
    let mut store = EtcdStore::new(runtime.handle().clone(), etcd, cluster());
    store.lead(leadership.guard());
    store.create().unwrap();

    let (told, heard) = std::sync::mpsc::channel();
    let enough = Arc::new(AtomicBool::new(false));
    let stop = enough.clone();
    let writer = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let batch = put("a", &format!("commit {}", acknowledged.len()));
            let serial = store.commit(Epoch(1), std::slice::from_ref(&batch)).unwrap();
            acknowledged.push((serial, batch));
            told.send(()).unwrap();
        }
        (store, acknowledged)
    });
    let some_more = || (0..20).for_each(|_| heard.recv().unwrap());
    some_more();
    for server in servers.iter().chain(&servers[..1]) {
        server.signal(Signal::SIGSTOP);
        heard.try_iter().for_each(drop);
        some_more();
        server.signal(Signal::SIGCONT);
        some_more();
    }
    enough.store(true, Ordering::SeqCst);
    let (mut store, acknowledged) = writer.join().unwrap();
    let last = acknowledged.last().unwrap().0;
    assert_eq!(last.0, acknowledged.len() as u64, "each commit has one serial");
    assert_eq!(store.load().unwrap().serial, last);
    match store.since(Serial(1)).unwrap() {
        Since::Tail(tail) => assert_eq!(tail, acknowledged[1..]),
        Since::Snapshot(_) => panic!("the tail is there"),
    }
}
