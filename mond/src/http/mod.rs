//! Serves the reports.
//!
//! ```text
//!   listener ─► room for it? ─► TLS, where wanted ─► HTTP/1.1 ─► site ─► schedule
//!               256 in all, 64 from one address; 20 s for a request's head; 30 s for a reader that stands still
//! ```

mod guarded;
mod path;
mod site;
pub mod tls;

pub use site::Site;

use guarded::Guarded;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roost_proto::error::{Error, Result};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tls::Tls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that wait to be accepted.
const WAITING: i32 = 256;
/// A head is no longer, bytes,
const LONGEST_HEAD: usize = 16 << 10;
/// and has no more lines.
const MOST_HEADERS: usize = 64;
/// What is under way when mond ends has so long.
const GRACE: Duration = Duration::from_secs(2);
/// Something that goes wrong again and again is told so often.
const TELL: Duration = Duration::from_secs(10);
/// Answer to a connection there is no room for.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n\
    Content-Type: text/plain\r\nContent-Length: 21\r\n\r\nToo many connections\n";

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all,
    pub connections: usize,
    /// and from one address.
    pub per_address: usize,
    /// From the end of one request, or the beginning, until the next has come: a client that is idle or slow.
    pub head: Duration,
    /// How long it may read nothing of an answer.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            per_address: 64,
            head: Duration::from_secs(20),
            stall: Duration::from_secs(30),
        }
    }
}

/// Where it listens, and how.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: Limits,
}

impl Listener {
    /// Takes an address and a port (0: any); no address: all, of IPv4 and, where there is one, IPv6. Must be called in
    /// a runtime. Errors: it is taken, not ours, or needs root.
    pub fn bind(
        address: Option<IpAddr>,
        port: u16,
        tls: Option<Tls>,
        limits: Limits,
    ) -> Result<Listener> {
        let bound = match address {
            Some(address) => listen(SocketAddr::new(address, port)),
            None => listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))
                .or_else(|_| listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))),
        };
        let socket = bound.map_err(|e| {
            let place = address.map_or_else(|| "all addresses".to_owned(), |a| a.to_string());
            Error::environment(format!("Cannot listen at port {port} of {place}: {e}"))
        })?;
        Ok(Listener { socket, tls: tls.map(Arc::new), limits })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.socket
            .local_addr()
            .map_err(|e| Error::internal(format!("A listener has no address: {e}")))
    }

    /// Serves until told to stop; then answers what is under way.
    pub async fn serve(self, site: Arc<Site>, stop: CancellationToken) {
        let guests = Arc::new(Guests::default());
        let tasks = TaskTracker::new();
        let mut told = Instant::now().checked_sub(TELL);
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() >= TELL) {
                        tracing::warn!("a connection cannot be accepted: {error}");
                        told = Some(Instant::now());
                    }
                    // Out of descriptors, as a rule: they come back when others end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(guest) = Guests::admit(&guests, peer.ip(), &self.limits) else {
                // It fits into the empty buffer of a new connection, or nobody waits for it.
                let _ = stream.try_write(NO_ROOM);
                if told.is_none_or(|told| told.elapsed() >= TELL) {
                    tracing::warn!(%peer, "there is no room for more connections");
                    told = Some(Instant::now());
                }
                continue;
            };
            let (site, tls, stop) = (Arc::clone(&site), self.tls.clone(), stop.clone());
            let limits = self.limits;
            tasks.spawn(async move {
                let _guest = guest;
                welcome(stream, peer, site, tls, limits, stop).await;
            });
        }
        drop(self.socket);
        tasks.close();
        if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
            tracing::info!("connections that did not end in time are cut");
        }
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // All of IPv6 is all of IPv4, too.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(WAITING)?;
    TcpListener::from_std(socket.into())
}

/// One connection's life.
async fn welcome(
    stream: TcpStream,
    peer: SocketAddr,
    site: Arc<Site>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    stop: CancellationToken,
) {
    // Answers are whole: there is nothing to gather.
    let _ = stream.set_nodelay(true);
    let stream = Guarded::new(stream, limits.stall);
    let Some(tls) = tls else { return converse(stream, peer, &site, limits, stop).await };
    match tokio::time::timeout(limits.head, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, peer, &site, limits, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, "no TLS: {error}"),
        Err(_) => tracing::debug!(%peer, "no TLS in time"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    site: &Site,
    limits: Limits,
    stop: CancellationToken,
) {
    let service = service_fn(|request| async move {
        let answer = site.answer(&request).await;
        tracing::debug!(
            target: "roost_mond::access",
            %peer,
            method = %request.method(),
            uri = %request.uri(),
            status = answer.status().as_u16(),
        );
        Ok::<_, Infallible>(answer)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "a connection broke: {error}");
    }
}

/// Who is connected.
#[derive(Debug, Default)]
struct Guests(Mutex<HashMap<IpAddr, usize>>);

/// A place; given back when dropped.
#[derive(Debug)]
struct Guest {
    guests: Arc<Guests>,
    address: IpAddr,
}

impl Guests {
    fn admit(guests: &Arc<Guests>, address: IpAddr, limits: &Limits) -> Option<Guest> {
        let mut all = guests.0.lock().unwrap_or_else(|e| e.into_inner());
        let from_there = all.get(&address).copied().unwrap_or(0);
        if from_there >= limits.per_address || all.values().sum::<usize>() >= limits.connections {
            return None;
        }
        all.insert(address, from_there + 1);
        Some(Guest { guests: Arc::clone(guests), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.guests.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many() {
        let guests = Arc::new(Guests::default());
        let limits = Limits { connections: 3, per_address: 2, ..Limits::default() };
        let address = |n: u8| IpAddr::from([127, 0, 0, n]);
        let first = Guests::admit(&guests, address(1), &limits);
        let second = Guests::admit(&guests, address(1), &limits);
        assert!(first.is_some() && second.is_some());
        assert!(Guests::admit(&guests, address(1), &limits).is_none());
        let third = Guests::admit(&guests, address(2), &limits);
        assert!(third.is_some() && Guests::admit(&guests, address(3), &limits).is_none());
        drop(second);
        assert!(Guests::admit(&guests, address(1), &limits).is_some());
    }
}
