//! Our client asks our server, over UDP: whatever is asked, the answer is what the view says.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use proptest::collection::vec;
use proptest::prelude::*;
use roost_confd::answers::Answers;
use roost_confd::client::Client;
use roost_confd::clock::Clock;
use roost_confd::feed::{Feed, Source, ViewSink};
use roost_confd::keyring::Keyring;
use roost_confd::server::{Bound, Rules, Server, Settings};
use roost_confd::view::Shared;
use roost_confd::wire::{CLOCK_SKEW, Dict, Field, HmacKey, Query, QueryType, Request, Tag};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef01234567\n";

/// A server of the recorded configuration, with names that are not ASCII in it.
struct World {
    view: Arc<Shared>,
    server: Server,
    runtime: Runtime,
    /// Names, addresses, links, UUIDs: all texts of the configuration.
    words: Vec<String>,
    /// Pointers into it.
    pointers: Vec<String>,
    _feed: Feed,
    _dir: tempfile::TempDir,
}

fn collect(value: &Value, at: &str, words: &mut BTreeSet<String>, pointers: &mut Vec<String>) {
    pointers.push(at.to_owned());
    match value {
        Value::String(text) => drop(words.insert(text.clone())),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, &format!("{at}/{i}"), words, pointers);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                words.insert(key.clone());
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(value, &format!("{at}/{key}"), words, pointers);
            }
        }
        _ => {}
    }
}

fn world() -> World {
    let text = include_str!("../fixtures/confd-config.data.json")
        .replace("node2.example.org", "knöten2.example.org")
        .replace("inst1.example.org", "übung-日本-\u{1F680}.example.org")
        .replace("br1", "brücke1");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    let (mut words, mut pointers) = (BTreeSet::new(), Vec::new());
    collect(&config, "", &mut words, &mut pointers);
    assert!(words.iter().any(|word| word.starts_with("knöten2")), "names that are not ASCII");
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("config.data");
    std::fs::write(&file, text).expect("write");
    let view = Arc::new(Shared::new());
    let sink = Box::new(ViewSink::new(view.clone()));
    let feed = Feed::start(Source::File(file), sink).expect("a thread");
    let started = Instant::now();
    while !view.is_loaded() {
        assert!(started.elapsed() < Duration::from_secs(60), "the configuration is loaded");
        std::thread::yield_now();
    }
    let settings = Settings {
        address: "127.0.0.1:0".parse().expect("address"),
        sockets: 2,
        rules: Rules { skew: CLOCK_SKEW.unsigned_abs(), sha256: true },
    };
    let key = Arc::new(Keyring::fixed(HmacKey::new(KEY).expect("key")));
    let answers: Arc<dyn Answers> = view.clone();
    let bound = Bound::open(settings).expect("sockets");
    let server = bound.serve(&answers, &key, Clock::Machine).expect("threads");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    World {
        view,
        server,
        runtime: runtime.expect("runtime"),
        words: words.into_iter().collect(),
        pointers,
        _feed: feed,
        _dir: dir,
    }
}

impl World {
    fn client(&self, tag: Tag) -> Client {
        let address = self.server.address();
        let key = HmacKey::new(KEY).expect("key");
        let client = Client::new(vec![address.ip()], key).expect("client");
        // A datagram that is lost on a loaded machine is asked again long before.
        client.port(address.port()).tag(tag).timeout(Duration::from_secs(60))
    }

    /// What the view says, without a network.
    fn says(&self, kind: QueryType, query: Query<'_>) -> (u8, u64, String) {
        let mut out = Vec::new();
        let request = Request { kind, query, rsalt: Cow::Borrowed("x") };
        let head = self.view.answer(&request, &mut out);
        (head.status as u8, head.serial, String::from_utf8(out).expect("ASCII"))
    }

    /// What the client hears.
    fn hears(&self, tag: Tag, kind: QueryType, query: Query<'_>) -> (u8, u64, String) {
        let outcome = self.runtime.block_on(self.client(tag).ask(kind, query)).expect("an answer");
        let reply = &outcome.best().reply;
        (reply.status as u8, reply.serial, reply.answer.get().to_owned())
    }
}

/// A text: one of the configuration, a pointer into it, a piece or a variation of one, or anything.
fn text(world: &World) -> impl Strategy<Value = String> + use<> {
    let (words, pointers) = (world.words.clone(), world.pointers.clone());
    let names: Vec<String> =
        words.iter().filter(|word| word.ends_with(".example.org")).cloned().collect();
    let names = proptest::sample::select(names);
    let word = proptest::sample::select(words);
    prop_oneof![
        4 => names,
        4 => word.clone(),
        2 => proptest::sample::select(pointers),
        1 => (word.clone(), 0_usize..20)
            .prop_map(|(word, length)| word.chars().take(length).collect()),
        1 => (word, "[#/~.][0-9]{0,3}").prop_map(|(word, end)| word + &end),
        1 => "\\PC{0,24}",
        1 => any::<String>(),
    ]
}

fn query(world: &World) -> impl Strategy<Value = Query<'static>> + use<> {
    let field = proptest::sample::select(vec![Field::Name, Field::Ip, Field::MasterPip]);
    let one = || proptest::option::of(text(world).prop_map(Cow::Owned));
    let many = vec(text(world).prop_map(Cow::Owned), 0..5);
    prop_oneof![
        1 => Just(Query::Empty),
        3 => text(world).prop_map(|text| Query::Text(Cow::Owned(text))),
        2 => (one(), one(), many, vec(field, 0..5)).prop_map(|(link, ip, ips, fields)| {
            Query::Dict(Dict { link, ip, ips, fields })
        }),
    ]
}

#[test]
fn whatever_is_asked_the_answer_is_that_of_the_view() {
    let world = world();
    let kind = proptest::sample::select(QueryType::ALL.to_vec());
    let tag = proptest::sample::select(vec![Tag::Sha1, Tag::Sha256]);
    let config = ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() };
    let mut answered = BTreeSet::new();
    let seen = std::cell::RefCell::new(&mut answered);
    proptest!(config, |((kind, query, tag) in (kind, query(&world), tag))| {
        let said = world.says(kind, query.clone());
        let heard = world.hears(tag, kind, query);
        seen.borrow_mut().insert((kind, said.0));
        prop_assert_eq!(heard, said);
    });
    // Random questions must not all be refused.
    for kind in QueryType::ALL {
        assert!(answered.contains(&(kind, 0)), "{kind:?} was answered at least once");
    }
}

#[test]
fn the_typed_questions_are_understood() {
    let world = world();
    let ask = world.client(Tag::Sha1);
    let text = |kind, text: &str| {
        let (status, _, answer) = world.says(kind, Query::Text(text.to_owned().into()));
        assert_eq!(status, 0, "{kind:?} {text}");
        serde_json::from_str::<Value>(&answer).expect("JSON")
    };
    for node in ["node1.example.org", "knöten2.example.org"] {
        let role = world.runtime.block_on(ask.node_role(node)).expect("role");
        assert_eq!(Value::from(role.value as u8), text(QueryType::NodeRoleByName, node));
        let minors = world.runtime.block_on(ask.node_drbd(node)).expect("minors");
        let rows = text(QueryType::NodeDrbd, node);
        assert_eq!(Some(minors.value.len()), rows.as_array().map(Vec::len));
        let instances = world.runtime.block_on(ask.node_instances(node)).expect("instances").value;
        let both = text(QueryType::NodeInstances, node);
        assert_eq!(Value::from(instances.primary.clone()), both[0]);
        assert_eq!(Value::from(instances.secondary.clone()), both[1]);
        let guests = world.runtime.block_on(ask.node_guests(node)).expect("guests").value;
        let names = |instances: &[Value]| -> BTreeSet<String> {
            instances.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect()
        };
        let here: BTreeSet<String> =
            guests.iter().filter(|guest| guest.primary).map(|guest| guest.name.clone()).collect();
        assert_eq!(here, names(&instances.primary));
        assert_eq!(guests.len(), instances.primary.len() + instances.secondary.len());
    }
    let instance = "übung-日本-\u{1F680}.example.org";
    let disks = world.runtime.block_on(ask.instance_disks(instance)).expect("disks").value;
    assert_eq!(Value::from(disks), text(QueryType::InstanceDisks, instance));
    let master = world.runtime.block_on(ask.cluster_master()).expect("master").value;
    assert_eq!(master, "node1.example.org");
    let nobody = world.runtime.block_on(ask.node_role("nobody")).expect_err("unknown");
    assert!(nobody.is_unknown(), "{nobody}");
    assert!(nobody.to_string().contains("Node name nobody not found"), "{nobody}");
    let collectors = world.runtime.block_on(ask.data_collectors()).expect("collectors").value;
    assert!(collectors.contains_key("cpu-avg-load"), "{collectors:?}");
    let pips = world.runtime.block_on(ask.node_pips()).expect("addresses").value;
    let candidates = world.runtime.block_on(ask.mc_pips()).expect("addresses").value;
    assert!(!candidates.is_empty() && candidates.iter().all(|pip| pips.contains(pip)));
}
