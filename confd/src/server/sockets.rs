//! The sockets of the daemon: several at one address, among which the kernel shares out who asks.
//!
//! A filter in the kernel drops what does not begin like the protocol before it takes room in the
//! queue of a socket, so that a flood of garbage does not push out questions.

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use roost_proto::error::{Error, Result};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Room for questions that wait, bytes of the kernel's memory: a second of flood.
const RECEIVE_ROOM: usize = 4 << 20;
/// Room for answers that wait for the network.
const SEND_ROOM: usize = 1 << 20;
/// How long a network that takes no answers may hold up a thread.
const SEND_LIMIT: Duration = Duration::from_millis(500);

/// Opens `count` sockets at an address. With port 0 the kernel chooses one, the same for all.
/// Errors: somebody else is there already, or the machine does not have the address.
pub fn open(address: SocketAddr, count: usize, sha256: bool) -> Result<Vec<Socket>> {
    let failed = |e: io::Error| {
        let hint = match e.kind() {
            io::ErrorKind::AddrInUse => "; another daemon (Ganeti's own?) is there already",
            io::ErrorKind::AddrNotAvailable => "; this machine does not have the address",
            io::ErrorKind::PermissionDenied => "; ports below 1024 are root's",
            _ => "",
        };
        Error::environment(format!("Cannot listen at UDP {address}: {e}{hint}"))
    };
    // Sockets that share would share with a foreign daemon, too, and halve the questions. One that
    // does not share finds out.
    let alone = bare(address).map_err(failed)?;
    alone.bind(&address.into()).map_err(failed)?;
    let bound = alone.local_addr().map_err(failed)?;
    drop(alone);
    (0..count.max(1)).map(|_| shared(address, &bound, sha256).map_err(failed)).collect()
}

/// Whether answers must be told which address to come from: the socket has several.
pub fn is_wildcard(address: IpAddr) -> bool {
    address.is_unspecified()
}

fn bare(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `::` is for everybody, whatever the machine's default is.
        socket.set_only_v6(!is_wildcard(address.ip()))?;
    }
    Ok(socket)
}

fn shared(address: SocketAddr, bound: &SockAddr, sha256: bool) -> io::Result<Socket> {
    let socket = bare(address)?;
    socket.set_reuse_port(true)?;
    // Root may have more than the machine's limit; others get what there is.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_ROOM).is_err() {
        socket.set_recv_buffer_size(RECEIVE_ROOM)?;
    }
    socket.set_send_buffer_size(SEND_ROOM)?;
    socket.set_write_timeout(Some(SEND_LIMIT))?;
    if is_wildcard(address.ip()) {
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
    }
    // Before the address: from the first datagram on.
    socket.attach_filter(&filter(sha256))?;
    socket.bind(bound)?;
    Ok(socket)
}

/// Accepts datagrams that begin with the bytes of the protocol.
fn filter(sha256: bool) -> Vec<SockFilter> {
    // Behind the header of UDP.
    const MAGIC_AT: u32 = 8;
    const WHOLE: u32 = u32::MAX;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let end = (libc::BPF_RET | libc::BPF_K) as u16;
    let sha1 = u32::from_be_bytes(*crate::wire::Magic::SHA1);
    // Not enabled: the same comparison again.
    let other = if sha256 { u32::from_be_bytes(*crate::wire::Magic::SHA256) } else { sha1 };
    vec![
        // A datagram without these bytes is dropped by the load itself.
        SockFilter::new(load, 0, 0, MAGIC_AT),
        SockFilter::new(equal, 2, 0, sha1),
        SockFilter::new(equal, 1, 0, other),
        SockFilter::new(end, 0, 0, 0),
        SockFilter::new(end, 0, 0, WHOLE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn they_share_one_address_with_each_other_only() {
        let sockets = open(loopback(), 3, false).unwrap();
        let address = |s: &Socket| s.local_addr().unwrap().as_socket().unwrap();
        let first = address(&sockets[0]);
        assert!(sockets.iter().all(|socket| address(socket) == first));
        let error = open(first, 1, false).unwrap_err();
        assert!(error.message.contains("another daemon"), "{error}");
    }

    #[test]
    fn addresses_of_others_are_refused() {
        let error = open("192.0.2.1:0".parse().unwrap(), 1, false).unwrap_err();
        assert!(error.message.contains("does not have the address"), "{error}");
    }

    #[test]
    fn only_what_begins_like_the_protocol_arrives() {
        for (sha256, expected) in [(false, "plj0{} plj0"), (true, "plj2 plj0{} plj2{} plj0")] {
            let socket = open(loopback(), 1, sha256).unwrap().remove(0);
            let to = socket.local_addr().unwrap().as_socket().unwrap();
            let sender = std::net::UdpSocket::bind(loopback()).unwrap();
            for text in ["", "plj2", "plj", "plj0{}", "GET / HTTP/1.0", "plj1{}", "plj2{}", "plj0"]
            {
                sender.send_to(text.as_bytes(), to).unwrap();
            }
            let socket = std::net::UdpSocket::from(socket);
            let mut arrived = vec![];
            while arrived.last().is_none_or(|last| last != "plj0") {
                let mut room = [0; 100];
                let length = socket.recv(&mut room).unwrap();
                arrived.push(String::from_utf8_lossy(&room[..length]).into_owned());
            }
            assert_eq!(arrived.join(" "), expected);
        }
    }
}
