//! The node's own way to take the master IP.

use crate::net::address::{self, Address};
use crate::net::neighbours;
use roost_proto::error::{Error, Result};
use roost_proto::node::MasterIp;
use std::net::IpAddr;
use std::time::Duration;

/// The kernel has found out by then whether an address of version 6 is free.
const SETTLE: Duration = Duration::from_secs(5);

/// Takes it. `own` is the address this node is reached at.
pub async fn up(wanted: &MasterIp, own: Option<IpAddr>) -> Result<Vec<String>> {
    let (ip, netdev) = (wanted.ip, wanted.netdev.as_str());
    if own == Some(ip) {
        return Ok(vec![format!("The master IP {ip} is this node's own address, it stays")]);
    }
    let here = here(ip).await?;
    let right = |a: &&Address| a.netdev == netdev && a.prefix == wanted.netmask;
    if here.is_empty() && neighbours::answers(ip, netdev, false).await == Some(true) {
        return Err(Error::environment(format!(
            "The master IP {ip} was not taken: another machine answers to it; make sure that no \
             former master and no stranger has it"
        )));
    }
    if !here.iter().any(|a| right(&a)) {
        address::add(ip, wanted.netmask, netdev)
            .await
            .map_err(|e| e.at(format!("The master IP {ip} cannot be put on {netdev}")))?;
    }
    let mut messages = Vec::new();
    for old in here.iter().filter(|a| !right(a)) {
        address::remove(old).await?;
        messages.push(format!(
            "The master IP was {ip}/{} on {}, it is {ip}/{} on {netdev} now",
            old.prefix, old.netdev, wanted.netmask
        ));
    }
    if ip.is_ipv6() {
        settle(wanted).await?;
    }
    neighbours::announce(ip, netdev);
    Ok(messages)
}

/// Waits until the kernel trusts the address. Errors: somebody else has it; then it is gone here.
async fn settle(wanted: &MasterIp) -> Result<()> {
    let give_up = tokio::time::Instant::now() + SETTLE;
    loop {
        let here = here(wanted.ip).await?;
        if let Some(duplicate) = here.iter().find(|a| a.duplicate) {
            address::remove(duplicate).await?;
            return Err(Error::environment(format!(
                "The master IP {} was not taken: another machine has it, as its neighbour \
                 advertisement said",
                wanted.ip
            )));
        }
        if here.iter().all(|a| !a.tentative) || tokio::time::Instant::now() >= give_up {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Gives it up, on whatever device it is.
pub async fn down(address: &MasterIp, own: Option<IpAddr>) -> Result<Vec<String>> {
    let ip = address.ip;
    if own == Some(ip) {
        return Ok(vec![format!("The master IP {ip} is this node's own address, it stays")]);
    }
    for found in here(ip).await? {
        address::remove(&found)
            .await
            .map_err(|e| e.at(format!("The master IP {ip} stays on {}", found.netdev)))?;
    }
    Ok(vec![])
}

async fn here(ip: IpAddr) -> Result<Vec<Address>> {
    Ok(address::all().await?.into_iter().filter(|own| own.ip == ip).collect())
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[tokio::test]
    async fn a_nodes_own_address_is_never_touched() {
        let ip = "127.0.0.1".parse().expect("an address");
        let wanted = MasterIp { ip, ..example() };
        for said in [up(&wanted, Some(ip)).await, down(&wanted, Some(ip)).await] {
            let said = said.expect("done");
            assert!(said[0].contains("own address, it stays"), "{said:?}");
        }
        assert_eq!(here(ip).await.expect("addresses").len(), 1);
    }

    #[tokio::test]
    async fn what_is_not_here_is_down() {
        assert_eq!(down(&example(), None).await, Ok(vec![]));
    }
}
