//! What every store must do. Each implementation runs this.

use super::{Batch, Key, Since, Space, Store};
use roost_proto::ids::{Epoch, Serial};

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
}
