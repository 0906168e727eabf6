//! Which ports somebody listens at, from `/proc/net`: a look that the daemon behind it does not notice, while a
//! connection that says nothing would be a line in its log.

use std::fs::File;
use std::io::{BufRead, BufReader};

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

/// The ports of this machine (of this network namespace) at a moment: of the kernel's tables the lines that may be of
/// interest. A node may have very many connections.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    tcp: String,
    udp: String,
}

impl Ports {
    /// Reads the tables.
    pub fn read() -> Ports {
        let listens = |line: &str| line.split_ascii_whitespace().nth(3) == Some(LISTENS);
        Ports { tcp: table(&["tcp", "tcp6"], listens), udp: table(&["udp", "udp6"], |_| true) }
    }

    /// A TCP port.
    pub fn tcp(&self, port: u16) -> Port {
        parse_tcp(&self.tcp, port).map_or(Port::Closed, |waiting| Port::Open { waiting })
    }

    /// A UDP port.
    pub fn udp(&self, port: u16) -> Port {
        parse_udp(&self.udp, port).map_or(Port::Closed, |waiting| Port::Open { waiting })
    }
}

/// Lines of tables of the kernel.
fn table(files: &[&str], keep: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    for file in files {
        let Ok(file) = File::open(format!("/proc/self/net/{file}")) else { continue };
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        while let Ok(1..) = reader.read_line(&mut line) {
            if keep(&line) {
                kept.push_str(&line);
            }
            line.clear();
        }
    }
    kept
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
    let lines = text.lines().filter_map(|line| {
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
        assert_eq!(Ports::read().tcp(port.port()), Port::Open { waiting: 0 });
        let _client = std::net::TcpStream::connect(port).unwrap();
        assert_eq!(Ports::read().tcp(port.port()), Port::Open { waiting: 1 });
        drop(listener);
        assert_eq!(Ports::read().tcp(port.port()), Port::Closed);
        let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(Ports::read().udp(port), Port::Open { waiting: 0 });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ 0-9A-F:\n.]{0,300}", port in any::<u16>()) {
            parse_tcp(&text, port);
            parse_udp(&text, port);
        }
    }
}
