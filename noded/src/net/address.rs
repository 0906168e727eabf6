//! This machine's addresses, by way of `ip`.

use crate::exec::Command;
use roost_proto::error::{Error, Result};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// The kernel answers at once.
const DEADLINE: Duration = Duration::from_secs(20);
/// Names of devices, and labels of addresses, are shorter: the kernel's IFNAMSIZ.
const LABEL_LIMIT: usize = 16;

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    /// Bits of its network.
    pub prefix: u32,
    pub netdev: String,
    /// IPv6: the kernel still asks whether somebody has it.
    pub tentative: bool,
    /// IPv6: somebody has it.
    pub duplicate: bool,
}

#[derive(Deserialize)]
struct Device {
    // `ip` prints an empty object where a device just vanished.
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    local: Option<IpAddr>,
    #[serde(default)]
    prefixlen: u32,
    #[serde(default)]
    tentative: bool,
    #[serde(default)]
    dadfailed: bool,
}

/// All addresses of this machine.
pub async fn all() -> Result<Vec<Address>> {
    let output =
        Command::new("ip").args(["-json", "address", "show"]).deadline(DEADLINE).run_ok().await?;
    parse(&output.output)
}

fn parse(json: &[u8]) -> Result<Vec<Address>> {
    let devices: Vec<Device> = serde_json::from_slice(json)
        .map_err(|e| Error::environment(format!("What 'ip address' says cannot be read: {e}")))?;
    let mut all = Vec::new();
    for device in devices {
        for info in device.addr_info {
            let Some(ip) = info.local else { continue };
            all.push(Address {
                ip,
                prefix: info.prefixlen,
                netdev: device.ifname.clone(),
                tentative: info.tentative,
                duplicate: info.dadfailed,
            });
        }
    }
    Ok(all)
}

/// Gives a device one more address.
pub async fn add(ip: IpAddr, prefix: u32, netdev: &str) -> Result<()> {
    let mut args = vec!["address".into(), "add".into(), format!("{ip}/{prefix}")];
    args.extend(["dev".into(), netdev.to_owned()]);
    // Old tools know an additional address by its label; version 6 has none.
    let label = format!("{netdev}:0");
    if ip.is_ipv4() && label.len() < LABEL_LIMIT {
        args.extend(["label".into(), label]);
    }
    change(args).await
}

/// Takes an address away.
pub async fn remove(address: &Address) -> Result<()> {
    let what = format!("{}/{}", address.ip, address.prefix);
    change(vec!["address".into(), "del".into(), what, "dev".into(), address.netdev.clone()]).await
}

async fn change(args: Vec<String>) -> Result<()> {
    Command::new("ip").args(args).deadline(DEADLINE).run_ok().await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ip_prints_is_read() {
        let json = br#"[{},
            {"ifindex": 1, "ifname": "lo", "addr_info": [
                {"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
            {"ifindex": 2, "ifname": "br0", "addr_info": [
                {"family": "inet", "local": "192.0.2.9", "prefixlen": 32, "label": "br0:0"},
                {"family": "inet6", "local": "2001:db8::9", "prefixlen": 128, "tentative": true,
                 "dadfailed": true}]},
            {"ifindex": 3, "ifname": "eth0", "addr_info": []}]"#;
        let address = |ip: &str, prefix, netdev: &str, doubtful| Address {
            ip: ip.parse().expect("an address"),
            prefix,
            netdev: netdev.into(),
            tentative: doubtful,
            duplicate: doubtful,
        };
        assert_eq!(
            parse(json).expect("readable"),
            [
                address("127.0.0.1", 8, "lo", false),
                address("192.0.2.9", 32, "br0", false),
                address("2001:db8::9", 128, "br0", true),
            ]
        );
        assert!(parse(b"Object \"address\" is unknown").is_err());
    }

    #[tokio::test]
    async fn the_loopback_address_is_here() {
        let ip: IpAddr = "127.0.0.1".parse().expect("an address");
        assert!(all().await.expect("addresses").iter().any(|own| own.ip == ip));
    }
}
