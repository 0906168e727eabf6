//! Daemons that are honest, late, liars, forgers, silent, or say everything twice.

use super::{AskError, Client};
use crate::wire::{Envelope, Field, HmacKey, Query, QueryType, Request, Role, Tag};
use roost_proto::paths::Paths;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef01234567\n";

/// What a daemon is like.
#[derive(Clone)]
enum Kind {
    /// Answers with this serial.
    Honest(u64, Value),
    /// Answers only the so-manieth datagram.
    Deaf(usize, u64, Value),
    Silent,
    /// Signs with another key; then says the truth.
    Forger(Value, Value),
    /// Answers with a salt of its own; then says the truth.
    Stale(Value, Value),
    /// Says it again.
    Twice(u64, Value),
    /// Writes what is no answer, then an answer.
    Stammering(u64, Value),
    /// Answers from another address than asked; then says the truth.
    Elsewhere(Value, Value),
    /// An error.
    Refusing(Value),
    /// Answers by what the query is.
    Oracle(fn(&Request<'_>) -> (u8, Value, u64)),
}

/// Plays daemons at 127.0.0.1, .2, … of one port; they end with the handles.
struct Cast {
    port: u16,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Cast {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn address(nth: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(nth + 1).expect("few daemons")))
}

async fn play(kinds: &[Kind]) -> Cast {
    'port: loop {
        let first = UdpSocket::bind((address(0), 0)).await.expect("socket");
        let port = first.local_addr().expect("address").port();
        let mut sockets = vec![first];
        for nth in 1..kinds.len() {
            match UdpSocket::bind((address(nth), port)).await {
                Ok(socket) => sockets.push(socket),
                Err(_) => continue 'port,
            }
        }
        let tasks = sockets.into_iter().zip(kinds.to_vec());
        let tasks = tasks.map(|(socket, kind)| tokio::spawn(serve(socket, kind))).collect();
        return Cast { port, tasks };
    }
}

fn answer(key: &[u8], rsalt: &str, status: u8, answer: &Value, serial: u64) -> Vec<u8> {
    let msg = json!({"protocol": 1, "status": status, "answer": answer, "serial": serial});
    let mut out = Vec::new();
    let key = HmacKey::new(key).expect("key");
    Envelope::write(&key, Tag::Sha1, rsalt, &msg.to_string(), &mut out);
    out
}

async fn serve(socket: UdpSocket, kind: Kind) {
    let key = HmacKey::new(KEY).expect("key");
    let mut buffer = vec![0; 65_536];
    let mut count = 0;
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.expect("receive");
        count += 1;
        let envelope = Envelope::parse(&buffer[..length]).expect("a datagram");
        assert!(envelope.verify(&key), "the client signs");
        let now = crate::clock::seconds();
        let at: i64 = envelope.salt.parse().expect("a time");
        assert!((now - at).abs() < 60, "the client says when");
        let request = Request::parse(&envelope.msg).expect("a question");
        let send = |bytes: Vec<u8>| {
            let socket = &socket;
            async move { socket.send_to(&bytes, from).await.expect("send") }
        };
        let rsalt = &*request.rsalt;
        match &kind {
            Kind::Honest(serial, value) => drop(send(answer(KEY, rsalt, 0, value, *serial)).await),
            Kind::Deaf(nth, serial, value) if count == *nth => {
                send(answer(KEY, rsalt, 0, value, *serial)).await;
            }
            Kind::Silent | Kind::Deaf(..) => {}
            Kind::Forger(lie, truth) => {
                send(answer(b"another key\n", rsalt, 0, lie, 99)).await;
                send(answer(KEY, rsalt, 0, truth, 1)).await;
            }
            Kind::Stale(lie, truth) => {
                send(answer(KEY, "some other question", 0, lie, 99)).await;
                send(answer(KEY, rsalt, 0, truth, 1)).await;
            }
            Kind::Twice(serial, value) => {
                send(answer(KEY, rsalt, 0, value, *serial)).await;
                send(answer(KEY, rsalt, 0, value, *serial)).await;
            }
            Kind::Stammering(serial, value) => {
                send(b"plj0{".to_vec()).await;
                send(vec![]).await;
                let mut out = Vec::new();
                Envelope::write(&key, Tag::Sha1, rsalt, r#"{"protocol":1}"#, &mut out);
                send(out).await;
                send(answer(KEY, rsalt, 0, value, *serial)).await;
            }
            Kind::Elsewhere(lie, truth) => {
                let other = UdpSocket::bind("127.0.0.99:0").await.expect("socket");
                let bytes = answer(KEY, rsalt, 0, lie, 99);
                other.send_to(&bytes, from).await.expect("send");
                send(answer(KEY, rsalt, 0, truth, 1)).await;
            }
            Kind::Refusing(value) => drop(send(answer(KEY, rsalt, 1, value, 0)).await),
            Kind::Oracle(says) => {
                let (status, value, serial) = says(&request);
                send(answer(KEY, rsalt, status, &value, serial)).await;
            }
        }
    }
}

/// A client of a cast that would wait for minutes: a test that has to wait for its end has failed.
fn patient(cast: &Cast) -> Client {
    let peers = (0..cast.tasks.len()).map(address).collect();
    let key = HmacKey::new(KEY).expect("key");
    let minutes = Duration::from_secs(600);
    Client::new(peers, key).expect("client").port(cast.port).timeout(minutes).settle(minutes)
}

/// One that gives up soon, for those that must.
fn hasty(cast: &Cast) -> Client {
    patient(cast).timeout(Duration::from_millis(300))
}

#[tokio::test]
async fn the_highest_serial_wins() {
    let cast = play(&[
        Kind::Honest(41, json!("old.example.org")),
        Kind::Honest(42, json!("new.example.org")),
    ])
    .await;
    let told = patient(&cast).cluster_master().await.expect("answer");
    assert_eq!((told.value.as_str(), told.serial), ("new.example.org", 42));
    assert_eq!((told.from, told.asked, told.answered), (address(1), 2, 2));
    assert!(told.consistent, "only answers of one serial are compared");
}

#[tokio::test]
async fn different_answers_of_one_serial_are_told() {
    let cast = play(&[Kind::Honest(42, json!("a")), Kind::Honest(42, json!("b"))]).await;
    assert!(!patient(&cast).cluster_master().await.expect("answer").consistent);
    let cast = play(&[
        Kind::Honest(42, json!({"a": 1, "b": [2]})),
        Kind::Honest(42, json!({"b": [2], "a": 1})),
    ])
    .await;
    assert!(patient(&cast).config_query("/x").await.expect("answer").consistent);
}

#[tokio::test]
async fn most_of_many_are_enough() {
    let mut kinds = vec![Kind::Honest(7, json!(1)); 4];
    kinds.extend([Kind::Silent, Kind::Silent]);
    let cast = play(&kinds).await;
    let told = patient(&cast).ping().await.expect("four of six");
    assert_eq!((told.asked, told.answered), (6, 4));
    // Of eight, six are asked.
    let cast = play(&vec![Kind::Honest(7, json!(1)); 8]).await;
    let told = patient(&cast).ping().await.expect("answer");
    assert_eq!((told.asked, told.answered), (6, 4));
    let told = patient(&cast).all().ping().await.expect("answer");
    assert_eq!((told.asked, told.answered), (8, 8));
    let told = patient(&cast).coverage(1).ping().await.expect("answer");
    assert_eq!((told.asked, told.answered), (1, 1));
}

#[tokio::test]
async fn what_does_not_count_is_ignored() {
    let (lie, truth) = (json!("liar.example.org"), json!("behind.example.org"));
    let kinds = [
        Kind::Honest(5, json!("honest.example.org")),
        Kind::Forger(lie.clone(), truth.clone()),
        Kind::Stale(lie.clone(), truth.clone()),
        Kind::Elsewhere(lie, truth),
    ];
    let cast = play(&kinds).await;
    let told = patient(&cast).all().cluster_master().await.expect("answers");
    assert_eq!((told.value.as_str(), told.serial, told.answered), ("honest.example.org", 5, 4));
    let ignored = told.ignored;
    assert_eq!((ignored.forged, ignored.stale, ignored.foreign), (1, 1, 1), "{ignored:?}");
    assert_eq!((ignored.malformed, ignored.total()), (0, 3));
}

#[tokio::test]
async fn whoever_says_it_twice_is_heard_once() {
    let cast = play(&[Kind::Twice(5, json!(1)), Kind::Twice(5, json!(1)), Kind::Silent]).await;
    let told = patient(&cast).ping().await.expect("two of three");
    assert_eq!((told.asked, told.answered), (3, 2));
}

#[tokio::test]
async fn an_answer_after_nonsense_counts() {
    let cast = play(&[Kind::Stammering(5, json!(3_020_000))]).await;
    let told = patient(&cast).ping().await.expect("the last of four datagrams");
    assert_eq!((told.value, told.ignored.malformed), (3_020_000, 3));
}

#[tokio::test]
async fn a_lost_question_is_asked_again() {
    let cast = play(&[Kind::Deaf(2, 5, json!(1))]).await;
    let client = patient(&cast).timeout(Duration::from_millis(4500));
    assert_eq!(client.ping().await.expect("the second time").value, 1);
    // It is asked once more, not for ever.
    let cast = play(&[Kind::Deaf(3, 5, json!(1))]).await;
    assert!(hasty(&cast).ping().await.expect_err("no third time").is_silence());
}

#[tokio::test]
async fn others_are_waited_for_only_so_long() {
    let cast = play(&[Kind::Honest(5, json!(1)), Kind::Silent]).await;
    let client = patient(&cast).settle(Duration::from_millis(30));
    let told = client.ping().await.expect("one of two");
    assert_eq!((told.asked, told.answered), (2, 1));
    // One whose question was lost is asked again in that time.
    let cast = play(&[Kind::Honest(5, json!(1)), Kind::Deaf(2, 6, json!(2))]).await;
    let client = patient(&cast).settle(Duration::from_millis(4500));
    let told = client.ping().await.expect("both");
    assert_eq!((told.value, told.serial, told.answered), (2, 6, 2));
}

#[tokio::test]
async fn silence_says_what_may_be_wrong() {
    let cast = play(&[Kind::Silent, Kind::Deaf(9, 1, json!(1))]).await;
    let started = Instant::now();
    let error = hasty(&cast).ping().await.expect_err("nobody answers");
    assert!(started.elapsed() >= Duration::from_millis(300));
    let AskError::Silent { asked, port, .. } = &error else { panic!("{error:?}") };
    assert_eq!((asked.len(), *port), (2, cast.port));
    let text = error.to_string();
    for word in ["127.0.0.1", "127.0.0.2", "firewall", "clocks", "HMAC key"] {
        assert!(text.contains(word), "'{word}' in: {text}");
    }
}

#[tokio::test]
async fn refusals_name_the_daemon() {
    let sentence = "Configuration not yet loaded";
    let cast = play(&[Kind::Refusing(json!(sentence))]).await;
    let error = patient(&cast).ping().await.expect_err("refused");
    assert_eq!(error.to_string(), format!("confd at 127.0.0.1 says: {sentence}"));
    let cast = play(&[Kind::Refusing(json!(0))]).await;
    let error = patient(&cast).node_pip_by_instance_ip("10.0.0.1", None).await.expect_err("no");
    assert!(error.is_unknown());
    let error = roost_proto::error::Error::from(error);
    assert_eq!(error.error_type, Some(roost_proto::error::ErrorType::UnknownEntity));
    // Whoever has not loaded its configuration does not speak for those who have.
    let cast = play(&[Kind::Refusing(json!(sentence)), Kind::Honest(3, json!("m"))]).await;
    assert_eq!(patient(&cast).cluster_master().await.expect("one knows").value, "m");
}

#[tokio::test]
async fn another_answer_than_asked_for_is_an_error() {
    let cast = play(&[Kind::Honest(5, json!({"role": 1}))]).await;
    let error = patient(&cast).node_role("node1").await.expect_err("no role");
    assert!(matches!(error, AskError::Garbled { .. }), "{error:?}");
    let cast = play(&[Kind::Honest(5, json!(9))]).await;
    let error = patient(&cast).node_role("node1").await.expect_err("no role");
    assert_eq!(
        error.to_string(),
        "confd at 127.0.0.1 answers NodeRoleByName with what is no answer to it: 9 is no role"
    );
}

#[tokio::test]
async fn every_question_reaches_the_daemon_as_it_was_meant() {
    fn oracle(request: &Request<'_>) -> (u8, Value, u64) {
        let text = match &request.query {
            Query::Text(text) => text.to_string(),
            _ => String::new(),
        };
        let dict = match &request.query {
            Query::Dict(dict) => dict.clone(),
            _ => Default::default(),
        };
        let value = match request.kind {
            QueryType::Ping => json!(3_020_000),
            QueryType::NodeRoleByName => json!(u8::from(text != "knöten1")),
            QueryType::NodePipByInstanceIp if dict.ip.is_some() => json!(dict.link),
            QueryType::NodePipByInstanceIp => {
                json!([[0, dict.ips.first().expect("an address"), 5], [1, 0, 0]])
            }
            QueryType::ClusterMaster if request.query == Query::Empty => json!("master"),
            QueryType::ClusterMaster => {
                json!(dict.fields.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>())
            }
            QueryType::NodePipList => json!(["192.0.2.1", "192.0.2.2"]),
            QueryType::McPipList => json!(["192.0.2.1"]),
            QueryType::InstancesIpsList => json!([text]),
            QueryType::NodeDrbd => json!([[text, 3, "inst", "disk/0", "primary", "node2"]]),
            QueryType::NodeInstances => json!([[{"name": "a"}], []]),
            QueryType::InstanceDisks => json!([{"size": 1}]),
            QueryType::ConfigQuery => json!({"pointer": text}),
            QueryType::DataCollectors => json!({"lv": {"active": true, "interval": 5_000_000}}),
            QueryType::NodeGuests => unreachable!("not asked here"),
        };
        (0, value, 5)
    }
    let cast = play(&[Kind::Oracle(oracle)]).await;
    let ask = patient(&cast);
    assert_eq!(ask.ping().await.expect("ping").value, 3_020_000);
    assert_eq!(ask.node_role("knöten1").await.expect("role").value, Role::Master);
    let ip = ask.node_pip_by_instance_ip("10.0.0.1", Some("br0")).await.expect("ip");
    assert_eq!(ip.value, "br0");
    let ips = ["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
    let ips = ask.node_pips_by_instance_ips(&ips, None).await.expect("ips");
    assert_eq!(ips.value, [Some("10.0.0.1".to_owned()), None]);
    assert_eq!(ask.cluster_master().await.expect("master").value, "master");
    let fields = [Field::MasterPip, Field::Name];
    let fields = ask.cluster_master_fields(&fields).await.expect("fields");
    assert_eq!(fields.value, ["MasterPip", "Name"]);
    assert_eq!(ask.node_pips().await.expect("nodes").value.len(), 2);
    assert_eq!(ask.mc_pips().await.expect("candidates").value.len(), 1);
    assert_eq!(ask.instance_ips(Some("br7")).await.expect("ips").value, ["br7"]);
    assert_eq!(ask.instance_ips(None).await.expect("ips").value, [""]);
    let drbd = ask.node_drbd("nöde").await.expect("drbd").value;
    assert_eq!((drbd[0].node.as_str(), drbd[0].minor, drbd[0].peer.as_str()), ("nöde", 3, "node2"));
    let instances = ask.node_instances("node1").await.expect("instances").value;
    assert_eq!((instances.primary.len(), instances.secondary.len()), (1, 0));
    assert_eq!(ask.instance_disks("inst").await.expect("disks").value, [json!({"size": 1})]);
    let found = ask.config_query("/a/~1\u{1F600}").await.expect("config").value;
    assert_eq!(found, json!({"pointer": "/a/~1\u{1F600}"}));
    let collectors = ask.data_collectors().await.expect("collectors").value;
    assert_eq!((collectors["lv"].active, collectors["lv"].interval), (true, 5e6));
}

#[tokio::test]
async fn guests_come_in_pages_of_one_serial() {
    fn guest(n: usize) -> Value {
        json!([
            format!("guest{n}"),
            format!("uuid{n}"),
            "up",
            "kvm",
            n.is_multiple_of(2),
            [["xenvg", "v"]],
            1.5
        ])
    }
    /// Five guests in pages of two; the serial rises once, after the first page.
    fn pages(request: &Request<'_>) -> (u8, Value, u64) {
        use std::sync::atomic::{AtomicU64, Ordering};
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let Query::Text(text) = &request.query else { panic!("{request:?}") };
        let (node, first) = text.split_once('#').unwrap_or((text, "0"));
        assert_eq!(node, "node1");
        let first: usize = first.parse().expect("a number");
        let rows: Vec<Value> = (first..5).take(2).map(guest).collect();
        let serial = if ASKED.fetch_add(1, Ordering::SeqCst) == 0 { 5 } else { 6 };
        (0, json!({"total": 5, "instances": rows}), serial)
    }
    let cast = play(&[Kind::Oracle(pages)]).await;
    let told = patient(&cast).node_guests("node1").await.expect("guests");
    let names: Vec<&str> = told.value.iter().map(|guest| guest.name.as_str()).collect();
    assert_eq!(names, ["guest0", "guest1", "guest2", "guest3", "guest4"]);
    assert_eq!(told.serial, 6, "begun again when the serial changed");
    assert_eq!(told.value[0].volumes, [("xenvg".to_owned(), "v".to_owned())]);
    assert!(told.value[2].primary && !told.value[3].primary);
    // A page of nothing is no reason to ask for ever.
    fn empty(_: &Request<'_>) -> (u8, Value, u64) {
        (0, json!({"total": 5, "instances": []}), 1)
    }
    let cast = play(&[Kind::Oracle(empty)]).await;
    let error = patient(&cast).node_guests("node1").await.expect_err("never complete");
    assert!(matches!(error, AskError::Garbled { .. }), "{error:?}");
}

#[test]
fn addresses_are_of_one_family() {
    let key = || HmacKey::new(KEY).expect("key");
    let error = Client::new(vec![], key()).expect_err("nobody");
    assert_eq!(error.message, "There is no address of a confd to ask");
    let both = vec!["192.0.2.1".parse().expect("v4"), "2001:db8::1".parse().expect("v6")];
    let error = Client::new(both, key()).expect_err("both families");
    assert!(error.message.contains("192.0.2.1 and 2001:db8::1"), "{}", error.message);
}

#[test]
fn the_cluster_says_whom_to_ask() {
    let dir = tempfile::tempdir().expect("directory");
    let paths = Paths::new(Some(dir.path().to_owned()));
    let error = Client::of_cluster(&paths).expect_err("no cluster");
    assert!(error.message.contains("ssconf_master_candidates_ips"), "{}", error.message);
    std::fs::create_dir_all(paths.data_dir()).expect("directory");
    let list = paths.ssconf("master_candidates_ips");
    std::fs::write(&list, "192.0.2.2\n192.0.2.1\n\n192.0.2.2\n").expect("write");
    let error = Client::of_cluster(&paths).expect_err("no key");
    assert!(error.message.contains("hmac.key"), "{}", error.message);
    std::fs::write(paths.data_dir().join("hmac.key"), KEY).expect("write");
    let client = Client::of_cluster(&paths).expect("client");
    let peers: Vec<String> = client.peers().iter().map(IpAddr::to_string).collect();
    assert_eq!(peers, ["192.0.2.1", "192.0.2.2"]);
    std::fs::write(&list, "192.0.2.2\nnode1\n").expect("write");
    let error = Client::of_cluster(&paths).expect_err("a name");
    assert!(error.message.starts_with("'node1' in '"), "{}", error.message);
}

#[test]
fn enough_is_as_in_ganeti() {
    let rule: Vec<usize> = (0..=9).map(super::enough).collect();
    assert_eq!(rule, [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
}

#[tokio::test]
async fn what_was_asked_is_answered_over_ipv6_too() {
    let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return };
    let address: SocketAddr = socket.local_addr().expect("address");
    let task = tokio::spawn(serve(socket, Kind::Honest(5, json!(1))));
    let key = HmacKey::new(KEY).expect("key");
    let client = Client::new(vec![address.ip()], key).expect("client").port(address.port());
    assert_eq!(client.ping().await.expect("answer").value, 1);
    task.abort();
}
