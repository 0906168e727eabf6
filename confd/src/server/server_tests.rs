use super::testing::{Echo, NOW, answer, ask, key};
use super::*;
use crate::wire::{QueryType, Tag};
use std::net::UdpSocket;
use std::time::Duration;

const RULES: Rules = Rules { skew: 150, sha256: false };

fn serve(address: &str, sockets: usize) -> Server {
    let settings = Settings { address: address.parse().unwrap(), sockets, rules: RULES };
    let answers: Arc<dyn Answers> = Arc::new(Echo::default());
    let ring = Arc::new(Keyring::fixed(key()));
    Bound::open(settings).unwrap().serve(&answers, &ring, Clock::Frozen(NOW)).unwrap()
}

fn client(address: &str) -> UdpSocket {
    let client = UdpSocket::bind(address).unwrap();
    // Not a matter of speed: a test that fails should end.
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client
}

fn question(query: &str, rsalt: &str) -> Vec<u8> {
    ask(Tag::Sha1, NOW, QueryType::NodeRoleByName, query, rsalt)
}

fn receive(client: &UdpSocket) -> (SocketAddr, (String, String, u64)) {
    let mut room = vec![0; 1 << 16];
    let (length, from) = client.recv_from(&mut room).unwrap();
    (from, answer(&room[..length]))
}

#[test]
fn questions_of_many_are_answered_and_garbage_is_not() {
    let server = serve("127.0.0.1:0", 2);
    let to = server.address();
    let clients: Vec<UdpSocket> = (0..20).map(|_| client("127.0.0.1:0")).collect();
    for (at, client) in clients.iter().enumerate() {
        client.send_to(b"plj0{\"garbage\":1}", to).unwrap();
        client.send_to(b"no protocol at all", to).unwrap();
        for n in 0..5 {
            client.send_to(&question(&format!("node{at}"), &format!("salt{n}")), to).unwrap();
        }
    }
    for (at, client) in clients.iter().enumerate() {
        for n in 0..5 {
            let (from, (salt, said, _)) = receive(client);
            assert_eq!((from, salt), (to, format!("salt{n}")));
            assert_eq!(said, format!("\"node{at}\""));
        }
        client.set_nonblocking(true).unwrap();
        assert!(client.recv(&mut [0]).is_err(), "one answer to one question");
    }
    let totals = server.stop().unwrap();
    assert_eq!((totals.answered, totals.drops().as_str()), (100, "envelope 20"));
    assert!(totals.received >= 120, "{totals:?}");
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    // All of 127/8 is this machine.
    let server = serve("0.0.0.0:0", 1);
    let port = server.address().port();
    let client = client("127.0.0.1:0");
    for turn in 0..3 {
        for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3", "127.0.0.2"] {
            let to = SocketAddr::new(asked.parse().unwrap(), port);
            client.send_to(&question(asked, &turn.to_string()), to).unwrap();
        }
        for asked in ["127.0.0.1", "127.0.0.2", "127.1.2.3", "127.0.0.2"] {
            let (from, (_, said, _)) = receive(&client);
            assert_eq!(from.ip().to_string(), asked);
            assert_eq!(said, format!("\"{asked}\""));
        }
    }
}

#[test]
fn both_families_are_answered() {
    let server = serve("[::]:0", 2);
    let port = server.address().port();
    for (own, asked) in
        [("[::1]:0", "::1"), ("127.0.0.1:0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.9")]
    {
        let client = client(own);
        let to = SocketAddr::new(asked.parse().unwrap(), port);
        client.send_to(&question("node", "x"), to).unwrap();
        assert_eq!(receive(&client).0, to);
    }
    let only = serve("[::1]:0", 1);
    let client = client("[::1]:0");
    client.send_to(&question("node", "x"), only.address()).unwrap();
    assert_eq!(receive(&client).0, only.address());
}

#[test]
fn the_largest_questions_and_answers_pass() {
    let server = serve("127.0.0.1:0", 1);
    let client = client("127.0.0.1:0");
    let rsalt = "s".repeat(65_507 - question("long 10", "").len());
    let largest = question("long 10", &rsalt);
    assert_eq!(largest.len(), 65_507);
    client.send_to(&largest, server.address()).unwrap();
    // Its answer repeats the salt, escaped no longer, and is shorter.
    assert_eq!(receive(&client).1.0, rsalt);
    client.send_to(&question("long 66000", "too large"), server.address()).unwrap();
    for turn in 0..20 {
        let salt = turn.to_string();
        client.send_to(&question("long 60000", &salt), server.address()).unwrap();
        let (_, (heard, said, _)) = receive(&client);
        assert_eq!((heard, said.len()), (salt, 60_002));
    }
    assert_eq!(server.stop().unwrap().drops(), "too_large 1");
}

#[test]
fn an_answer_that_cannot_be_sent_holds_up_nobody() {
    let server = serve("127.0.0.1:0", 1);
    // A raw socket could ask from port 0; here one that is gone when the answer comes will do.
    let (gone, stays) = (client("127.0.0.1:0"), client("127.0.0.1:0"));
    gone.send_to(&question("node", "gone"), server.address()).unwrap();
    drop(gone);
    stays.send_to(&question("node", "stays"), server.address()).unwrap();
    assert_eq!(receive(&stays).1.0, "stays");
}

#[test]
fn a_stopped_server_gives_its_address_back() {
    let server = serve("127.0.0.1:0", 2);
    let address = server.address();
    assert!(!server.is_broken());
    server.stop().unwrap();
    let again = serve(&address.to_string(), 1);
    assert_eq!(again.address(), address);
}
