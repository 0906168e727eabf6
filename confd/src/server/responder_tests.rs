use super::*;
use crate::server::testing::{Echo, NOW, answer, ask, key, sign};
use crate::wire::QueryType;
use proptest::prelude::*;
use std::sync::atomic::Ordering;

const PLAIN: Rules = Rules { skew: 150, sha256: false };

fn responder(rules: Rules) -> (Responder, Arc<Echo>) {
    let echo = Arc::new(Echo::default());
    (Responder::new(rules, echo.clone(), 1 << 20), echo)
}

fn respond(rules: Rules, datagram: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut out = b"before".to_vec();
    let result = responder(rules).0.respond(datagram, &key(), NOW, &mut out);
    assert!(out.starts_with(b"before"));
    out.drain(..6);
    assert_eq!(result.is_ok(), !out.is_empty(), "no answer leaves nothing behind");
    result.map(|()| out)
}

fn node(at: i64) -> Vec<u8> {
    ask(Tag::Sha1, at, QueryType::NodeRoleByName, "node1", "r1")
}

#[test]
fn an_answer_has_the_form_of_ganetis() {
    let datagram = respond(PLAIN, &node(NOW)).unwrap();
    let text = String::from_utf8(datagram.clone()).unwrap();
    assert!(text.starts_with("plj0{\"hmac\":\""), "{text}");
    assert!(
        text.ends_with(
            r#"","msg":"{\"protocol\":1,\"status\":0,\"answer\":\"node1\",\"serial\":0}","salt":"r1"}"#
        ),
        "{text}"
    );
    assert_eq!(answer(&datagram), ("r1".into(), "\"node1\"".into(), 0));
}

#[test]
fn clocks_may_differ_by_the_window_and_no_more() {
    for (off, answered) in [
        (0, true),
        (149, true),
        (-149, true),
        (150, true),
        (-150, true),
        (151, false),
        (-151, false),
    ] {
        let result = respond(PLAIN, &node(NOW + off));
        assert_eq!(result.is_ok(), answered, "{off} s: {result:?}");
        if !answered {
            assert_eq!(result, Err(Reason::Clock));
        }
    }
    let wide = Rules { skew: 300, ..PLAIN };
    assert!(respond(wide, &node(NOW - 300)).is_ok());
    assert_eq!(respond(wide, &node(NOW - 301)), Err(Reason::Clock));
    for far in [i64::MIN, i64::MAX] {
        assert_eq!(respond(wide, &node(far)), Err(Reason::Clock));
    }
    let msg = r#"{"protocol":1,"type":0,"rsalt":"x"}"#;
    assert!(respond(PLAIN, &sign(Tag::Sha1, " 1700000000", msg)).is_ok());
    for salt in ["", "1700000000 ", "+1700000000", "1700000000.0", "0x6553f100"] {
        assert_eq!(respond(PLAIN, &sign(Tag::Sha1, salt, msg)), Err(Reason::Clock), "{salt:?}");
    }
}

#[test]
fn what_is_wrong_is_told_in_order() {
    let good = String::from_utf8(node(NOW)).unwrap();
    let wrong = |from: &str, to: &str| respond(PLAIN, good.replacen(from, to, 1).as_bytes());
    assert_eq!(wrong("plj0", "plj1"), Err(Reason::Magic));
    assert_eq!(wrong("\"salt\"", "\"sald\""), Err(Reason::Envelope));
    let extra = format!("{},\"key_selector\":\"\"}}", &good[..good.len() - 1]);
    assert_eq!(respond(PLAIN, extra.as_bytes()), Err(Reason::Envelope));
    assert_eq!(wrong("1700000000", "1600000000"), Err(Reason::Clock));
    assert_eq!(wrong("1700000000", "1700000001"), Err(Reason::Signature));
    assert_eq!(wrong("node1", "node2"), Err(Reason::Signature));
    assert!(respond(PLAIN, &good.as_bytes()[..good.len() - 1]).is_err());
    for msg in ["", "null", r#"{"protocol":1,"type":99,"rsalt":"x"}"#] {
        let signed = sign(Tag::Sha1, &NOW.to_string(), msg);
        assert_eq!(respond(PLAIN, &signed), Err(Reason::Question), "{msg}");
    }
    assert!(respond(PLAIN, format!("{good}\n").as_bytes()).is_ok());
}

#[test]
fn the_second_magic_is_answered_if_enabled() {
    let question = ask(Tag::Sha256, NOW, QueryType::NodeRoleByName, "node1", "r1");
    assert_eq!(respond(PLAIN, &question), Err(Reason::Magic));
    let datagram = respond(Rules { sha256: true, ..PLAIN }, &question).unwrap();
    assert!(datagram.starts_with(b"plj2"));
    assert_eq!(answer(&datagram), ("r1".into(), "\"node1\"".into(), 0));
    // The bytes of one with the tag of the other.
    let mut mixed = question;
    mixed[3] = b'0';
    assert_eq!(respond(Rules { sha256: true, ..PLAIN }, &mixed), Err(Reason::Signature));
}

#[test]
fn salts_and_answers_of_any_text_come_back() {
    let (query, rsalt) = ("nöde \"1\"\\\n\u{1}😀", "sält \"\\\u{0}😀");
    let question = ask(Tag::Sha1, NOW, QueryType::NodeRoleByName, query, rsalt);
    let (salt, said, _) = answer(&respond(PLAIN, &question).unwrap());
    assert_eq!(salt, rsalt);
    assert_eq!(serde_json::from_str::<String>(&said).unwrap(), query);
}

#[test]
fn answers_are_as_large_as_a_datagram_and_no_larger() {
    let long = |n: usize| ask(Tag::Sha1, NOW, QueryType::NodeInstances, &format!("long {n}"), "r");
    let small = respond(PLAIN, &long(1000)).unwrap().len();
    let most = MAX_REPLY - (small - 1000);
    assert_eq!(respond(PLAIN, &long(most)).unwrap().len(), MAX_REPLY);
    assert_eq!(respond(PLAIN, &long(most + 1)), Err(Reason::TooLarge));
    assert_eq!(respond(PLAIN, &long(1_000_000)), Err(Reason::TooLarge));
}

#[test]
fn large_answers_are_asked_for_once_in_a_generation() {
    let (mut responder, echo) = responder(PLAIN);
    let mut said = |question: &[u8]| {
        let mut out = vec![];
        responder.respond(question, &key(), NOW, &mut out).unwrap();
        (answer(&out), echo.asked.load(Ordering::Relaxed))
    };
    let large = |rsalt| ask(Tag::Sha1, NOW, QueryType::NodeInstances, "long 5000", rsalt);
    let ((salt, first, _), 1) = said(&large("a")) else { panic!("asked more than once") };
    assert_eq!((salt.as_str(), first.len()), ("a", 5002));
    let ((salt, again, _), 1) = said(&large("b")) else { panic!("asked again") };
    assert_eq!((salt.as_str(), again), ("b", first));
    assert_eq!(said(&node(NOW)).1, 2);
    assert_eq!(said(&node(NOW)).1, 3, "small ones are not kept");
    echo.generation.store(7, Ordering::Relaxed);
    let ((_, _, serial), 4) = said(&large("c")) else { panic!("not asked anew") };
    assert_eq!(serial, 7);
}

#[test]
fn a_long_list_of_addresses_is_understood() {
    let ips = (0..400).map(|n| format!("10.0.{}.{}", n / 250, n % 250).into()).collect();
    let query = Query::Dict(crate::wire::Dict { ips, ..Default::default() });
    let kind = QueryType::NodePipByInstanceIp;
    let msg = Request { kind, query, rsalt: "r".into() }.message();
    let question = sign(Tag::Sha1, &NOW.to_string(), &msg);
    assert!(question.len() > 4157);
    assert!(respond(PLAIN, &question).is_ok());
}

proptest! {
    #[test]
    fn changed_questions_never_panic_and_are_not_answered(
        at in any::<prop::sample::Index>(), length in 0usize..8, put in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let good = node(NOW);
        let at = at.index(good.len());
        let end = good.len().min(at + length);
        let changed = [&good[..at], &put, &good[end..]].concat();
        if respond(PLAIN, &changed).is_ok() {
            // Then it says the same, in other words.
            let (changed, good) = (Envelope::parse(&changed), Envelope::parse(&good));
            prop_assert_eq!(
                changed.map(|e| (e.msg, e.salt, e.hmac.to_ascii_lowercase())),
                good.map(|e| (e.msg, e.salt, e.hmac.into_owned()))
            );
        }
    }
}
