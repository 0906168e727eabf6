//! Which ports somebody listens at, from `/proc/net`: a look that the daemon behind it does not notice, while a
//! connection that says nothing would be a line in its log.

use std::fs;

/// The number by which the kernel marks TCP sockets that listen.
const LISTENS: &str = "0A";

/// What is known of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Nobody is there.
    Closed,
    /// Somebody is, and so many connections wait to be taken.
    Open { waiting: u64 },
}

impl Port {
    /// A TCP port of this machine (of this network namespace).
    pub fn tcp(port: u16) -> Port {
        Port::of(&["tcp", "tcp6"], port, parse_tcp)
    }

    /// A UDP port.
    pub fn udp(port: u16) -> Port {
        Port::of(&["udp", "udp6"], port, parse_udp)
    }

    fn of(files: &[&str], port: u16, parse: fn(&str, u16) -> Option<u64>) -> Port {
        let found = files.iter().filter_map(|file| {
            let text = fs::read_to_string(format!("/proc/self/net/{file}")).ok()?;
            parse(&text, port)
        });
        found.max().map_or(Port::Closed, |waiting| Port::Open { waiting })
    }
}

/// Connections that wait at a TCP port; None: nobody listens there.
fn parse_tcp(text: &str, port: u16) -> Option<u64> {
    let listens = |fields: &[&str]| fields.get(3) == Some(&LISTENS);
    // The kernel shows the length of the queue of connections in place of received bytes.
    let waiting = |fields: &[&str]| u64::from_str_radix(fields.get(4)?.split_once(':')?.1, 16).ok();
    at_port(text, port, listens, waiting)
}

/// 0 if a UDP port is open: what waits there are bytes.
fn parse_udp(text: &str, port: u16) -> Option<u64> {
    at_port(text, port, |_| true, |_| Some(0))
}

/// The most of what `value` says of the lines about a port.
fn at_port(
    text: &str,
    port: u16,
    counts: impl Fn(&[&str]) -> bool,
    value: impl Fn(&[&str]) -> Option<u64>,
) -> Option<u64> {
    let lines = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_there = u16::from_str_radix(local, 16).ok()? == port && counts(&fields);
        is_there.then(|| value(&fields).unwrap_or(0))
    });
    lines.max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Recorded while one connection waited at port 2000.
    const TCP: &str = include_str!("../../../fixtures/proc/net-tcp");

    #[test]
    fn who_listens_and_who_waits_is_seen() {
        assert_eq!(parse_tcp(TCP, 2000), Some(1));
        assert_eq!(parse_tcp(TCP, 1811), Some(0));
        assert_eq!(parse_tcp(TCP, 1815), None);
        let connected = TCP.replace(" 0A ", " 01 ");
        assert_eq!(parse_tcp(&connected, 2000), None);
        assert_eq!(parse_udp(TCP, 1811), Some(0));
    }

    #[test]
    fn a_port_of_this_machine_is_seen() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap();
        assert_eq!(Port::tcp(port.port()), Port::Open { waiting: 0 });
        let _client = std::net::TcpStream::connect(port).unwrap();
        assert_eq!(Port::tcp(port.port()), Port::Open { waiting: 1 });
        drop(listener);
        assert_eq!(Port::tcp(port.port()), Port::Closed);
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(Port::udp(port), Port::Open { waiting: 0 });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ 0-9A-F:\n.]{0,300}", port in any::<u16>()) {
            parse_tcp(&text, port);
            parse_udp(&text, port);
        }
    }
}
