use super::*;
use roost_proto::error::Error;
use roost_proto::published::{Hello, Space};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What the sink has: objects, or why there are none.
type Seen = std::result::Result<BTreeMap<(Space, String), Value>, String>;

/// Tells whenever what counts is another. Refuses what says `"bad"`.
struct Kept {
    now: BTreeMap<(Space, String), Value>,
    next: Option<BTreeMap<(Space, String), Value>>,
    tell: Sender<Seen>,
}

impl Sink for Kept {
    fn begin(&mut self, begin: Begin) {
        assert!(self.next.is_none(), "what was before has ended");
        self.next = Some(if begin.snapshot { BTreeMap::new() } else { self.now.clone() });
    }

    fn put(&mut self, put: Put) -> Result<()> {
        let body: Value = serde_json::from_str(put.body.get()).unwrap();
        if body == "bad" {
            return Err(Error::wrong_input("it says bad"));
        }
        self.next.as_mut().expect("an update").insert((put.space, put.id), body);
        Ok(())
    }

    fn delete(&mut self, gone: Delete) -> Result<()> {
        self.next.as_mut().expect("an update").remove(&(gone.space, gone.id));
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.now = self.next.take().expect("an update");
        self.tell.send(Ok(self.now.clone())).ok();
        Ok(())
    }

    fn abort(&mut self) {
        self.next = None;
    }

    fn clear(&mut self, why: &str) {
        (self.now, self.next) = (BTreeMap::new(), None);
        self.tell.send(Err(why.to_owned())).ok();
    }
}

struct Machine {
    _dir: tempfile::TempDir,
    file: PathBuf,
    socket: PathBuf,
    sees: Receiver<Seen>,
    tell: Option<Sender<Seen>>,
    feed: Option<Feed>,
}

fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("config.data"), dir.path().join("feed"));
    let (tell, sees) = channel();
    Machine { _dir: dir, file, socket, sees, tell: Some(tell), feed: None }
}

impl Machine {
    fn write(&self, node: &str, serial: u64) {
        self.write_text(
            &json!({
                "version": 3_020_000, "serial_no": serial, "ctime": 1.5, "mtime": 1.5,
                "cluster": {"uuid": "c"}, "nodes": {node: {"name": node}}, "instances": {},
            })
            .to_string(),
        );
    }

    fn write_text(&self, text: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn start(&mut self, source: Source) {
        let tell = self.tell.take().expect("once");
        let sink = Kept { now: BTreeMap::new(), next: None, tell };
        self.feed = Some(Feed::start(source, Box::new(sink)).unwrap());
    }

    fn start_in_cluster(&mut self) {
        let (file, socket) = (self.file.clone(), self.socket.clone());
        self.start(Source::Cluster { file, socket });
    }

    fn next(&self) -> Seen {
        self.sees.recv_timeout(Duration::from_secs(60)).expect("something happens")
    }

    /// Waits until there are these nodes.
    fn has(&self, nodes: &[&str]) {
        loop {
            let Ok(seen) = self.next() else { continue };
            let found = seen.keys().filter(|(space, _)| *space == Space::Node);
            if found.map(|(_, id)| id.as_str()).eq(nodes.iter().copied()) {
                return;
            }
        }
    }

    /// Waits until there is nothing, and returns why.
    fn has_none(&self) -> String {
        loop {
            if let Err(why) = self.next() {
                return why;
            }
        }
    }
}

/// masterd's side.
struct Master {
    lines: std::io::Lines<BufReader<UnixStream>>,
    to: UnixStream,
}

impl Master {
    fn accept(listener: &UnixListener) -> (Master, Hello) {
        let (to, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(to.try_clone().unwrap()).lines();
        let hello = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        (Master { lines, to }, hello)
    }

    fn say(&mut self, lines: &[Value]) {
        for line in lines {
            writeln!(self.to, "{line}").unwrap();
        }
    }

    /// The reader has gone.
    fn sees_the_reader_go(mut self) {
        assert!(self.lines.next().is_none_or(|line| line.is_err()));
    }
}

fn begin(serial: u64, snapshot: bool) -> Value {
    json!({"begin": {"serial": serial, "snapshot": snapshot, "epoch": 7}})
}

fn put(node: &str) -> Value {
    json!({"put": {"space": "node", "id": node, "body": {"name": node}}})
}

fn end(serial: u64) -> Value {
    json!({"end": serial})
}

#[test]
fn a_bad_file_changes_nothing() {
    let machine = machine();
    let (tell, sees) = channel();
    let mut sink = Kept { now: BTreeMap::new(), next: None, tell };
    for bad in [
        "",
        "[]",
        "{\"version\": 1",
        "{\"version\": 1}",
        "{\"cluster\": {}}",
        r#"{"version": 1, "cluster": {}, "nodes": {"n": "bad"}}"#,
        r#"{"version": 1, "cluster": {}, "nodes": {"n": {"a": }}}"#,
        r#"{"version": 1, "cluster": {}, "nodes": {"n": {}}} more"#,
    ] {
        machine.write_text(bad);
        file::load(&machine.file, &mut sink).expect_err(bad);
        sink.abort();
        assert!(sees.try_recv().is_err(), "{bad}");
    }
    machine.write("node2", 6);
    assert_eq!(file::load(&machine.file, &mut sink).unwrap(), 6);
    let seen = sees.try_recv().unwrap().unwrap();
    assert_eq!(seen[&(Space::Node, "node2".to_owned())]["name"], "node2");
    assert_eq!(seen[&(Space::Top, String::new())]["version"], 3_020_000);
    assert_eq!(seen[&(Space::Cluster, String::new())]["uuid"], "c");
}

#[test]
fn a_file_is_read_again_when_it_changes() {
    let mut machine = machine();
    machine.write("node1", 5);
    machine.start(Source::File(machine.file.clone()));
    machine.has(&["node1"]);
    machine.write("node2", 6);
    machine.has(&["node2"]);
}

#[test]
fn without_a_file_it_says_why() {
    let mut machine = machine();
    machine.start(Source::File(machine.file.clone()));
    assert_eq!(machine.has_none(), NOT_LOADED);
    let why = machine.has_none();
    assert!(
        why.starts_with("Cannot load configuration from ") && why.contains("No such file"),
        "{why}"
    );
    machine.write("node1", 5);
    machine.has(&["node1"]);
}

#[test]
fn changes_count_when_they_are_whole() {
    let mut machine = machine();
    machine.write("node1", 5);
    let listener = UnixListener::bind(&machine.socket).unwrap();
    machine.start_in_cluster();
    machine.has(&["node1"]);
    let (mut master, hello) = Master::accept(&listener);
    assert_eq!(hello, Hello { from: 5, epoch: None });
    master.say(&[begin(6, false), put("node2"), end(6)]);
    machine.has(&["node1", "node2"]);
    master.say(&[begin(7, false), put("node3"), begin(8, false), put("node4"), end(8)]);
    machine.has(&["node1", "node2", "node4"]);
    let gone = json!({"delete": {"space": "node", "id": "node1"}});
    master.say(&[begin(9, false), gone, put("node9")]);
    drop(master);
    // It comes back with what it has.
    let (mut master, hello) = Master::accept(&listener);
    assert_eq!(hello, Hello { from: 8, epoch: Some(7) });
    master.say(&[begin(10, true), put("node5"), end(10)]);
    assert_eq!(machine.next().unwrap().len(), 1, "nothing of the half update was told");
}

#[test]
fn after_a_bad_change_it_asks_for_everything() {
    let mut machine = machine();
    let listener = UnixListener::bind(&machine.socket).unwrap();
    machine.start_in_cluster();
    let bad = json!({"put": {"space": "node", "id": "n", "body": "bad"}});
    let (mut master, hello) = Master::accept(&listener);
    assert_eq!(hello, Hello { from: 0, epoch: None });
    master.say(&[begin(6, true), put("node1"), end(6)]);
    machine.has(&["node1"]);
    master.say(&[begin(7, false), bad, end(7)]);
    master.sees_the_reader_go();
    let (mut master, hello) = Master::accept(&listener);
    assert_eq!(hello.from, 0);
    master.say(&[begin(8, true), put("node2"), end(8)]);
    assert!(machine.next().unwrap().contains_key(&(Space::Node, "node2".into())));
}

#[test]
fn what_is_published_no_more_is_forgotten() {
    let mut machine = machine();
    machine.write("node1", 5);
    machine.start_in_cluster();
    machine.has(&["node1"]);
    fs::remove_file(&machine.file).unwrap();
    assert_eq!(machine.has_none(), NOT_LOADED);
    // Without masterd, a new file is better than nothing.
    machine.write("node2", 9);
    machine.has(&["node2"]);
}
