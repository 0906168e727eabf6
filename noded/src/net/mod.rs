//! The node's place in the network: its addresses, who else answers to one, what names stand for.

pub mod address;
pub mod master_ip;
pub mod neighbours;
mod resolve;

pub use resolve::resolve;

use roost_proto::error::Result;
use roost_proto::node::IpReport;
use std::net::IpAddr;

/// Whether this node has the address; with `probe`, whether another machine answers to it.
pub async fn report(ip: IpAddr, netdev: &str, probe: bool) -> Result<IpReport> {
    let here = address::all().await?.iter().any(|own| own.ip == ip);
    let answers = if probe { neighbours::answers(ip, netdev, here).await } else { None };
    Ok(IpReport { here, answers })
}
