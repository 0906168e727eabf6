//! The other machines: whether one of them answers to an address, and telling them who has it now.
//!
//! Version 4 is asked and told by ARP (`arping`, of Debian's package iputils-arping), which works
//! before an address is configured and whatever a machine's firewall says. Version 6 is told by an
//! unsolicited neighbour advertisement; that it is free, the kernel finds out by itself when the
//! address is added.

use crate::exec::Command;
use roost_proto::paths::NODED_PORT;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::time::Duration;
use tokio::net::TcpStream;

/// Who has not answered by then does not.
const WAIT: Duration = Duration::from_secs(1);
/// All machines of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// How often a new address is announced, a second apart: one may get lost.
const ANNOUNCEMENTS: u32 = 3;

/// Whether another machine answers to the address. `here`: so does this one. `None`: nobody
/// answered, but the neighbours could not be asked properly.
pub async fn answers(ip: IpAddr, netdev: &str, here: bool) -> Option<bool> {
    let arp = async {
        match ip {
            IpAddr::V4(_) => arp(ip, netdev).await,
            IpAddr::V6(_) => None,
        }
    };
    if here {
        // Anything else would be answered by this machine.
        return arp.await;
    }
    let listens = listens(ip);
    tokio::pin!(arp, listens);
    // Whoever says yes first is right.
    tokio::select! {
        found = &mut arp => match found {
            Some(true) => Some(true),
            other => if listens.await { Some(true) } else { other },
        },
        found = &mut listens => if found { Some(true) } else { arp.await },
    }
    .or_else(|| ip.is_ipv6().then_some(false))
}

/// Asks by ARP, as one who has no address yet.
async fn arp(ip: IpAddr, netdev: &str) -> Option<bool> {
    let command = Command::new("arping").args(["-D", "-q", "-c", "3", "-I", netdev]);
    match command.arg(ip.to_string()).deadline(WAIT).run().await {
        // It exits with 1 as soon as somebody answers, and had to be ended if nobody did.
        Ok(end) if end.code == 1 => Some(true),
        Ok(end) if end.code == 0 || end.code == 124 => Some(false),
        Ok(end) => {
            tracing::warn!(%ip, netdev, why = end.last_lines(1), "cannot ask who has an address");
            None
        }
        Err(error) => {
            tracing::warn!(%ip, netdev, %error, "cannot ask who has an address");
            None
        }
    }
}

/// Whether a machine with this address takes connections, or says that it does not.
async fn listens(ip: IpAddr) -> bool {
    match tokio::time::timeout(WAIT, TcpStream::connect((ip, NODED_PORT))).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

/// Tells the neighbours that this machine has the address. Returns at once; goes on for some
/// seconds.
pub fn announce(ip: IpAddr, netdev: &str) {
    let netdev = netdev.to_owned();
    tokio::spawn(async move {
        let told = match ip {
            IpAddr::V4(_) => announce_v4(ip, &netdev).await,
            IpAddr::V6(ip) => announce_v6(ip, &netdev).await,
        };
        if let Err(why) = told {
            // They ask by themselves, some minutes later.
            tracing::warn!(%ip, netdev, %why, "neighbours were not told of an address");
        }
    });
}

async fn announce_v4(ip: IpAddr, netdev: &str) -> std::result::Result<(), String> {
    let count = ANNOUNCEMENTS.to_string();
    let ip = ip.to_string();
    let command = Command::new("arping").args(["-U", "-q", "-c", &count, "-I", netdev, "-s", &ip]);
    let end = command.arg(&ip).deadline(Duration::from_secs(10)).run().await;
    match end.map_err(|e| e.message)? {
        // 1: nobody answered, which is as it should be.
        end if end.code <= 1 => Ok(()),
        end => Err(format!("arping {}: {}", end.end, end.last_lines(1))),
    }
}

async fn announce_v6(ip: Ipv6Addr, netdev: &str) -> std::result::Result<(), String> {
    for _ in 0..ANNOUNCEMENTS {
        advertise(ip, netdev).map_err(|e| e.to_string())?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Sends one advertisement to all machines of the link.
fn advertise(ip: Ipv6Addr, netdev: &str) -> Result<()> {
    let index = device(netdev, "ifindex")?;
    let index = index.parse().map_err(|e| Error::new(ErrorKind::InvalidData, e))?;
    let hardware = hardware_address(&device(netdev, "address")?)
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, "the device has no hardware address"))?;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    // Receivers believe only what cannot have come through a router.
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(index)?;
    socket.bind(&SockAddr::from(SocketAddrV6::new(ip, 0, 0, 0)))?;
    let target = SocketAddrV6::new(ALL_NODES, 0, 0, index);
    socket.send_to(&advertisement(ip, hardware), &target.into()).map(|_| ())
}

fn device(netdev: &str, what: &str) -> Result<String> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{netdev}/{what}"))?;
    Ok(text.trim().to_owned())
}

fn hardware_address(text: &str) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

/// A neighbour advertisement that overrides what receivers know (RFC 4861, 4.4). The kernel fills in
/// the checksum.
fn advertisement(ip: Ipv6Addr, hardware: [u8; 6]) -> [u8; 32] {
    const OVERRIDE: u8 = 0x20;
    let mut packet = [0; 32];
    packet[0] = 136;
    packet[4] = OVERRIDE;
    packet[8..24].copy_from_slice(&ip.octets());
    // The option "target link-layer address", of one unit of eight bytes.
    packet[24..26].copy_from_slice(&[2, 1]);
    packet[26..].copy_from_slice(&hardware);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_names_address_and_card() {
        let hardware = hardware_address("02:00:78:00:00:ff").expect("six bytes");
        assert_eq!(hardware, [2, 0, 0x78, 0, 0, 0xff]);
        assert_eq!(hardware_address("00:00"), None);
        assert_eq!(hardware_address("xx:00:00:00:00:00"), None);
        let packet = advertisement("2001:db8::7".parse().expect("an address"), hardware);
        assert_eq!(packet[..8], [136, 0, 0, 0, 0x20, 0, 0, 0]);
        assert_eq!((packet[8], packet[9], packet[23]), (0x20, 0x01, 7));
        assert_eq!(packet[24..], [2, 1, 2, 0, 0x78, 0, 0, 0xff]);
    }

    #[tokio::test]
    async fn a_refused_connection_is_an_answer() {
        // Nothing listens on this machine, but the machine is there.
        assert!(listens("127.0.0.1".parse().expect("an address")).await);
    }
}
