//! Names and what they stand for, by the system's resolver.

use super::{address, neighbours};
use crate::exec::Command;
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::node::ResolvedName;
use std::net::IpAddr;
use std::time::Duration;

/// A resolver that asks several dead servers takes its time.
const DEADLINE: Duration = Duration::from_secs(30);

/// The full name and the address of one family that a name stands for, and whether some machine has
/// that address.
pub async fn resolve(name: &str, ipv6: bool, netdev: &str) -> Result<ResolvedName> {
    let unknown = || {
        let version = if ipv6 { 6 } else { 4 };
        Error::prereq(
            ErrorType::ResolverError,
            format!(
                "Can't resolve hostname '{name}' to an address of version {version}: add it to \
                 DNS or to /etc/hosts of every node"
            ),
        )
    };
    if name.is_empty() || name.starts_with('-') {
        return Err(unknown());
    }
    let database = if ipv6 { "ahostsv6" } else { "ahostsv4" };
    let command = Command::new("getent").args([database, name]).deadline(DEADLINE);
    let end = command.run().await?;
    let (ip, full) = end.ok().then(|| parse(&end.text(), name)).flatten().ok_or_else(unknown)?;
    let here = address::all().await?.iter().any(|own| own.ip == ip);
    let taken = here || neighbours::answers(ip, netdev, false).await == Some(true);
    Ok(ResolvedName { name: full, ip, taken })
}

/// `getent` tells the full name in the line of the first address.
fn parse(text: &str, asked: &str) -> Option<(IpAddr, String)> {
    let mut words = text.lines().next()?.split_whitespace();
    let ip = words.next()?.parse().ok()?;
    let full = words.nth(1).unwrap_or(asked);
    Some((ip, full.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts() {
        let text = "192.0.2.9       STREAM C1.example.com\n192.0.2.9       DGRAM  \n\
                    192.0.2.10      STREAM \n";
        let ip: IpAddr = "192.0.2.9".parse().expect("an address");
        assert_eq!(parse(text, "c1"), Some((ip, "c1.example.com".to_owned())));
        assert_eq!(parse("192.0.2.9 STREAM \n", "c1"), Some((ip, "c1".to_owned())));
        assert_eq!(parse("", "c1"), None);
    }

    #[tokio::test]
    async fn what_nobody_knows_is_refused() {
        for name in ["no-such-host.invalid", "", "-s"] {
            let error = resolve(name, false, "lo").await.expect_err("refused");
            assert_eq!(error.error_type, Some(ErrorType::ResolverError));
            assert!(error.message.contains(name), "{error}");
        }
        let own = resolve("localhost", false, "lo").await.expect("every machine knows it");
        assert!(own.ip.is_loopback() && own.taken, "{own:?}");
    }
}
