//! Exchanges recorded with Ganeti's client and daemon, repeated with ours; and all that must have no
//! answer.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod daemon;

use daemon::{Asker, Daemon, KEY, NOW, PING, content, salt_of, signed, signed_with, vectors};
use roost_confd::wire::Tag;
use serde_json::{Value, json};

/// Whole floats may be written as integers.
fn numbers_alike(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.as_f64()),
        Value::Array(list) => list.iter_mut().for_each(numbers_alike),
        Value::Object(object) => object.values_mut().for_each(numbers_alike),
        _ => {}
    }
}

#[test]
fn recorded_questions_have_the_recorded_answers() {
    let daemon = Daemon::start(&["--clock", "1700000000"]);
    let asker = Asker::of(&daemon);
    let vectors = vectors();
    assert_eq!(vectors.len(), 23);
    for vector in vectors {
        let text = |key: &str| vector[key].as_str().unwrap().as_bytes();
        let answer = asker.ask(text("request"));
        assert!(answer.is_ascii());
        let (mut seen, mut recorded) = (content(&answer), content(text("response")));
        numbers_alike(&mut seen.3);
        numbers_alike(&mut recorded.3);
        assert_eq!(seen, recorded, "{}", vector["name"]);
        // Ganeti's daemon writes them in this order.
        assert!(answer.starts_with(b"plj0{\"hmac\":\""));
    }
}

#[test]
fn what_is_malformed_has_no_answer() {
    let daemon = Daemon::start(&["--clock", "1700000000", "--sockets", "1"]);
    let asker = Asker::of(&daemon);
    let now = NOW.to_string();
    let good = String::from_utf8(signed(&now, PING)).unwrap();
    assert_eq!(salt_of(&asker.ask(good.as_bytes())), "ping");
    let edited = |from: &str, to: &str| {
        let edited = good.replacen(from, to, 1);
        assert_ne!(edited, good, "{from}");
        edited.into_bytes()
    };
    let inner = |msg: &str| signed(&now, msg);
    let query =
        |json: &str| inner(&format!(r#"{{"protocol":1,"type":3,"query":{json},"rsalt":"bad"}}"#));
    let with_end = |end: &str| format!("{}{end}", &good[..good.len() - 1]).into_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("an empty datagram", vec![]),
        ("the magic alone", b"plj0".to_vec()),
        ("another magic", edited("plj0", "plj1")),
        ("the second magic, not enabled", signed_with(KEY, Tag::Sha256, &now, PING)),
        ("no JSON", b"plj0 hello".to_vec()),
        ("cut JSON", good.as_bytes()[..good.len() - 1].to_vec()),
        ("a list", b"plj0[\"\",\"\",\"\"]".to_vec()),
        ("an extra key", with_end(",\"key_selector\":\"\"}")),
        ("a key twice", with_end(",\"salt\":\"1700000000\"}")),
        ("a salt that is a number", edited("\"1700000000\"", "1700000000")),
        ("text behind it", format!("{good}x").into_bytes()),
        ("another key", signed_with("another\n", Tag::Sha1, &now, PING)),
        ("the key without its newline", signed_with(KEY.trim_end(), Tag::Sha1, &now, PING)),
        ("an empty HMAC", b"plj0{\"hmac\":\"\",\"msg\":\"\",\"salt\":\"1700000000\"}".to_vec()),
        ("another message", edited("ping", "pong")),
        ("a salt with a plus", signed("+1700000000", PING)),
        ("a salt with a blank behind", signed("1700000000 ", PING)),
        ("a salt with a fraction", signed("1700000000.0", PING)),
        ("an empty salt", signed("", PING)),
        ("151 seconds late", signed(&(NOW - 151).to_string(), PING)),
        ("151 seconds early", signed(&(NOW + 151).to_string(), PING)),
        ("a message that is no JSON", inner("hello")),
        ("an unknown type", inner(r#"{"protocol":1,"type":99,"rsalt":"bad"}"#)),
        ("a type that is text", inner(r#"{"protocol":1,"type":"0","rsalt":"bad"}"#)),
        ("an unknown field", inner(r#"{"protocol":1,"type":0,"rsalt":"bad","x":1}"#)),
        ("no protocol", inner(r#"{"type":0,"rsalt":"bad"}"#)),
        ("no salt for the answer", inner(r#"{"protocol":1,"type":0}"#)),
        ("a list as query", query("[]")),
        ("a number as query", query("1")),
        ("a boolean as query", query("true")),
        ("an unknown key in the query", query(r#"{"4":"x"}"#)),
        ("an unknown field of the answer", query(r#"{"3":[3]}"#)),
    ];
    for (what, datagram) in cases {
        asker.send(&datagram);
        asker.hears_nothing_but_a_good_answer(what);
    }
}

#[test]
fn what_is_unusual_but_right_is_answered() {
    let daemon = Daemon::start(&["--clock", "1700000000"]);
    let asker = Asker::of(&daemon);
    let good = String::from_utf8(signed(&NOW.to_string(), PING)).unwrap();
    // The tag stands between the first two quotes that follow `"hmac":`.
    let at = good.find("\"hmac\":\"").unwrap() + 8;
    let uppercase =
        format!("{}{}{}", &good[..at], good[at..at + 40].to_uppercase(), &good[at + 40..]);
    assert_ne!(uppercase, good);
    for datagram in [
        uppercase.into_bytes(),
        format!("{good} \r\n\t\n").into_bytes(),
        signed("  1700000000", PING),
        signed(&(NOW - 149).to_string(), PING),
        signed(&(NOW + 149).to_string(), PING),
        signed(&(NOW - 150).to_string(), PING),
        signed(&(NOW + 150).to_string(), PING),
        signed(&NOW.to_string(), &PING.replace("\"protocol\":1", "\"protocol\":7")),
        signed(&NOW.to_string(), &format!(" {PING}\n")),
    ] {
        let (_, _, salt, msg) = content(&asker.ask(&datagram));
        assert_eq!(salt, "ping");
        assert_eq!(msg, json!({"protocol": 1, "status": 0, "answer": 3_020_000, "serial": 0}));
    }
    let fields = |list: &str| {
        let query = format!(r#"{{"protocol":1,"type":3,"query":{{"3":{list}}},"rsalt":"x"}}"#);
        content(&asker.ask(&signed(&NOW.to_string(), &query))).3["answer"].clone()
    };
    assert_eq!(fields(r#"["0","2"]"#), fields("[0,2]"), "as Ganeti's testing client asks");
    assert!(fields("[0]")[0].is_string());
}

#[test]
fn questions_longer_than_ganeti_takes_are_answered() {
    let daemon = Daemon::start(&["--clock", "1700000000"]);
    let asker = Asker::of(&daemon);
    for length in [3857, 4157, 65_000] {
        let empty = signed(&NOW.to_string(), r#"{"protocol":1,"type":0,"rsalt":""}"#).len();
        let rsalt = "r".repeat(length - empty);
        let msg = format!(r#"{{"protocol":1,"type":0,"rsalt":"{rsalt}"}}"#);
        let datagram = signed(&NOW.to_string(), &msg);
        assert_eq!(datagram.len(), length);
        assert_eq!(salt_of(&asker.ask(&datagram)), rsalt);
    }
}

#[test]
fn both_families_of_addresses_are_served() {
    let daemon = Daemon::start_at("::", &["--clock", "1700000000"]);
    for own in ["::1", "127.0.0.1", "127.0.0.7"] {
        let asker = Asker::to(daemon.at(own));
        assert_eq!(salt_of(&asker.ask(&signed(&NOW.to_string(), PING))), "ping", "{own}");
    }
    let only = Daemon::start_at("::1", &["--clock", "1700000000"]);
    assert_eq!(salt_of(&Asker::of(&only).ask(&signed(&NOW.to_string(), PING))), "ping");
}

#[test]
fn sha256_is_answered_in_kind_if_asked_for() {
    let daemon = Daemon::start(&["--clock", "1700000000", "--sha256"]);
    let asker = Asker::of(&daemon);
    let answer = asker.ask(&signed_with(KEY, Tag::Sha256, &NOW.to_string(), PING));
    let (magic, _, salt, msg) = content(&answer);
    assert_eq!((magic.as_str(), salt.as_str()), ("plj2", "ping"));
    assert_eq!(msg["answer"], 3_020_000);
    let (magic, ..) = content(&asker.ask(&signed(&NOW.to_string(), PING)));
    assert_eq!(magic, "plj0", "the first one stays");
}

#[test]
fn the_window_of_the_clock_can_be_set() {
    let daemon = Daemon::start(&["--clock", "1700000000", "--clock-skew", "300", "--sockets", "1"]);
    let asker = Asker::of(&daemon);
    assert_eq!(salt_of(&asker.ask(&signed(&(NOW - 300).to_string(), PING))), "ping");
    asker.send(&signed(&(NOW - 301).to_string(), PING));
    asker.hears_nothing_but_a_good_answer("301 seconds");
}
