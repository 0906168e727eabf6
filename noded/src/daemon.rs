//! Noded as a whole: starts it, tells where it listens, ends it.

use crate::block::copy::Receivers;
use crate::block::drbd;
use crate::budget::Budgets;
use crate::fence::Fence;
use crate::host::Host;
use crate::hypervisor::Hypervisors;
use crate::migrate::Migrations;
use crate::server::NodeService;
use crate::steps::Steps;
use crate::{ask_confd, credentials, durable, facts, failpoint, listener, migrate, peer};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::paths::{NODED_PORT, Paths};
use roost_proto::rpc::node::node_server::NodeServer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The largest request: a file for every node comes in one.
const LARGEST: usize = 128 << 20;
/// How long the end of noded waits for what it is doing. What does not end by then is done again
/// when the master asks the next noded for it.
const GRACE: Duration = Duration::from_secs(10);

/// How to start a noded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its files are.
    pub paths: Paths,
    /// Where it listens: an address, or address and port (0: any). The identity's address if
    /// nothing is said.
    pub listen: Option<String>,
    /// Hypervisors to use besides those that ssconf names.
    pub hypervisors: Vec<Hypervisor>,
}

impl Options {
    /// The usual noded of a machine.
    pub fn new(paths: Paths) -> Options {
        Options { paths, listen: None, hypervisors: vec![] }
    }
}

/// The node daemon.
#[derive(Debug)]
pub struct Noded;

/// A running noded. It ends when this is dropped, but not gracefully.
#[derive(Debug)]
pub struct Handle {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Noded {
    /// Starts it. Errors: the machine belongs to no cluster, its files are unusable, its address is
    /// taken.
    pub async fn start(options: Options) -> Result<Handle> {
        let Options { paths, listen, hypervisors } = options;
        failpoint::look_in(paths.data_dir().join("failpoint-noded"));
        // Another part of the program may have chosen one already, for all.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let identity = credentials::identity(&paths)?.ok_or_else(|| {
            Error::environment(
                "This machine belongs to no cluster; let it join with 'roost-noded join TOKEN' \
                 ('gnt-node add' on the master prints the token)",
            )
        })?;
        let fence = Fence::load(&paths, identity.cluster)?;
        let steps = Steps::load(&paths.noded_dir(), &facts::boot_id())?;
        let stop = CancellationToken::new();
        let all = Hypervisors::new(paths.clone());
        let host = Arc::new(Host {
            migrations: Migrations::new(&paths, all.clone(), connector(&paths)),
            hypervisors: all,
            receivers: Receivers::load(&paths),
            budgets: Budgets::default(),
            stop: stop.clone(),
            identity,
            paths,
        });
        host.hypervisors.enable(&hypervisors);
        host.follow_ssconf();
        tokio::spawn(drbd::mirrors().keep_to(host.budgets.resync()));
        let listen = listen.unwrap_or_else(|| host.identity.address.clone());
        let listen = peer::with_port(&listen, NODED_PORT);
        let (address, incoming) =
            listener::listen(host.paths.clone(), &listen, stop.clone()).await?;
        tracing::info!(node = %host.identity.name, %address, "noded is up");
        ask_confd::start(&host.paths, host.identity.name.as_str(), stop.clone());
        let steps = Arc::new(steps);
        let service = NodeServer::new(NodeService::new(host, fence, steps.clone()))
            .max_decoding_message_size(LARGEST)
            .max_encoding_message_size(LARGEST);
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                let serving = tonic::transport::Server::builder()
                    .http2_keepalive_interval(Some(Duration::from_secs(10)))
                    .http2_adaptive_window(Some(true))
                    .add_service(service)
                    .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
                end(serving, &stop, &steps).await
            }
        });
        Ok(Handle { address, stop, task })
    }
}

/// How migrations reach other nodes.
fn connector(paths: &Paths) -> migrate::Connect {
    let paths = paths.clone();
    Arc::new(move |node, address| {
        let paths = paths.clone();
        Box::pin(async move { peer::connect(&paths, node, &address).await })
    })
}

/// Serves until told to stop, then gives what runs a little time.
async fn end(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: &CancellationToken,
    steps: &Steps,
) -> Result<()> {
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = stop.cancelled() => None,
    };
    if let Some(Err(error)) = served {
        return Err(Error::environment(format!("The server failed: {error}")));
    }
    let rest = async {
        if served.is_none() {
            // Connections that break now break anyway.
            let _ = serving.await;
        }
        steps.drain().await;
    };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!("noded ends with work under way; it will be done again when asked for");
    }
    Ok(())
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it to end gracefully; [`Handle::ended`] says when it has.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// By which another task tells it to end.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until it has ended: it was told to, or left its cluster.
    pub async fn ended(mut self) -> Result<()> {
        (&mut self.task).await.map_err(|e| Error::internal(format!("noded failed: {e}")))?
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

/// Writes the file by which others find the process.
pub fn write_pid_file(paths: &Paths) -> Result<()> {
    durable::make_dir(&paths.run_dir())?;
    let text = format!("{}\n", std::process::id());
    durable::write(&paths.pid_file("noded"), text.as_bytes(), 0o644)
}
