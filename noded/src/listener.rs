//! Takes connections: only those that prove a certificate of the cluster come through.

use crate::credentials;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// A peer that connects and says nothing is dropped after this time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections whose handshake succeeded.
pub type Incoming = ReceiverStream<std::io::Result<TlsStream<TcpStream>>>;

/// Listens at `address` until `stop`; tells where (port 0 becomes a real one).
pub async fn listen(
    paths: Paths,
    address: &str,
    stop: CancellationToken,
) -> Result<(SocketAddr, Incoming)> {
    let tls = Tls::load(paths)?;
    let failed = |e: std::io::Error| {
        Error::environment(format!(
            "Cannot listen at {address}: {e}; is another noded running, and is this address this \
             machine's?"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, tls, sender) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok((bound, ReceiverStream::new(receiver)))
}

async fn accept(
    listener: TcpListener,
    mut tls: Tls,
    sender: mpsc::Sender<std::io::Result<TlsStream<TcpStream>>>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly: too many open files. It must get better by itself.
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, sender) = (tls.acceptor(), sender.clone());
        tokio::spawn(async move {
            // Small messages back and forth: waiting to fill packets only costs time.
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // Closed only when noded ends.
                Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                Ok(Err(error)) => tracing::info!(%peer, %error, "connection refused"),
                Err(_) => tracing::info!(%peer, "connection dropped: no handshake"),
            }
        });
    }
}

/// The TLS set-up, made again when the certificate was renewed.
struct Tls {
    paths: Paths,
    stamp: Vec<Stamp>,
    acceptor: TlsAcceptor,
}

/// Inode and modification time of a file; nothing if it is not there.
type Stamp = Option<(u64, i64, i64)>;

impl Tls {
    fn load(paths: Paths) -> Result<Tls> {
        let stamp = stamp(&paths);
        let acceptor = TlsAcceptor::from(Arc::new(credentials::server_config(&paths)?));
        Ok(Tls { paths, stamp, acceptor })
    }

    fn acceptor(&mut self) -> TlsAcceptor {
        let now = stamp(&self.paths);
        if now != self.stamp {
            match credentials::server_config(&self.paths) {
                Ok(config) => {
                    tracing::info!("certificates were renewed");
                    self.stamp = now;
                    self.acceptor = TlsAcceptor::from(Arc::new(config));
                }
                // One of the files is being replaced: the next connection tries again.
                Err(error) => tracing::warn!(%error, "the old certificate is used on"),
            }
        }
        self.acceptor.clone()
    }
}

/// All that the set-up depends on.
fn stamp(paths: &Paths) -> Vec<Stamp> {
    [paths.certificate(), paths.key(), paths.authority()]
        .iter()
        .map(|path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
        })
        .collect()
}
