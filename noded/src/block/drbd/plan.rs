//! What is to be done so that a mirror becomes as it is described. Pure.
//!
//! ```text
//!   nothing ─NewResource, NewMinor─► device ─Attach─► with storage ─Connect─► with its other side
//!      ▲                               ▲ ▲             │                        │
//!      └──────────── Down ─────────────┘ └── Detach ───┴────── Disconnect ──────┘
//! ```
//!
//! A device is a mirror's own if it stands on its storage or has its secret; an empty one belongs
//! to nobody. Anything else is somebody else's and not touched.

use super::netlink::{Context, Message, Order};
use super::options::{self, Options};
use super::show::Configured;
use super::version::Dialect;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A mirror as it is to be on this node.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    pub resource: String,
    pub minor: u32,
    /// Its own storage.
    pub data: PathBuf,
    pub meta: PathBuf,
    /// How much of the storage is used, sectors; all of it if nothing is said.
    pub sectors: Option<u64>,
    pub disk: Options,
    pub net: Options,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// The numbers of the two sides: 9 wants them.
    pub node: u32,
    pub peer_node: u32,
    pub secret: String,
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted")
            .field("resource", &self.resource)
            .field("data", &self.data)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    NewResource,
    NewMinor,
    /// Takes the storage into use, after its activity log was applied to it.
    Attach,
    /// Lets go of storage that is not wanted.
    Detach,
    DiskOptions,
    /// Looks for the other side.
    Connect,
    NetOptions,
    /// Gives up a connection that is not wanted.
    Disconnect {
        local: String,
        peer: String,
    },
}

/// What is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The minor is another device.
    Minor { resource: String, data: Option<String> },
    /// The name of the resource is another device's.
    Name { minor: u32 },
    /// The storage is another device's.
    Storage { resource: String, minor: u32 },
}

/// How a device with the mirror's minor stands to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// It stands on the mirror's storage.
    Ours,
    /// It has the mirror's secret, and other storage.
    OursElsewhere,
    /// It has the mirror's secret, and no storage.
    OursDiskless,
    /// It has neither storage nor connection.
    Nobodys,
    Foreign,
}

/// Whose a device is. `data` is the mirror's storage; paths are as [`Configured`] has them.
pub fn whose(device: &Configured, data: &Path, secret: &str) -> Whose {
    let secret_fits = device.net.as_ref().is_some_and(|net| net.secret == secret);
    match &device.backing {
        Some(backing) if Path::new(&backing.data) == data => Whose::Ours,
        Some(_) if secret_fits => Whose::OursElsewhere,
        Some(_) => Whose::Foreign,
        None if secret_fits => Whose::OursDiskless,
        None if device.net.is_none() => Whose::Nobodys,
        None => Whose::Foreign,
    }
}

/// The steps from what is to what is wanted. `alone`: it gave up looking for its other side.
pub fn assemble(now: &[Configured], alone: bool, wanted: &Wanted) -> Result<Vec<Step>, Refusal> {
    let data = wanted.data.to_string_lossy();
    for other in now.iter().filter(|device| device.minor != wanted.minor) {
        if other
            .backing
            .as_ref()
            .is_some_and(|b| b.data == data || *b.meta == wanted.meta.to_string_lossy())
        {
            let (resource, minor) = (other.resource.clone(), other.minor);
            return Err(Refusal::Storage { resource, minor });
        }
        if other.resource == wanted.resource {
            return Err(Refusal::Name { minor: other.minor });
        }
    }
    let Some(device) = now.iter().find(|device| device.minor == wanted.minor) else {
        return Ok(vec![Step::NewResource, Step::NewMinor, Step::Attach, Step::Connect]);
    };
    let whose = whose(device, &wanted.data, &wanted.secret);
    if whose == Whose::Foreign || device.resource != wanted.resource {
        let data = device.backing.as_ref().map(|backing| backing.data.clone());
        return Err(Refusal::Minor { resource: device.resource.clone(), data });
    }
    let mut steps = vec![];
    match whose {
        Whose::Ours if device.disk.differs(&wanted.disk) => steps.push(Step::DiskOptions),
        Whose::Ours => {}
        Whose::OursElsewhere => steps.extend([Step::Detach, Step::Attach]),
        _ => steps.push(Step::Attach),
    }
    match &device.net {
        None => steps.push(Step::Connect),
        Some(net) => {
            let place =
                net.local == wanted.local.to_string() && net.peer == wanted.peer.to_string();
            if !place || net.secret != wanted.secret || alone {
                let (local, peer) = (net.local.clone(), net.peer.clone());
                // First, so that nobody else's data come with new storage.
                steps.insert(0, Step::Disconnect { local, peer });
                steps.push(Step::Connect);
            } else if net.options.differs(&wanted.net) {
                steps.push(Step::NetOptions);
            }
        }
    }
    Ok(steps)
}

/// How a step is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A program with arguments.
    Run(&'static str, Vec<String>),
    /// An order that carries the secret.
    Tell(Message),
}

/// A call of `drbdsetup`.
pub fn setup<A: Into<String>>(arguments: impl IntoIterator<Item = A>) -> Call {
    Call::Run("drbdsetup", arguments.into_iter().map(Into::into).collect())
}

/// A call of `drbdmeta` about a meta data volume. The minor keeps it from what is set up just now.
pub fn metadata(dialect: Dialect, minor: impl Display, meta: &Path, order: &[&str]) -> Call {
    let format = match dialect {
        Dialect::Eight => "v08",
        Dialect::Nine => "v09",
    };
    let mut all = vec![minor.to_string(), format.into(), meta.display().to_string(), "0".into()];
    all.extend(order.iter().map(|word| (*word).to_owned()));
    // Nobody is there to be asked.
    Call::Run("drbdmeta", [vec!["--force".to_owned()], all].concat())
}

/// Ends a connection, given as it is set up (8.4) or by the other side's number (9).
pub fn disconnect(
    dialect: Dialect,
    (resource, peer_node): (&str, u32),
    (local, peer): (&str, &str),
) -> Vec<Call> {
    let family = |address: &str| match address.starts_with('[') {
        true => format!("ipv6:{address}"),
        false => format!("ipv4:{address}"),
    };
    let node = peer_node.to_string();
    match dialect {
        Dialect::Eight => vec![setup(["disconnect", &family(local), &family(peer)])],
        Dialect::Nine => {
            vec![setup(["disconnect", resource, &node]), setup(["del-peer", resource, &node])]
        }
    }
}

/// Makes empty meta data on a volume.
///
/// Of no minor: the disk's may be set up, on the storage that this one is to replace.
pub fn create_meta(dialect: Dialect, meta: &Path) -> Call {
    match dialect {
        Dialect::Eight => metadata(dialect, "-", meta, &["create-md"]),
        // For one other side.
        Dialect::Nine => metadata(dialect, "-", meta, &["create-md", "1"]),
    }
}

impl Wanted {
    /// The calls that do a step.
    pub fn calls(&self, step: &Step, dialect: Dialect, discard_my_data: bool) -> Vec<Call> {
        let (resource, minor) = (self.resource.clone(), self.minor.to_string());
        let (node, peer) = (self.node.to_string(), self.peer_node.to_string());
        let eight = dialect == Dialect::Eight;
        // 9 has them with the connection.
        let own = |name: &str| eight || !options::RATES.contains(&name);
        let rates = || {
            let rates = options::arguments(&self.disk, |name| options::RATES.contains(&name));
            let call = ["peer-device-options", &resource, &peer, "0", "--set-defaults"];
            setup(call.map(str::to_owned).into_iter().chain(rates))
        };
        match step {
            Step::NewResource if eight => vec![setup(["new-resource", &resource])],
            Step::NewResource => {
                vec![setup(["new-resource", &resource, &node, "--auto-promote=no"])]
            }
            Step::NewMinor => vec![setup(["new-minor", &resource, &minor, "0"])],
            Step::Attach => {
                let (data, meta) = (self.data.display(), self.meta.display());
                let mut all =
                    vec!["attach".into(), minor, data.to_string(), meta.to_string(), "0".into()];
                all.extend(self.sectors.map(|sectors| format!("--size={sectors}s")));
                all.extend(options::arguments(&self.disk, own));
                vec![metadata(dialect, self.minor, &self.meta, &["apply-al"]), setup(all)]
            }
            Step::Detach => vec![setup(["detach", &minor])],
            Step::DiskOptions => {
                let call = ["disk-options", &minor, "--set-defaults"].map(str::to_owned);
                let own = setup(call.into_iter().chain(options::arguments(&self.disk, own)));
                if eight { vec![own] } else { vec![own, rates()] }
            }
            Step::Connect if eight => {
                vec![Call::Tell(self.message(Order::Connect, discard_my_data))]
            }
            Step::Connect => {
                let address = |address: &SocketAddr| match address {
                    SocketAddr::V4(_) => format!("ipv4:{address}"),
                    SocketAddr::V6(_) => format!("ipv6:{address}"),
                };
                let (local, remote) = (address(&self.local), address(&self.peer));
                let mut new =
                    vec!["new-peer".into(), resource.clone(), peer.clone(), "--_name=peer".into()];
                new.extend(options::arguments(&self.net, |_| true));
                let discard = format!("--discard-my-data={}", yes(discard_my_data));
                vec![
                    setup(new),
                    // It has no secret yet, and does not look for anybody before `connect`.
                    Call::Tell(self.message_nine()),
                    setup(["new-path", &resource, &peer, &local, &remote]),
                    rates(),
                    setup(["connect", &resource, &peer, &discard]),
                ]
            }
            Step::NetOptions if eight => vec![Call::Tell(self.message(Order::NetOptions, false))],
            Step::NetOptions => {
                let call = ["net-options", &resource, &peer].map(str::to_owned);
                vec![
                    setup(call.into_iter().chain(options::arguments(&self.net, |_| true))),
                    Call::Tell(self.message_nine()),
                ]
            }
            Step::Disconnect { local, peer } => {
                disconnect(dialect, (&resource, self.peer_node), (local, peer))
            }
        }
    }

    /// 8.4: an order about the connection.
    fn message(&self, order: Order, discard_my_data: bool) -> Message {
        let (local, peer) = (self.local, self.peer);
        let resource = (order == Order::Connect).then(|| self.resource.clone());
        Message {
            order,
            context: Context::Addresses { resource, local, peer },
            options: self.net.clone(),
            secret: self.secret.clone(),
            discard_my_data,
        }
    }

    /// 9: only the secret, the rest is said by command.
    fn message_nine(&self) -> Message {
        let context = Context::Peer { resource: self.resource.clone(), node: self.peer_node };
        Message {
            order: Order::Secret,
            context,
            options: Options::new(),
            secret: self.secret.clone(),
            discard_my_data: false,
        }
    }
}

fn yes(it_is: bool) -> &'static str {
    if it_is { "yes" } else { "no" }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
