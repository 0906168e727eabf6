//! Fake guests move between two nodes through a real gRPC tunnel.

use super::*;
use roost_proto::choices::Hypervisor;
use roost_proto::rpc::node as rpc;
use roost_proto::rpc::node::node_server::{Node, NodeServer};
use std::sync::Mutex;
use tonic::{Request, Response};
use uuid::Uuid;

/// A node that only does tunnels.
struct Target(Migrations);

type Nothing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Node for Target {
    type RunStream = Nothing<rpc::RunEvent>;
    type WatchStream = Nothing<rpc::WatchEvent>;
    type TunnelStream = TunnelStream;
    type CopyStream = Nothing<rpc::CopyReply>;

    async fn run(&self, _: Request<rpc::RunRequest>) -> Result<Response<Self::RunStream>, Status> {
        Err(Status::unimplemented("run"))
    }
    async fn ask(&self, _: Request<rpc::AskRequest>) -> Result<Response<rpc::AskReply>, Status> {
        Err(Status::unimplemented("ask"))
    }
    async fn watch(
        &self,
        _: Request<rpc::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
    async fn vote(&self, _: Request<rpc::VoteRequest>) -> Result<Response<rpc::VoteReply>, Status> {
        Err(Status::unimplemented("vote"))
    }

    async fn note(&self, _: Request<rpc::NoteRequest>) -> Result<Response<rpc::NoteReply>, Status> {
        Err(Status::unimplemented("note"))
    }

    async fn forget(
        &self,
        _: Request<rpc::ForgetRequest>,
    ) -> Result<Response<rpc::ForgetReply>, Status> {
        Err(Status::unimplemented("forget"))
    }
    async fn copy(
        &self,
        _: Request<tonic::Streaming<rpc::CopyData>>,
    ) -> Result<Response<Self::CopyStream>, Status> {
        Err(Status::unimplemented("copy"))
    }
    async fn tunnel(
        &self,
        request: Request<tonic::Streaming<TunnelData>>,
    ) -> Result<Response<TunnelStream>, Status> {
        self.0.tunnel(request.into_inner()).await.map(Response::new)
    }
}

struct Machine {
    _dir: tempfile::TempDir,
    hypervisors: Hypervisors,
    migrations: Migrations,
    address: String,
}

async fn machine() -> Machine {
    let dir = tempfile::tempdir().expect("directory");
    let paths = Paths::new(Some(dir.path().to_owned()));
    let hypervisors = Hypervisors::new(paths.clone());
    let connect: Connect = Arc::new(|_node, address| {
        Box::pin(async move {
            let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
                .map_err(|e| Error::exec(e.to_string()))?;
            endpoint.connect().await.map_err(|e| Error::exec(e.to_string()))
        })
    });
    let migrations = Migrations::new(&paths, hypervisors.clone(), connect);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address").to_string();
    let service = NodeServer::new(Target(migrations.clone()));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)),
    );
    Machine { _dir: dir, hypervisors, migrations, address }
}

impl Machine {
    fn fake(&self) -> AnyHypervisor {
        self.hypervisors.get(Hypervisor::Fake).expect("fake")
    }

    async fn state(&self, guest: &GuestSpec) -> Option<GuestState> {
        self.fake().info(&guest.name).await.expect("info").map(|report| report.state)
    }

    async fn send(&self, guest: &GuestSpec, target: &Machine) -> Result<()> {
        let percents = Mutex::new(vec![]);
        let progress = |p: Progress| percents.lock().expect("lock").push(p.percent);
        let mode = MigrationMode { live: true, copy_disks: false };
        let node = NodeId(Uuid::from_u128(2));
        self.migrations.run(guest, &[], node, &target.address, "secret", mode, &progress).await
    }
}

fn guest() -> GuestSpec {
    serde_json::from_value(serde_json::json!({
        "uuid": Uuid::from_u128(1), "name": "web.example.com", "hypervisor": "fake",
        "hvparams": {}, "beparams": {"maxmem": 256, "vcpus": 1},
    }))
    .expect("a guest")
}

#[tokio::test]
async fn a_guest_moves_and_moving_again_changes_nothing() {
    let (a, b, guest) = (machine().await, machine().await, guest());
    a.fake().start(&guest, &[], false).await.expect("start");
    b.migrations.accept(&guest, &[], "secret").await.expect("accept");
    b.migrations.accept(&guest, &[], "secret").await.expect("accept again");
    a.send(&guest, &b).await.expect("move");
    assert_eq!((a.state(&guest).await, b.state(&guest).await), (None, Some(GuestState::Running)));
    a.send(&guest, &b).await.expect("moved already");
    b.migrations.finish(&guest, "secret", true).await.expect("finish");
    b.migrations.finish(&guest, "secret", true).await.expect("finished already");
    assert_eq!(b.state(&guest).await, Some(GuestState::Running));
}

#[tokio::test]
async fn without_a_ticket_nothing_moves() {
    let (a, b, guest) = (machine().await, machine().await, guest());
    a.fake().start(&guest, &[], false).await.expect("start");
    let error = a.send(&guest, &b).await.expect_err("not accepted");
    assert!(error.message.contains("accepts no migration"), "{error}");
    assert_eq!((a.state(&guest).await, b.state(&guest).await), (Some(GuestState::Running), None));
}

#[tokio::test]
async fn a_source_that_died_between_sending_and_letting_go_is_taken_up() {
    let (a, b, guest) = (machine().await, machine().await, guest());
    a.fake().start(&guest, &[], false).await.expect("start");
    b.migrations.accept(&guest, &[], "secret").await.expect("accept");
    let (AnyHypervisor::Fake(here), AnyHypervisor::Fake(there)) = (a.fake(), b.fake()) else {
        panic!("fake")
    };
    let state = here.send_state(&guest.name).expect("state");
    // It arrived, but is still here too: the old try is dropped and it moves anew.
    there.receive_state(state.clone()).expect("receive");
    a.send(&guest, &b).await.expect("move");
    assert_eq!((a.state(&guest).await, b.state(&guest).await), (None, Some(GuestState::Running)));

    // It arrived and is gone from here, but was not let go.
    b.fake().stop(&reference(&guest), Duration::ZERO).await.expect("stop");
    there.receive_state(state).expect("receive");
    a.send(&guest, &b).await.expect("let go");
    assert_eq!((a.state(&guest).await, b.state(&guest).await), (None, Some(GuestState::Running)));
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_on_the_target() {
    let (b, guest) = (machine().await, guest());
    b.migrations.accept(&guest, &[], "secret").await.expect("accept");
    let AnyHypervisor::Fake(there) = b.fake() else { panic!("fake") };
    let state = serde_json::from_value(serde_json::json!({
        "uuid": guest.uuid, "name": guest.name, "state": "running", "memory": 1, "vcpus": 1,
    }));
    there.receive_state(state.expect("state")).expect("receive");
    b.migrations.finish(&guest, "secret", false).await.expect("finish");
    assert_eq!(b.state(&guest).await, None);
    b.fake().start(&guest, &[], false).await.expect("start");
    let error = b.migrations.finish(&guest, "secret", false).await.expect_err("it runs");
    assert!(error.message.contains("left alone"), "{error}");
    assert_eq!(b.state(&guest).await, Some(GuestState::Running));
}
