//! Whole nodeds in this process, asked over TLS.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Cluster, Master, Node};
use roost_noded::join::{Token, join};
use roost_noded::{Handle, credentials};
use roost_proto::node::{
    Action, Answer, DiskRole, GrowStage, GuestState, InstanceRef, Observation, Question,
};
use roost_proto::objects::Disk;
use roost_proto::rpc::node as rpc;
use roost_proto::rpc::node::node_client::NodeClient;
use roost_proto::rpc::node::run_event::Event;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use tonic::{Code, Request, Response, Status};

const INSTANCE: &str = "11111111-0000-4000-8000-000000000000";

/// A master candidate and another node with a running noded.
async fn pair() -> (Cluster, Node, Node, Handle, Master) {
    let cluster = Cluster::new();
    let (one, two) = (cluster.node(1), cluster.node(2));
    two.trust(&[&one]);
    let handle = two.start().await;
    let master = one.master(&cluster, &two, &handle).await;
    (cluster, one, two, handle, master)
}

fn delay(seconds: f64) -> Action {
    Action::Delay { duration: seconds }
}

fn instance() -> InstanceRef {
    serde_json::from_value(json!({"uuid": INSTANCE, "name": "web1.example.com"})).unwrap()
}

fn disk(n: u32, path: &str) -> Disk {
    serde_json::from_value(json!({
        "uuid": format!("22222222-0000-4000-8000-{n:012}"), "dev_type": "file", "size": 8,
        "logical_id": ["loop", format!("/srv/files/{path}")], "iv_name": format!("disk/{n}"),
    }))
    .unwrap()
}

#[tokio::test]
async fn only_certificates_of_the_cluster_are_let_in() {
    let (_cluster, one, two, handle, _master) = pair().await;
    // Another authority: neither side believes the other.
    let stranger = Cluster::new().node(1);
    let refused = stranger.channel(&two, &handle).await.expect_err("unknown authority");
    assert!(refused.message.contains("Cannot connect"), "{refused}");
    // It believes our authority, but its certificate is of another.
    fs::copy(one.paths.authority(), stranger.paths.authority()).unwrap();
    ask_refused(stranger.channel(&two, &handle).await).await;
    // No certificate at all.
    let mut roots = rustls::RootCertStore::empty();
    for certificate in credentials::certificates(&one.paths.authority()).unwrap() {
        roots.add(certificate).unwrap();
    }
    let mut config = rustls::ClientConfig::builder_with_provider(credentials::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = roost_proto::paths::certificate_name(two.id).try_into().unwrap();
    let address = handle.address().to_string();
    ask_refused(roost_noded::peer::channel(&address, name, config).await).await;
    // The right authority, the wrong node.
    let mut other = one;
    other.id = "00000000-0000-4000-8000-000000000009".parse().unwrap();
    let refused = two.channel(&other, &handle).await.expect_err("not that node");
    assert!(refused.message.contains("Cannot connect"), "{refused}");
}

/// In TLS 1.3 the client learns only with its first request that its certificate was refused.
async fn ask_refused(channel: roost_proto::error::Result<tonic::transport::Channel>) {
    if let Ok(channel) = channel {
        let forget = rpc::ForgetRequest { fence: None, jobs: vec![] };
        let status = NodeClient::new(channel).forget(forget).await.expect_err("refused");
        assert_ne!(status.code(), Code::InvalidArgument, "it reached the service");
    }
}

#[tokio::test]
async fn only_a_candidate_with_a_current_epoch_is_obeyed() {
    let (cluster, one, two, handle, mut master) = pair().await;
    master.epoch = 7;
    master.run(delay(0.0)).await.expect("obeyed");
    master.epoch = 6;
    let refused = master.again(&delay(0.0)).await.expect_err("epoch 6 is over");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains('6') && refused.message().contains('7'), "{refused}");
    master.epoch = 7;
    master.cluster = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let refused = master.again(&delay(0.0)).await.expect_err("another cluster");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut plain = cluster.node(3).master(&cluster, &two, &handle).await;
    plain.epoch = 100;
    let refused = plain.again(&delay(0.0)).await.expect_err("no candidate");
    assert_eq!(refused.code(), Code::PermissionDenied);
    // The list changes: so does who is obeyed. The stranger's epoch has not counted.
    let mut again = one.master(&cluster, &two, &handle).await;
    again.epoch = 7;
    again.run(delay(0.0)).await.expect("still the epoch");
    two.trust(&[]);
    again.again(&delay(0.0)).await.expect_err("no candidate any more");
    // A restarted noded remembers the epoch.
    two.trust(&[&one]);
    handle.stop();
    handle.ended().await.expect("ends");
    let handle = two.start().await;
    let mut again = one.master(&cluster, &two, &handle).await;
    again.epoch = 6;
    let refused = again.again(&delay(0.0)).await.expect_err("epoch 6 is over");
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_repeated_step_repeats_its_outcome_and_runs_once() {
    let (cluster, one, two, handle, mut master) = pair().await;
    let hooks = two.paths.hooks_dir().join("instance-add-post.d");
    fs::create_dir_all(&hooks).unwrap();
    let count = two.root.path().join("count");
    fs::write(
        hooks.join("count"),
        format!("#!/bin/sh\necho ran >> {}\necho said\n", count.display()),
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(hooks.join("count"), fs::Permissions::from_mode(0o755)).unwrap();
    let action: Action = serde_json::from_value(
        json!({"do": "hooks", "path": "instance-add", "phase": "post", "env": {}}),
    )
    .unwrap();
    let first = master.run(action.clone()).await.expect("hooks ran");
    assert_eq!((first.hooks[0].ok, first.hooks[0].output.as_str()), (Some(true), "said"));
    assert_eq!(master.again(&action).await.unwrap(), Ok(first.clone()));
    handle.stop();
    handle.ended().await.expect("ends");
    let handle = two.start().await;
    let job = master.job;
    let mut master = one.master(&cluster, &two, &handle).await;
    master.job = job;
    assert_eq!(master.again(&action).await.unwrap(), Ok(first));
    assert_eq!(fs::read_to_string(&count).unwrap(), "ran\n");
    let forget = rpc::ForgetRequest { fence: master.fence(), jobs: vec![job] };
    master.client.forget(forget).await.expect("forgotten");
    master.again(&action).await.unwrap().expect("hooks ran");
    assert_eq!(fs::read_to_string(&count).unwrap(), "ran\nran\n");
}

#[tokio::test]
async fn work_goes_on_when_the_asker_has_gone() {
    let (cluster, one, two, handle, mut master) = pair().await;
    let hooks = two.paths.hooks_dir().join("instance-stop-pre.d");
    fs::create_dir_all(&hooks).unwrap();
    let (begun, go) = (two.root.path().join("begun"), two.root.path().join("go"));
    let script = format!(
        "#!/bin/sh\necho >> {}\nwhile ! [ -e {} ]; do sleep 0.02; done\n",
        begun.display(),
        go.display()
    );
    fs::write(hooks.join("wait"), script).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(hooks.join("wait"), fs::Permissions::from_mode(0o755)).unwrap();
    let action: Action = serde_json::from_value(
        json!({"do": "hooks", "path": "instance-stop", "phase": "pre", "env": {}}),
    )
    .unwrap();
    let events = master.client.run(master.request(&action)).await.expect("obeyed");
    while !begun.exists() {
        tokio::task::yield_now().await;
    }
    drop(events);
    drop(master);
    let mut again = one.master(&cluster, &two, &handle).await;
    let mut events = again.client.run(again.request(&action)).await.expect("obeyed").into_inner();
    fs::write(&go, "").unwrap();
    let event = events.message().await.expect("stream").expect("outcome").event;
    assert!(matches!(event, Some(Event::Done(_))), "{event:?}");
    assert_eq!(fs::read_to_string(&begun).unwrap(), "\n", "it ran once");
}

#[tokio::test]
async fn an_instance_lives_on_a_node() {
    let (_cluster, _one, two, _handle, mut master) = pair().await;
    let watch = rpc::WatchRequest { fence: master.fence() };
    let mut seen = master.client.watch(watch).await.expect("obeyed").into_inner();
    let Observation::All { node, guests } = next(&mut seen).await else { panic!("all first") };
    assert!(guests.is_empty() && node.memory_total > 0 && node.storage.contains_key("/srv/files"));
    assert!(node.hypervisors["fake"].usable);

    let (instance, disks) = (instance(), vec![disk(0, "i1/disk0")]);
    let create = Action::DisksCreate { instance: instance.clone(), disks: disks.clone() };
    master.run(create).await.expect("disks are made");
    let (role, both) = (DiskRole::Primary, disks.clone());
    let assemble = Action::DisksAssemble {
        instance: instance.clone(),
        disks: both,
        role,
        force: false,
        ignore_size: false,
        alone: false,
    };
    let outcome = master.run(assemble).await.expect("assembled");
    let path = two.paths.absolute("/srv/files/i1/disk0").display().to_string();
    assert_eq!(outcome.devices, [path]);

    let guest = json!({
        "uuid": INSTANCE, "name": "web1.example.com", "hypervisor": "fake",
        "hvparams": {}, "beparams": {"maxmem": 64, "minmem": 64, "vcpus": 1},
        "disks": [{"index": 0, "disk": disks[0]}],
    });
    let start = json!({"do": "guest-start", "guest": guest, "paused": false});
    let outcome = master.run(serde_json::from_value(start).unwrap()).await.expect("started");
    assert_eq!(outcome.guest.map(|g| g.state), Some(GuestState::Running));
    loop {
        if let Observation::Guest { guest } = next(&mut seen).await {
            assert_eq!((guest.name.as_str(), guest.memory), ("web1.example.com", 64));
            break;
        }
    }
    let grow = Action::DiskGrow {
        instance: instance.clone(),
        disk: disks[0].clone(),
        size: 16,
        stage: GrowStage::Whole,
    };
    master.run(grow).await.expect("grown while it runs");
    let Ok(Answer::Blocks(blocks)) = master.ask(Question::Blocks { disks: disks.clone() }).await
    else {
        panic!("blocks")
    };
    assert_eq!(blocks[0].size, Some(16));
    let stop =
        json!({"do": "guest-stop", "instance": instance, "hypervisor": "fake", "timeout": 0});
    let outcome = master.run(serde_json::from_value(stop).unwrap()).await.expect("stopped");
    assert_eq!(outcome.gone, std::slice::from_ref(&instance.name));
    loop {
        if let Observation::Gone { name, .. } = next(&mut seen).await {
            assert_eq!(name, "web1.example.com");
            break;
        }
    }
    master.run(Action::DisksRemove { instance, disks }).await.expect("removed");
    assert!(!two.paths.absolute("/srv/files/i1").exists());
}

async fn next(seen: &mut tonic::Streaming<rpc::WatchEvent>) -> Observation {
    let event = seen.message().await.expect("stream").expect("event");
    serde_json::from_str(&event.observation).expect("an observation")
}

#[tokio::test]
async fn disks_are_copied_to_another_node() {
    let cluster = Cluster::new();
    let (one, two, three) = (cluster.node(1), cluster.node(2), cluster.node(3));
    two.trust(&[&one]);
    three.trust(&[&one]);
    let (from, to) = (two.start().await, three.start().await);
    let mut source = one.master(&cluster, &two, &from).await;
    let mut target = one.master(&cluster, &three, &to).await;
    let disks = vec![disk(0, "i1/disk0"), disk(1, "i1/disk1")];
    for master in [&mut source, &mut target] {
        let create = Action::DisksCreate { instance: instance(), disks: disks.clone() };
        master.run(create).await.expect("made");
    }
    // Data, a hole, data at the very end; and remains of an earlier try on the target.
    let path = "/srv/files/i1/disk0";
    let mut content = vec![0_u8; 8 << 20];
    content[..3].copy_from_slice(b"abc");
    content[(8 << 20) - 2..].copy_from_slice(b"yz");
    content[5 << 20..6 << 20].fill(7);
    fs::write(two.paths.absolute(path), &content).unwrap();
    fs::write(three.paths.absolute(path), vec![9; 8 << 20]).unwrap();
    let copy = |token: &str| Action::DisksCopy {
        instance: instance(),
        from: disks.clone(),
        to: disks.clone(),
        target: three.id,
        address: to.address().to_string(),
        token: token.to_owned(),
        compress: String::new(),
    };
    let error = source.run(copy("wrong")).await.expect_err("nobody awaits it");
    assert!(error.message.contains("No copy of disks is awaited"), "{error}");
    let receive =
        Action::DisksReceive { instance: instance(), disks: disks.clone(), token: "secret".into() };
    target.run(receive).await.expect("awaited");
    for _ in 0..2 {
        source.run(copy("secret")).await.expect("copied");
        assert!(fs::read(three.paths.absolute(path)).unwrap() == content, "the same data");
    }
    let role = DiskRole::Primary;
    let assemble = Action::DisksAssemble {
        instance: instance(),
        disks: disks.clone(),
        role,
        force: false,
        ignore_size: false,
        alone: false,
    };
    target.run(assemble).await.expect("in use");
    source.run(copy("secret")).await.expect_err("not awaited any more");
}

#[tokio::test]
async fn questions_are_answered() {
    let (_cluster, one, two, _handle, mut master) = pair().await;
    let command = Question::Command { command: "echo out; echo err >&2; exit 3".into() };
    let answer = master.ask(command).await.expect("it ran");
    assert_eq!(answer, Answer::Command { code: 3, output: b"out\nerr\n".to_vec() });
    let put = Question::PutFile {
        path: "/etc/ganeti/file-storage-paths".into(),
        mode: 0o600,
        content: b"/mnt\n".to_vec(),
    };
    master.ask(put.clone()).await.expect_err("no such directory");
    fs::create_dir_all(two.paths.conf_dir()).unwrap();
    assert_eq!(master.ask(put).await, Ok(Answer::Done));
    assert_eq!(fs::read(two.paths.file_storage_paths()).unwrap(), b"/mnt\n");
    let verify = Question::Verify {
        hypervisors: vec![],
        storage: vec!["/srv/files".into(), "/srv/none".into()],
        bridges: vec!["no-such-br".into()],
    };
    let Ok(Answer::Verify(report)) = master.ask(verify).await else { panic!("verify") };
    assert_eq!(report.storage.len(), 1);
    assert_eq!(report.storage[0].0, "/srv/none");
    assert_eq!(report.missing_bridges, ["no-such-br"]);
    assert!(report.ssconf.contains_key("master_candidates_certs"));
    assert!(report.certificate_expires.expect("it ends") > report.node.time);
    match master.ask(Question::Volumes).await {
        // This machine may have LVM, and even volumes.
        Ok(Answer::Volumes(_)) => {}
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(error.message.contains("LVM"), "{error}"),
    }
    let values = BTreeMap::from([
        ("cluster_name".to_owned(), "c.example.com".to_owned()),
        (
            "master_candidates_certs".to_owned(),
            format!("{}={}", one.id, credentials::fingerprint(&one.certificate)),
        ),
    ]);
    master.run(Action::SsconfWrite { values }).await.expect("written");
    assert!(!two.paths.ssconf("hypervisor_list").exists());
    master.ask(Question::Node).await.expect("still obeyed");
}

#[tokio::test]
async fn a_node_that_leaves_forgets_and_ends() {
    let (_cluster, _one, two, handle, mut master) = pair().await;
    master.run(Action::Leave).await.expect("it says goodbye");
    handle.ended().await.expect("it ends by itself");
    for file in [two.paths.identity(), two.paths.key(), two.paths.ssconf("hypervisor_list")] {
        assert!(!file.exists(), "{}", file.display());
    }
    assert!(!two.paths.noded_dir().exists());
}

/// Signs whoever knows the secret.
struct Gate {
    cluster: Arc<Cluster>,
}

#[tonic::async_trait]
impl rpc::join_server::Join for Gate {
    async fn join(
        &self,
        request: Request<rpc::JoinRequest>,
    ) -> Result<Response<rpc::JoinReply>, Status> {
        let request = request.into_inner();
        if request.secret != "s3cret" {
            return Err(Status::permission_denied("this token is not known or was used"));
        }
        let node = "00000000-0000-4000-8000-000000000042".parse().unwrap();
        Ok(Response::new(rpc::JoinReply {
            certificate: self.cluster.sign(&request.csr, node).0,
            authority: self.cluster.authority(),
            cluster: self.cluster.id.to_string(),
            node: node.to_string(),
            address: "127.0.0.1".into(),
            ssconf: [("cluster_name".to_owned(), "c.example.com\n".to_owned())].into(),
            protocol: 0,
        }))
    }

    async fn ping(
        &self,
        _: tonic::Request<rpc::PingRequest>,
    ) -> Result<tonic::Response<rpc::PingReply>, tonic::Status> {
        Ok(tonic::Response::new(rpc::PingReply { cluster: self.cluster.id.to_string() }))
    }
}

#[tokio::test]
async fn a_machine_joins_by_a_token() {
    let cluster = Arc::new(Cluster::new());
    let one = cluster.node(1);
    let tls =
        tonic::transport::ServerTlsConfig::new().identity(tonic::transport::Identity::from_pem(
            fs::read(one.paths.certificate()).unwrap(),
            fs::read(one.paths.key()).unwrap(),
        ));
    let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap())
        .expect("listen");
    let address = incoming.local_addr().unwrap();
    let gate = rpc::join_server::JoinServer::new(Gate { cluster: cluster.clone() });
    let server = tonic::transport::Server::builder().tls_config(tls).unwrap().add_service(gate);
    tokio::spawn(server.serve_with_incoming(incoming));

    use sha2::Digest;
    let good = Token {
        address: address.to_string(),
        fingerprint: credentials::hex(sha2::Sha256::digest(&one.certificate)),
        secret: "s3cret".into(),
        name: "node42.example.com".into(),
    };
    let root = tempfile::tempdir().unwrap();
    let paths = roost_proto::paths::Paths::new(Some(root.path().to_owned()));
    let forged = Token { fingerprint: "00".repeat(32), ..good.clone() };
    let error = join(&paths, &forged, false).await.expect_err("not the pinned certificate");
    assert!(error.message.contains("not the one of the token"), "{error}");
    let used = Token { secret: "old".into(), ..good.clone() };
    let error = join(&paths, &used, false).await.expect_err("refused");
    assert!(error.message.contains("not known or was used"), "{error}");
    assert!(!paths.identity().exists());

    let identity = join(&paths, &good, false).await.expect("joined");
    assert_eq!((identity.name.as_str(), identity.cluster), ("node42.example.com", cluster.id));
    assert_eq!(fs::read_to_string(paths.ssconf("cluster_name")).unwrap(), "c.example.com\n");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(paths.key()).unwrap().permissions().mode() & 0o777, 0o600);

    let error = join(&paths, &good, false).await.expect_err("it has joined");
    assert!(error.message.contains("already"), "{error}");
    // Joining the same cluster again must not make the node forget the newest master.
    fs::create_dir_all(paths.noded_dir()).unwrap();
    fs::write(paths.noded_dir().join("epoch"), "5\n").unwrap();
    join(&paths, &good, true).await.expect("the same cluster again");
    assert_eq!(fs::read_to_string(paths.noded_dir().join("epoch")).unwrap(), "5\n");

    let other = roost_proto::paths::Identity {
        cluster: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        ..identity
    };
    fs::write(paths.identity(), serde_json::to_vec(&other).unwrap()).unwrap();
    let error = join(&paths, &good, true).await.expect_err("another cluster's node");
    assert!(error.message.contains("another cluster"), "{error}");
}
