//! noded's hypervisor and migration parts, alone, inside a node of the lab: this same test program,
//! started there, takes requests at a socket that the test outside sees too.
//!
//! One request a connection, as a line of JSON; answered by lines of JSON, the last with `done`.
//! Whoever hangs up gives the request up.

use roost_noded::hypervisor::{Attachment, Hypervisors, ImageFormat, Source};
use roost_noded::migrate::{Connect, Migrations, TunnelStream};
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{GuestNic, GuestSpec, InstanceRef, MigrationMode, Progress, RebootKind};
use roost_proto::objects::ParamMap;
use roost_proto::paths::Paths;
use roost_proto::rpc::node as rpc;
use roost_proto::rpc::node::node_server::{Node, NodeServer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// Where agents listen for each other's tunnels.
const PORT: u16 = 1899;

/// A disk of a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    pub index: u32,
    pub uuid: DiskId,
    pub path: PathBuf,
    pub shared: bool,
    pub qcow2: bool,
}

impl Disk {
    fn attachment(&self) -> Attachment {
        Attachment {
            index: self.index,
            uuid: self.uuid,
            source: Source::File(self.path.clone()),
            format: if self.qcow2 { ImageFormat::Qcow2 } else { ImageFormat::Raw },
            readonly: false,
            shared: self.shared,
        }
    }
}

/// What an agent can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    Acceleration,
    Validate(ParamMap),
    Console(GuestSpec),
    Info(String),
    Start(GuestSpec, Vec<Disk>),
    Stop(InstanceRef, u64),
    Reboot(GuestSpec, Vec<Disk>, RebootKind, u64),
    Balloon(InstanceRef, u64),
    PlugDisk(GuestSpec, Disk),
    UnplugDisk(GuestSpec, DiskId),
    ResizeDisk(InstanceRef, DiskId, u64),
    PlugNic(GuestSpec, GuestNic),
    UnplugNic(GuestSpec, GuestNic),
    Forget(InstanceRef),
    Accept(GuestSpec, Vec<Disk>, String),
    /// Guest, disks, address of the target, token, mode.
    Run(GuestSpec, Vec<Disk>, String, String, MigrationMode),
    Finish(GuestSpec, String, bool),
}

/// A line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    Progress(Progress),
    Done(Result<Value>),
}

/// Serves until killed.
pub fn serve(socket: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::exec(e.to_string());
    let runtime = tokio::runtime::Runtime::new().map_err(failed)?;
    runtime.block_on(async {
        let paths = Paths::new(None);
        let hypervisors = Hypervisors::new(paths.clone());
        let migrations = Migrations::new(&paths, hypervisors.clone(), connector());
        let service = NodeServer::new(Tunnels(migrations.clone()));
        let address = ([0, 0, 0, 0], PORT).into();
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve(address));
        // Left by an agent that was killed.
        let _ = std::fs::remove_file(socket);
        let listener = tokio::net::UnixListener::bind(socket).map_err(failed)?;
        loop {
            let (stream, _) = listener.accept().await.map_err(failed)?;
            let (hypervisors, migrations) = (hypervisors.clone(), migrations.clone());
            tokio::spawn(async move { answer(stream, &hypervisors, &migrations).await });
        }
    })
}

async fn answer(stream: UnixStream, hypervisors: &Hypervisors, migrations: &Migrations) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    let Ok(1..) = reader.read_line(&mut line).await else { return };
    let ask = serde_json::from_str(&line).expect("our own request");
    let (progress, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let work = act(ask, hypervisors, migrations, move |step| drop(progress.send(step)));
    let mut byte = [0];
    tokio::pin!(work);
    loop {
        let line = tokio::select! {
            biased;
            Some(step) = steps.recv() => Line::Progress(step),
            done = &mut work => Line::Done(done),
            _ = reader.read(&mut byte) => return,
        };
        let over = matches!(line, Line::Done(_));
        let mut text = serde_json::to_string(&line).expect("json");
        text.push('\n');
        if writer.write_all(text.as_bytes()).await.is_err() || over {
            return;
        }
    }
}

async fn act(
    ask: Ask,
    hypervisors: &Hypervisors,
    migrations: &Migrations,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<Value> {
    let kvm = hypervisors.get(roost_proto::choices::Hypervisor::Kvm)?;
    let all = |disks: &[Disk]| disks.iter().map(Disk::attachment).collect::<Vec<_>>();
    let seconds = Duration::from_secs;
    match ask {
        Ask::Acceleration => return Ok(json!(kvm.acceleration().await)),
        Ask::Info(name) => return Ok(json!(kvm.info(&name).await?)),
        Ask::Console(guest) => return Ok(json!(kvm.console(&guest).await?)),
        Ask::Validate(hvparams) => kvm.validate(&hvparams).await,
        Ask::Start(guest, disks) => kvm.start(&guest, &all(&disks), false).await,
        Ask::Stop(guest, timeout) => kvm.stop(&guest, seconds(timeout)).await,
        Ask::Reboot(guest, disks, kind, timeout) => {
            kvm.reboot(&guest, &all(&disks), kind, seconds(timeout)).await
        }
        Ask::Balloon(guest, memory) => kvm.balloon(&guest, memory).await,
        Ask::PlugDisk(guest, disk) => kvm.plug_disk(&guest, &disk.attachment()).await,
        Ask::UnplugDisk(guest, disk) => kvm.unplug_disk(&guest, disk).await,
        Ask::ResizeDisk(guest, disk, size) => kvm.resize_disk(&guest, disk, size).await,
        Ask::PlugNic(guest, nic) => kvm.plug_nic(&guest, &nic).await,
        Ask::UnplugNic(guest, nic) => kvm.unplug_nic(&guest, &nic).await,
        Ask::Forget(guest) => kvm.forget(&guest).await,
        Ask::Accept(guest, disks, token) => migrations.accept(&guest, &all(&disks), &token).await,
        Ask::Run(guest, disks, address, token, mode) => {
            let node = uuid::Uuid::nil().into();
            let disks = all(&disks);
            migrations.run(&guest, &disks, node, &address, &token, mode, &progress).await
        }
        Ask::Finish(guest, token, success) => migrations.finish(&guest, &token, success).await,
    }
    .map(|()| Value::Null)
}

/// Without TLS: that is tested with whole clusters.
fn connector() -> Connect {
    Arc::new(|_node, address| {
        Box::pin(async move {
            let failed = |e: tonic::transport::Error| Error::exec(format!("{address}: {e:?}"));
            tonic::transport::Endpoint::from_shared(format!("http://{address}:{PORT}"))
                .map_err(failed)?
                .http2_adaptive_window(true)
                .connect()
                .await
                .map_err(failed)
        })
    })
}

/// A node's service of which only tunnels work.
struct Tunnels(Migrations);

type Nothing<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Node for Tunnels {
    type RunStream = Nothing<rpc::RunEvent>;
    type WatchStream = Nothing<rpc::WatchEvent>;
    type CopyStream = Nothing<rpc::CopyReply>;
    type TunnelStream = TunnelStream;

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
    async fn forget(
        &self,
        _: Request<rpc::ForgetRequest>,
    ) -> Result<Response<rpc::ForgetReply>, Status> {
        Err(Status::unimplemented("forget"))
    }
    async fn vote(&self, _: Request<rpc::VoteRequest>) -> Result<Response<rpc::VoteReply>, Status> {
        Err(Status::unimplemented("vote"))
    }
    async fn note(&self, _: Request<rpc::NoteRequest>) -> Result<Response<rpc::NoteReply>, Status> {
        Err(Status::unimplemented("note"))
    }
    async fn copy(
        &self,
        _: Request<tonic::Streaming<rpc::CopyData>>,
    ) -> Result<Response<Self::CopyStream>, Status> {
        Err(Status::unimplemented("copy"))
    }
    async fn tunnel(
        &self,
        request: Request<tonic::Streaming<rpc::TunnelData>>,
    ) -> Result<Response<TunnelStream>, Status> {
        self.0.tunnel(request.into_inner()).await.map(Response::new)
    }
}
