//! What every store must do. Each implementation runs this.
//!
//! The last parts are about what a store may be tempted to do differently when a commit is large:
//! more documents, or a longer one, than fit into one request of whatever is below.

use super::{Batch, Key, Since, Space, Store};
use roost_proto::ids::{Epoch, Serial};
use std::collections::BTreeMap;

fn put(id: &str, body: &str) -> Batch {
    Batch { puts: vec![(Key::new(Space::Instance, id), body.into())], deletes: vec![] }
}

fn delete(id: &str) -> Batch {
    Batch { puts: vec![], deletes: vec![Key::new(Space::Instance, id)] }
}

/// `open(true)` makes a new store, `open(false)` opens it again, as after a restart.
pub fn check(open: &mut dyn FnMut(bool) -> Box<dyn Store>) {
    let mut store = open(true);
    assert_eq!(store.load().unwrap().serial, Serial(0), "a new store has serial 0");

    let serial = store.commit(Epoch(1), &[put("a", "1"), put("b", "2"), put("a", "3")]).unwrap();
    assert_eq!(serial, Serial(3), "each batch has its own serial");
    assert_eq!(store.get(&Key::new(Space::Instance, "a")).unwrap().as_deref(), Some("3"));
    assert_eq!(store.get(&Key::new(Space::Instance, "z")).unwrap(), None);

    let archived =
        Batch { puts: vec![(Key::new(Space::Archive, "1"), "old".into())], ..Batch::default() };
    store.commit(Epoch(1), &[delete("b"), archived]).unwrap();
    drop(store);

    let mut store = open(false);
    let contents = store.load().unwrap();
    assert_eq!(contents.serial, Serial(5), "the serial survives");
    assert_eq!(contents.documents, vec![(Key::new(Space::Instance, "a"), "3".to_owned())]);
    assert_eq!(store.last_id(Space::Archive).unwrap().as_deref(), Some("1"));
    assert_eq!(store.last_id(Space::Disk).unwrap(), None);
    assert_eq!(store.scan(Space::Archive).unwrap(), vec![("1".to_owned(), "old".to_owned())]);

    match store.since(Serial(2)).unwrap() {
        Since::Tail(tail) => {
            assert_eq!(tail.len(), 3);
            assert_eq!(tail[0], (Serial(3), put("a", "3")));
            assert_eq!(tail[1], (Serial(4), delete("b")));
        }
        Since::Snapshot(_) => panic!("the last commits must be told one by one"),
    }
    assert!(matches!(store.since(Serial(5)).unwrap(), Since::Tail(t) if t.is_empty()));
    assert!(matches!(store.since(Serial(0)).unwrap(), Since::Snapshot(c) if c.serial == Serial(5)));
    assert!(
        matches!(store.since(Serial(99)).unwrap(), Since::Snapshot(_)),
        "a watcher from another history starts anew"
    );
    assert_eq!(store.load().unwrap().serial, Serial(5), "reading changes nothing");

    order_within_a_batch(&mut *store);
    any_text(&mut *store);
    order_of_ids(&mut *store);
    many_documents(&mut *store);
    long_documents(&mut *store);
    many_batches(&mut *store);

    let before = everything(&mut *store);
    drop(store);
    let mut store = open(false);
    assert_eq!(everything(&mut *store), before, "all of it survives");
    let Since::Snapshot(snapshot) = store.since(Serial(0)).unwrap() else {
        panic!("from the beginning there is only a snapshot")
    };
    assert_eq!(snapshot.serial, before.0);
}

fn everything(store: &mut dyn Store) -> (Serial, BTreeMap<Key, String>, Vec<(String, String)>) {
    let contents = store.load().unwrap();
    let documents = contents.documents.into_iter().collect();
    (contents.serial, documents, store.scan(Space::Archive).unwrap())
}

/// Commits a batch and checks that the log tells it as it was.
fn commit(store: &mut dyn Store, batch: Batch) {
    let before = store.load().unwrap().serial;
    let serial = store.commit(Epoch(2), std::slice::from_ref(&batch)).unwrap();
    assert_eq!(serial.0, before.0 + 1);
    match store.since(before).unwrap() {
        Since::Tail(tail) => assert_eq!(tail, vec![(serial, batch)]),
        Since::Snapshot(_) => panic!("the last commit must be told as it was"),
    }
}

fn order_within_a_batch(store: &mut dyn Store) {
    let key = |id: &str| Key::new(Space::Network, id);
    let both = Batch { puts: vec![(key("x"), "1".into())], deletes: vec![key("x"), key("never")] };
    commit(store, both);
    assert_eq!(store.get(&key("x")).unwrap(), None, "deletes come after puts");
    let twice = vec![(key("x"), "1".into()), (key("x"), "2".into())];
    commit(store, Batch { puts: twice, deletes: vec![] });
    assert_eq!(store.get(&key("x")).unwrap().as_deref(), Some("2"), "the last word counts");
    let delete = Batch { puts: vec![], deletes: vec![key("x")] };
    let put = Batch { puts: vec![(key("x"), "3".into())], deletes: vec![] };
    store.commit(Epoch(2), &[delete.clone(), put]).unwrap();
    assert_eq!(store.get(&key("x")).unwrap().as_deref(), Some("3"), "batches are in order");
    commit(store, delete);
    assert_eq!(store.scan(Space::Network).unwrap(), vec![]);
    commit(store, Batch::default());
    let serial = store.load().unwrap().serial;
    assert_eq!(store.commit(Epoch(2), &[]).unwrap(), serial, "no batch, no serial");
}

fn any_text(store: &mut dyn Store) {
    let ids = ["a/b", "a", "a%2Fb", "a b", "ä", "'; --"];
    let bodies = ["", "\u{0}", "\u{1}x", "\u{2}{}", "{\"a\": \"\u{1F642}\"}", "\n"];
    let puts: Vec<(Key, String)> = ids
        .iter()
        .zip(bodies)
        .map(|(id, body)| (Key::new(Space::Filter, id), body.to_owned()))
        .collect();
    commit(store, Batch { puts: puts.clone(), deletes: vec![] });
    for (key, body) in &puts {
        assert_eq!(store.get(key).unwrap().as_ref(), Some(body), "{key:?}");
    }
    let mut expected: Vec<(String, String)> =
        puts.into_iter().map(|(key, body)| (key.id, body)).collect();
    expected.sort();
    assert_eq!(store.scan(Space::Filter).unwrap(), expected);
}

fn order_of_ids(store: &mut dyn Store) {
    let last = |store: &mut dyn Store| store.last_id(Space::Archive).unwrap();
    let archive = |id: &str| Key::new(Space::Archive, id);
    for id in ["10", "9", "95", "950", "4"] {
        let puts = vec![(archive(id), "{}".to_owned())];
        store.commit(Epoch(2), &[Batch { puts, deletes: vec![] }]).unwrap();
    }
    assert_eq!(last(store).as_deref(), Some("950"), "ids are text");
    let deletes = vec![archive("950")];
    store.commit(Epoch(2), &[Batch { puts: vec![], deletes }]).unwrap();
    assert_eq!(last(store).as_deref(), Some("95"));
    let archive = store.load().unwrap().documents;
    assert!(archive.iter().all(|(key, _)| key.space != Space::Archive), "it is not loaded");
}

fn many_documents(store: &mut dyn Store) {
    let key = |i: usize| Key::new(Space::Disk, format!("{i:05}"));
    let puts = (0..700).map(|i| (key(i), format!("disk {i}"))).collect();
    commit(store, Batch { puts, deletes: vec![] });
    assert_eq!(store.scan(Space::Disk).unwrap().len(), 700);
    assert_eq!(store.last_id(Space::Disk).unwrap().as_deref(), Some("00699"));
    let puts = (600..800).map(|i| (key(i), "changed".into())).collect();
    commit(store, Batch { puts, deletes: (0..600).map(key).collect() });
    let disks = store.scan(Space::Disk).unwrap();
    assert_eq!(disks.len(), 200);
    assert!(disks.iter().all(|(_, body)| body == "changed"));
}

fn long_documents(store: &mut dyn Store) {
    let key = |id: &str| Key::new(Space::Job, id);
    // Characters of several bytes, so that no piece ends between two of them by luck.
    let long = |seed: &str| seed.repeat(4_000_000 / seed.len());
    let (first, second) = (long("ä1€2"), long("€🙂x"));
    let puts = vec![(key("1"), first.clone()), (key("2"), "short".to_owned())];
    commit(store, Batch { puts, deletes: vec![] });
    assert!(store.get(&key("1")).unwrap() == Some(first), "a long document is whole");
    let puts = vec![(key("1"), second.clone()), (key("3"), second.clone())];
    commit(store, Batch { puts, deletes: vec![] });
    let jobs = store.scan(Space::Job).unwrap();
    let ids: Vec<&str> = jobs.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert!(jobs[0].1 == second && jobs[2].1 == second, "long documents are replaced whole");
    let puts = vec![(key("1"), "short again".to_owned())];
    commit(store, Batch { puts, deletes: vec![key("3")] });
    assert_eq!(store.get(&key("1")).unwrap().as_deref(), Some("short again"));
    assert_eq!(store.get(&key("3")).unwrap(), None);
}

fn many_batches(store: &mut dyn Store) {
    let before = store.load().unwrap().serial;
    let batches: Vec<Batch> = (0..300).map(|i| put(&format!("b{i}"), "x")).collect();
    let last = store.commit(Epoch(3), &batches).unwrap();
    assert_eq!(last.0, before.0 + 300);
    let Since::Tail(tail) = store.since(Serial(before.0 + 100)).unwrap() else {
        panic!("commits made together are told one by one")
    };
    assert_eq!(tail.len(), 200);
    assert_eq!(tail[0], (Serial(before.0 + 101), batches[100].clone()));
}
