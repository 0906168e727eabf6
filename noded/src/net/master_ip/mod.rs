//! The master IP on this node: taking it and giving it up.
//!
//! ```text
//!           pre hooks     ip address add, neighbours are told      post hooks
//!   absent ───────────► (refused if another machine answers) ──────────────► present
//!      ▲                                                                       │
//!      └────────── post hooks ◄────── ip address del ◄────── pre hooks ────────┘
//! ```
//!
//! Both may be repeated. Instead of the middle, the site's own script does it where the cluster says
//! so. An address that this node is reached at anyway is never touched.

mod builtin;
mod hooks;
mod script;

use crate::host::Host;
use roost_proto::error::Result;
use roost_proto::node::{HookPhase, MasterIp};
use tokio::sync::Mutex;

/// Two at once could take the address away from under each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Up,
    Down,
}

/// Takes the address. Result: what the administrator should know.
pub async fn up(host: &Host, address: &MasterIp) -> Result<Vec<String>> {
    turn(host, address, Turn::Up).await
}

/// Gives the address up. Result: what the administrator should know.
pub async fn down(host: &Host, address: &MasterIp) -> Result<Vec<String>> {
    turn(host, address, Turn::Down).await
}

async fn turn(host: &Host, address: &MasterIp, turn: Turn) -> Result<Vec<String>> {
    let _alone = ONE_AT_A_TIME.lock().await;
    hooks::run(&host.paths, address, turn, HookPhase::Pre).await?;
    let own = host.identity.address.parse().ok();
    let mut messages = match (address.external_script, turn) {
        (true, _) => script::run(&host.paths, address, turn).await?,
        (false, Turn::Up) => builtin::up(address, own).await?,
        (false, Turn::Down) => builtin::down(address, own).await?,
    };
    messages.extend(hooks::run(&host.paths, address, turn, HookPhase::Post).await?);
    Ok(messages)
}

#[cfg(test)]
fn example() -> MasterIp {
    MasterIp {
        ip: "192.0.2.250".parse().expect("an address"),
        netdev: "br0".into(),
        netmask: 24,
        external_script: false,
        cluster: roost_proto::names::ClusterName::new("c1.example.com").expect("a good name"),
        master: roost_proto::names::NodeName::new("node1.example.com").expect("a good name"),
    }
}
