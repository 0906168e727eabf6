//! `gnt-confd-client` against daemons that are played here.

use super::{Ran, run_answering};
use crate::context::Environment;
use roost_confd::wire::{Envelope, HmacKey, Query, QueryType, Request};
use roost_proto::paths::Paths;
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;
use tokio::net::UdpSocket;

const KEY: &[u8] = b"0123456789abcdef\n";

/// A machine with candidates 127.0.0.1 and 127.0.0.2, whose confds answer alike but for their serials.
struct Machine {
    root: TempDir,
    port: u16,
}

fn says(request: &Request<'_>, serial: u64) -> (u8, Value, u64) {
    let text = match &request.query {
        Query::Text(text) => text.to_string(),
        _ => String::new(),
    };
    let value = match (request.kind, &request.query) {
        (QueryType::Ping, _) => return (0, json!(3_020_000), 0),
        (QueryType::NodeRoleByName, _) if text == "nope" => {
            return (1, json!("Node name nope not found"), 0);
        }
        (QueryType::NodeRoleByName, _) => json!(3),
        (QueryType::NodePipByInstanceIp, Query::Dict(dict)) if dict.ip.is_some() => {
            if dict.link.as_deref() == Some("br9") {
                return (1, json!(0), 0);
            }
            json!("192.0.2.1")
        }
        (QueryType::NodePipByInstanceIp, _) => json!([[0, "192.0.2.1", 5], [1, 0, 0]]),
        (QueryType::ClusterMaster, Query::Dict(dict)) => {
            json!(dict.fields.iter().map(|field| format!("{field:?}")).collect::<Vec<_>>())
        }
        (QueryType::ClusterMaster, _) => json!(format!("master{serial}")),
        (QueryType::NodePipList, _) => json!(["192.0.2.2", "192.0.2.1"]),
        (QueryType::McPipList, _) => json!(["192.0.2.1"]),
        (QueryType::InstancesIpsList, _) => json!(["10.0.0.1", format!("on {text}")]),
        (QueryType::NodeDrbd, _) => json!([
            ["node1", 0, "inst1", "disk/0", "primary", "node2"],
            ["node1", 11, "inst2.example.org", "disk/0", "secondary", "node2"]
        ]),
        (QueryType::NodeInstances, _) => {
            json!([[{"name": "a", "uuid": "u", "admin_state": "up"}], [{"name": "b"}]])
        }
        (QueryType::InstanceDisks, _) => {
            json!([{"uuid": "d", "size": 1024, "dev_type": "plain", "logical_id": ["vg", "lv"]}])
        }
        (QueryType::ConfigQuery, _) => json!({"asked": text}),
        (QueryType::DataCollectors, _) => {
            json!({"lv": {"active": false, "interval": 60_000_000}})
        }
        (QueryType::NodeGuests, _) => json!({"total": 1, "instances":
            [["a", "u", "up", "kvm", true, [["vg", "lv1"], ["vg", "lv2"]], 1.5]]}),
    };
    (0, value, serial)
}

async fn serve(socket: UdpSocket, serial: u64) {
    let key = HmacKey::new(KEY).expect("key");
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.expect("receive");
        let envelope = Envelope::parse(&buffer[..length]).expect("a datagram");
        if !envelope.verify(&key) {
            continue;
        }
        let request = Request::parse(&envelope.msg).expect("a question");
        let (status, answer, serial) = says(&request, serial);
        let msg = json!({"protocol": 1, "status": status, "answer": answer, "serial": serial});
        let mut out = Vec::new();
        Envelope::write(&key, envelope.tag, &request.rsalt, &msg.to_string(), &mut out);
        socket.send_to(&out, from).await.expect("send");
    }
}

impl Machine {
    async fn start() -> Machine {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        fs::create_dir_all(paths.data_dir()).expect("directory");
        fs::write(paths.data_dir().join("hmac.key"), KEY).expect("key");
        let candidates = "127.0.0.1\n127.0.0.2\n";
        fs::write(paths.ssconf("master_candidates_ips"), candidates).expect("ssconf");
        loop {
            let one = UdpSocket::bind("127.0.0.1:0").await.expect("socket");
            let port = one.local_addr().expect("address").port();
            let Ok(other) = UdpSocket::bind(("127.0.0.2", port)).await else { continue };
            tokio::spawn(serve(one, 5));
            tokio::spawn(serve(other, 6));
            return Machine { root, port };
        }
    }

    async fn run(&self, words: &str) -> Ran {
        let environment =
            Environment { root: Some(self.root.path().to_owned()), ..Environment::default() };
        let line = format!("gnt-confd-client {words} --port {}", self.port);
        run_answering(&line, environment, &[]).await
    }
}

#[tokio::test]
async fn every_question_has_its_lines() {
    let machine = Machine::start().await;
    let table = [
        ("ping", "3020000\n"),
        ("role node1", "drained\n"),
        ("instance-ip 10.0.0.1", "192.0.2.1\n"),
        ("instance-ip 10.0.0.1 10.0.0.2", "10.0.0.1 192.0.2.1\n10.0.0.2 unknown\n"),
        ("master", "master6\n"),
        ("master --fields pip,name", "MasterPip\nName\n"),
        ("nodes", "192.0.2.2\n192.0.2.1\n"),
        ("candidates", "192.0.2.1\n"),
        ("ips", "10.0.0.1\non \n"),
        ("ips br1", "10.0.0.1\non br1\n"),
        (
            "drbd node1",
            "Node  Minor Instance          Disk   Role      PeerNode\n\
             node1     0 inst1             disk/0 primary   node2\n\
             node1    11 inst2.example.org disk/0 secondary node2\n",
        ),
        (
            "instances node1",
            "Instance Role      State UUID\na        primary   up    u\nb        secondary -     -\n",
        ),
        (
            "guests node1",
            "Instance Role    State Hypervisor Volumes\n\
             a        primary up    kvm        vg/lv1,vg/lv2\n",
        ),
        (
            "disks a",
            "Disk   Template  MiB UUID LogicalId\ndisk/0 plain    1024 d    [\"vg\",\"lv\"]\n",
        ),
        ("config /cluster", "{\n  \"asked\": \"/cluster\"\n}\n"),
        ("collectors", "Collector Active Seconds\nlv        N         60.0\n"),
    ];
    for (words, expected) in table {
        let ran = machine.run(words).await;
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, expected, ""), "{words}");
    }
}

#[tokio::test]
async fn all_shows_what_each_says() {
    let machine = Machine::start().await;
    let ran = machine.run("master --all").await;
    assert_eq!(ran.out, "127.0.0.1: serial 5\n  master5\n127.0.0.2: serial 6\n  master6\n");
    let ran = machine.run("master --all --json").await;
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&report["answer"], &report["serial"]), (&json!("master6"), &json!(6)));
    assert_eq!(report["answers"].as_array().map(Vec::len), Some(2));
    // Only one is asked, so there is only one answer.
    let ran = machine.run("master --address 127.0.0.1").await;
    assert_eq!(ran.out, "master5\n");
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let machine = Machine::start().await;
    let ran = machine.run("role nope").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("says: Node name nope not found"), "{}", ran.err);
    let ran = machine.run("instance-ip 10.0.0.1 --link br9").await;
    assert!(ran.code == 1 && ran.err.contains("knows no such thing"), "{}", ran.err);
    // With another key nobody is understood.
    let key = machine.root.path().join("key");
    fs::write(&key, "another").expect("key");
    let words = format!("ping --timeout 0.2 --hmac-key {}", key.display());
    let ran = machine.run(&words).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    for word in ["127.0.0.1, 127.0.0.2", &machine.port.to_string(), "firewall", "clocks", "key"] {
        assert!(ran.err.contains(word), "'{word}' in: {}", ran.err);
    }
    let ran = machine.run("ping --address ::1 --address 127.0.0.1").await;
    assert!(ran.code == 1 && ran.err.contains("all of IPv6"), "{}", ran.err);
    let ran = machine.run("ping --timeout -1").await;
    assert_eq!((ran.code, ran.err.as_str()), (1, "'-1' is no time to wait\n"));
    fs::remove_file(machine.root.path().join("var/lib/ganeti/ssconf_master_candidates_ips"))
        .expect("remove");
    let ran = machine.run("ping").await;
    assert!(ran.code == 1 && ran.err.contains("--address says whom to ask"), "{}", ran.err);
}

#[tokio::test]
async fn list_drbd_needs_the_clusters_key() {
    let ran = super::run_alone("gnt-node list-drbd node1").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("Query gave no answer: Cannot read "), "{}", ran.err);
}
