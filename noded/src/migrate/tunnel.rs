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
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
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
}

impl Far {
    pub fn new(connect: Connect, node: NodeId, address: &str, token: &str) -> Far {
        Far { connect, node, address: address.to_owned(), token: token.to_owned() }
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

    fn broken(&self, status: &Status) -> Error {
        Error::exec(format!(
            "The tunnel to the node at {} broke: {}",
            self.address,
            status.message()
        ))
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

/// Reads the first message of an arriving tunnel: which migration, which socket.
pub async fn opened(
    mut inbound: Streaming<TunnelData>,
    tickets: &Tickets,
) -> Result<(Ticket, Socket, Streaming<TunnelData>), Status> {
    let Some(TunnelData { data: Some(Data::Open(open)) }) = inbound.message().await? else {
        return Err(Status::invalid_argument("a tunnel begins with what it is for"));
    };
    let ticket = tickets.find(&open.token).ok_or_else(|| {
        Status::permission_denied("this node accepts no migration with that token (any more)")
    })?;
    let socket = Socket::try_from(open.socket)
        .map_err(|_| Status::invalid_argument("no such socket; is the source newer than we?"))?;
    Ok((ticket, socket, inbound))
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
