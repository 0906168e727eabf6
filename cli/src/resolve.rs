//! Names of machines and their addresses.

use roost_proto::error::{Error, ErrorType, Result};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

/// A machine's full name and its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// In lower case; the full name where the hosts file has one.
    pub name: String,
    /// Its first address.
    pub address: IpAddr,
}

/// Which addresses are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Version 4 if there is one.
    Any,
    /// Only version 4.
    V4,
    /// Only version 6.
    V6,
}

impl Family {
    fn fits(self, address: IpAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

/// Finds a machine: in the hosts file, which knows full names, else by the system's resolver.
pub fn host(name: &str) -> Result<Host> {
    host_in(name, Family::Any)
}

/// The same with an address of one family.
pub fn host_in(name: &str, family: Family) -> Result<Host> {
    let hosts = std::fs::read_to_string(Path::new("/etc/hosts")).unwrap_or_default();
    if let Some(host) = in_hosts_file(&hosts, name, family) {
        return Ok(host);
    }
    let unknown = || Error {
        message: format!(
            "can't resolve hostname '{name}': add it to DNS or to /etc/hosts of every node"
        ),
        ..Error::prereq(ErrorType::ResolverError, "")
    };
    let addresses = (name, 0).to_socket_addrs().map_err(|_| unknown())?;
    let addresses: Vec<IpAddr> =
        addresses.map(|address| address.ip()).filter(|address| family.fits(*address)).collect();
    let address = addresses.iter().find(|a| a.is_ipv4()).or(addresses.first());
    let address = *address.ok_or_else(unknown)?;
    Ok(Host { name: name.to_ascii_lowercase(), address })
}

fn in_hosts_file(hosts: &str, name: &str, family: Family) -> Option<Host> {
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        let names: Vec<&str> = words.collect();
        if family.fits(address) && names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Some(Host { name: names[0].to_ascii_lowercase(), address });
        }
    }
    None
}

/// This machine's own full name.
pub fn own_name() -> Result<String> {
    let name = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .ok_or_else(|| Error::environment("this machine's host name cannot be read"))?;
    Ok(name)
}

/// Whether an address belongs to this machine.
pub fn is_local(address: IpAddr) -> bool {
    // Only an address of our own can be bound.
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_in_the_hosts_file_is_the_full_one() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.9 n1\n10.0.0.1\tN1.example.com n1 # first\n";
        let host = in_hosts_file(hosts, "n1", Family::Any).expect("found");
        assert_eq!(host.name, "n1.example.com");
        assert_eq!(host.address, "10.0.0.1".parse::<IpAddr>().expect("address"));
        assert_eq!(in_hosts_file(hosts, "n1", Family::V6), None);
        assert_eq!(in_hosts_file(hosts, "n2", Family::Any), None);
    }

    #[test]
    fn loopback_is_local() {
        assert!(is_local("127.0.0.1".parse().expect("address")));
        assert!(!is_local("192.0.2.1".parse().expect("address")));
    }
}
