//! What confd says reaches the collectors; its silence changes nothing.

use crate::client::get;
use crate::fakes::{collectors, serve};
use roost_confd::wire::{Envelope, HmacKey, QueryType, Request, Tag};
use roost_mond::helper::Helper;
use roost_mond::http::Limits;
use roost_mond::plugins::Plugins;
use roost_mond::schedule::Schedule;
use roost_mond::settings::Settings;
use roost_mond::world::World;
use roost_proto::paths::Paths;
use roost_proto::secrets::SecretFile;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef01234567\n";

/// A confd that says this of collectors.
async fn confd(socket: UdpSocket, collectors: Value) {
    let key = HmacKey::new(KEY).unwrap();
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let envelope = Envelope::parse(&buffer[..length]).unwrap();
        let request = Request::parse(&envelope.msg).unwrap();
        let answer = if request.kind == QueryType::DataCollectors {
            collectors.clone()
        } else if request.kind == QueryType::NodeDrbd {
            json!([["node1", 3, "inst1.example.org", "disk/0", "primary", "node2"]])
        } else {
            let guest = json!({"name": "inst1.example.org", "uuid": "u-1", "admin_state": "up",
                "hypervisor": "kvm", "primary": true, "volumes": [["vg", "lv1"]], "mtime": 5.5});
            json!({"total": 1, "instances": [guest]})
        };
        let msg = json!({"protocol": 1, "status": 0, "answer": answer, "serial": 7});
        let mut out = vec![];
        Envelope::write(&key, Tag::Sha1, &request.rsalt, &msg.to_string(), &mut out);
        socket.send_to(&out, from).await.unwrap();
    }
}

#[tokio::test]
async fn the_clusters_switches_and_view_arrive_and_stay() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(Some(root.path().to_owned()));
    std::fs::create_dir_all(paths.data_dir()).unwrap();
    let world = World::new(paths.clone(), Helper::default());
    let schedule = Schedule::new(world.clone(), collectors());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let plugins = Plugins::new(paths.collector_plugins(), 0);
    let settings = Settings::new(world.clone(), schedule.clone(), plugins);
    let mut settings = settings.confd_port(port);
    let known = settings.known();
    let sender = tokio::sync::watch::Sender::new(true);
    let mond = serve(schedule, sender, Limits::default(), None);
    let listed = async || get(mond.address, "/1/list/collectors").await.body;

    // In no cluster: all that there are, and nothing to wait for.
    settings.once().await;
    assert!(*known.borrow());
    assert!(listed().await.contains("switched-off"));
    assert_eq!(world.cluster().node, None);

    std::fs::write(paths.secret(SecretFile::ConfdHmacKey), KEY).unwrap();
    std::fs::write(paths.ssconf("master_candidates_ips"), "127.0.0.1\n").unwrap();
    std::fs::write(paths.ssconf("hypervisor_list"), "kvm\nlxc\n").unwrap();
    let wishes = json!({
        "switched-off": {"active": false, "interval": 5_000_000.0},
        "good": {"active": true, "interval": 60_000_000.0},
        "unknown-here": {"active": true, "interval": 5_000_000.0},
    });
    let confd = tokio::spawn(confd(socket, wishes));
    settings.once().await;
    let list = r#"[["good","default",0],["judge","storage",1],["fails","instance",0],["hangs","daemon",1]]"#;
    assert_eq!(listed().await, list);
    let view = world.cluster();
    assert_eq!(view.enabled_hypervisors, ["kvm", "lxc"]);
    assert_eq!(view.drbd, [(3, "inst1.example.org".to_owned())]);
    assert_eq!((view.guests.len(), view.guests[0].name.as_str()), (1, "inst1.example.org"));
    assert_eq!(view.guests[0].volumes, [("vg".to_owned(), "lv1".to_owned())]);

    // Nobody answers any more: everything stays.
    confd.abort();
    let _ = confd.await;
    settings.once().await;
    assert_eq!(listed().await, list);
    assert_eq!(world.cluster(), view);
}
