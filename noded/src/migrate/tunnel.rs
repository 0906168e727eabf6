//! Carries connections between two nodeds: bytes of a socket in messages of a gRPC stream.
//!
//! Either side may say that it has no more to send (`end`) while the other goes on, as sockets do.

use super::tickets::{Ticket, Tickets};
use super::{Connect, TunnelStream};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::rpc::node::node_client::NodeClient;
use roost_proto::rpc::node::tunnel_data::Data;
use roost_proto::rpc::node::tunnel_open;
use roost_proto::rpc::node::{TunnelData, TunnelOpen};
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

pub use tunnel_open::Socket;

/// Bytes in one message.
const CHUNK: usize = 256 << 10;
/// Messages that may wait to be sent.
const WAITING: usize = 4;

/// The other side of a migration, as its source sees it. Cheap to clone.
#[derive(Clone)]
pub struct Far {
    connect: Connect,
    node: NodeId,
    address: String,
    token: String,
    /// Why the last connection broke.
    trouble: Arc<Mutex<Option<Error>>>,
}

impl Far {
    pub fn new(connect: Connect, node: NodeId, address: &str, token: &str) -> Far {
        Far {
            connect,
            node,
            address: address.to_owned(),
            token: token.to_owned(),
            trouble: Arc::default(),
        }
    }

    /// Carries one connection to a socket of the target, until both directions have ended.
    pub async fn carry(
        &self,
        socket: Socket,
        near: impl AsyncRead + AsyncWrite + Send + 'static,
    ) -> Result<()> {
        let (send, outbound) = mpsc::channel(WAITING);
        let open = TunnelOpen { token: self.token.clone(), socket: socket.into() };
        let first = TunnelData { data: Some(Data::Open(open)) };
        send.send(first).await.map_err(|_| Error::internal("the tunnel's own end is closed"))?;
        let channel = (self.connect)(self.node, self.address.clone()).await?;
        let inbound = NodeClient::new(channel)
            .tunnel(ReceiverStream::new(outbound))
            .await
            .map_err(|status| self.broken(&status))?
            .into_inner();
        let (reader, writer) = tokio::io::split(near);
        let (sent, received) = tokio::join!(pump_in(reader, send), pump_out(inbound, writer));
        sent.map_err(|e| Error::exec(format!("Tunnel to {}: {e}", self.address)))?;
        received.map_err(|status| self.broken(&status))
    }

    /// Whether a tunnel to the target can be opened. Errors: why not.
    pub async fn check(&self) -> Result<()> {
        let (near, far_end) = tokio::io::duplex(64);
        drop(far_end);
        self.carry(Socket::Libvirt, near).await
    }

    /// Listens at `path` and carries every connection made there to a socket of the target.
    pub fn relay(&self, socket: Socket, path: &Path) -> Result<Relay> {
        let failed = |e: std::io::Error| {
            Error::exec(format!("Cannot listen at {} for a migration: {e}", path.display()))
        };
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // QEMU runs as another user; the directory cannot be listed by it.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
        let far = self.clone();
        Ok(Relay(tokio::spawn(async move {
            // Dropped with this task: all connections end with the relay.
            let mut carried = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((near, _)) => {
                            let far = far.clone();
                            carried.spawn(async move { far.carry(socket, near).await });
                        }
                        Err(error) => {
                            tracing::warn!(%error, "a migration's socket broke");
                            return;
                        }
                    },
                    Some(ended) = carried.join_next() => {
                        if let Ok(Err(error)) = ended {
                            tracing::info!(?socket, %error, "a migration's connection broke");
                            *far.trouble() = Some(error);
                        }
                    }
                }
            }
        })))
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Error>> {
        self.trouble.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// An error of a program that used a relay, with what we know of why.
    pub fn explain(&self, error: Error) -> Error {
        match self.trouble().take() {
            Some(trouble) => {
                Error { message: format!("{} ({})", error.message, trouble.message), ..error }
            }
            None => error,
        }
    }

    fn broken(&self, status: &Status) -> Error {
        Error::exec(format!(
            "The tunnel to the node at {} broke: {}",
            self.address,
            status.message()
        ))
    }
}

/// A local socket that leads to the target, until dropped.
#[derive(Debug)]
pub struct Relay(tokio::task::JoinHandle<()>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads a socket to its end and sends what comes.
async fn pump_in(
    mut reader: impl AsyncRead + Unpin,
    send: mpsc::Sender<TunnelData>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let data = match reader.read(&mut buffer).await? {
            0 => Data::End(true),
            n => Data::Bytes(buffer[..n].to_vec()),
        };
        let end = matches!(data, Data::End(_));
        // A closed channel: the other side has gone; its own direction tells why.
        if send.send(TunnelData { data: Some(data) }).await.is_err() || end {
            return Ok(());
        }
    }
}

/// Writes what arrives to a socket.
async fn pump_out(
    mut inbound: Streaming<TunnelData>,
    mut writer: impl AsyncWrite + Unpin,
) -> Result<(), Status> {
    while let Some(message) = inbound.message().await? {
        match message.data {
            Some(Data::Bytes(bytes)) => {
                if writer.write_all(&bytes).await.is_err() {
                    // The socket's owner reads no more: nothing more to carry this way.
                    return Ok(());
                }
            }
            Some(Data::End(_)) => break,
            Some(Data::Open(_)) | None => {
                return Err(Status::invalid_argument("a tunnel is opened once"));
            }
        }
    }
    // It may have been closed by its owner already.
    let _ = writer.shutdown().await;
    Ok(())
}

/// An arriving tunnel whose token is good.
pub struct Opened {
    pub ticket: Ticket,
    pub token: String,
    pub socket: Socket,
    pub inbound: Streaming<TunnelData>,
}

/// Reads the first message of an arriving tunnel: which migration, which socket.
pub async fn opened(
    mut inbound: Streaming<TunnelData>,
    tickets: &Tickets,
) -> Result<Opened, Status> {
    let Some(TunnelData { data: Some(Data::Open(open)) }) = inbound.message().await? else {
        return Err(Status::invalid_argument("a tunnel begins with what it is for"));
    };
    let ticket = tickets.find(&open.token).ok_or_else(|| {
        Status::permission_denied("this node accepts no migration with that token (any more)")
    })?;
    let socket = Socket::try_from(open.socket)
        .map_err(|_| Status::invalid_argument("no such socket; is the source newer than we?"))?;
    Ok(Opened { ticket, token: open.token, socket, inbound })
}

/// Carries an arriving tunnel to a socket of this node.
pub fn join(
    inbound: Streaming<TunnelData>,
    socket: impl AsyncRead + AsyncWrite + Send + 'static,
) -> TunnelStream {
    let (send, outbound) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(socket);
        let sending = pump_in(reader, send);
        let receiving = pump_out(inbound, writer);
        tokio::pin!(sending, receiving);
        tokio::select! {
            // The source is gone: whoever it spoke to must know at once, so both ends are dropped.
            received = &mut receiving => match received {
                Ok(()) => drop(sending.await),
                Err(status) => tracing::info!(%status, "a tunnel's source is gone"),
            },
            sent = &mut sending => {
                if let Err(error) = sent {
                    tracing::info!(%error, "a tunnel's socket broke");
                }
                // An answer to the last words may still be on its way.
                let _ = receiving.await;
            }
        }
    });
    Box::pin(tokio_stream::StreamExt::map(ReceiverStream::new(outbound), Ok))
}

/// Lets `serve` answer an arriving tunnel itself.
pub fn serve<F: Future<Output = ()> + Send + 'static>(
    inbound: Streaming<TunnelData>,
    serve: impl FnOnce(DuplexStream) -> F,
) -> TunnelStream {
    let (ours, theirs) = tokio::io::duplex(CHUNK);
    tokio::spawn(serve(ours));
    join(inbound, theirs)
}
