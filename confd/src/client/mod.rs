//! Asks several daemons and says what the cluster knows.
//!
//! ```text
//!            ┌─ question, rsalt a ─► candidate 1 ─ answer, serial 41 ─┐
//!   ask ─────┼─ question, rsalt b ─► candidate 2 ─ answer, serial 42 ─┼─► enough? ─► the highest serial
//!            └─ question, rsalt c ─► candidate 3      (lost)          ┘
//!                       └── a third of the time later, once more, to those who were not heard
//! ```
//!
//! Any one candidate may be behind, so none is believed alone while others can be heard. What is not signed
//! with the cluster's key, answers another question, or comes from elsewhere is ignored.
//!
//! Unlike Ganeti's clients, ours asks a second time (datagrams get lost, and a lost one must not cost the whole time
//! limit), and does not wait the whole time for a candidate that is down while others have answered:
//! [`Client::settle`].

mod ask;
mod error;
mod round;
#[cfg(test)]
mod testing;
mod typed;

pub use error::AskError;
pub use round::{Heard, Ignored, Outcome, enough};
pub use typed::{Collector, DrbdMinor, Guest, NodeInstances, Told};

use crate::wire::{HmacKey, PORT, Tag};
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use roost_proto::secrets::SecretFile;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::time::Duration;

/// So many are asked unless told otherwise: Ganeti's number.
pub const COVERAGE: usize = 6;
/// How long to wait for answers unless told otherwise: Ganeti's time.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for more answers once there is one, unless told otherwise.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Asks the daemons of some machines. Needs no task of its own, and keeps nothing but a buffer between questions.
#[derive(Debug)]
pub struct Client {
    peers: Vec<IpAddr>,
    key: HmacKey,
    port: u16,
    tag: Tag,
    timeout: Duration,
    settle: Duration,
    coverage: usize,
    all: bool,
    /// The longest datagram; whoever asks takes it and puts it back.
    buffer: Mutex<Option<Box<[u8]>>>,
}

impl Client {
    /// Asks these. Errors: there are none; some have IPv4 and some IPv6 addresses.
    pub fn new(mut peers: Vec<IpAddr>, key: HmacKey) -> Result<Client> {
        peers.sort();
        peers.dedup();
        let Some(first) = peers.first() else {
            return Err(Error::wrong_input("There is no address of a confd to ask"));
        };
        if let Some(other) = peers.iter().find(|peer| peer.is_ipv4() != first.is_ipv4()) {
            return Err(Error::wrong_input(format!(
                "{first} and {other} cannot be asked together: all addresses must be of IPv4, or all of IPv6"
            )));
        }
        Ok(Client {
            peers,
            key,
            port: PORT,
            tag: Tag::Sha1,
            timeout: TIMEOUT,
            settle: SETTLE,
            coverage: COVERAGE,
            all: false,
            buffer: Mutex::new(None),
        })
    }

    /// Asks the master candidates of this machine's cluster, with its key. Errors: the machine is in no
    /// cluster, or its files are not readable to us.
    pub fn of_cluster(paths: &Paths) -> Result<Client> {
        Client::new(candidates(paths)?, key(paths)?)
    }

    /// Asks the daemon of this machine only.
    pub fn of_this_machine(paths: &Paths) -> Result<Client> {
        Client::new(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], key(paths)?)
    }

    /// At another UDP port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Client {
        self.port = port;
        self
    }

    /// Signed otherwise; the daemons must allow it.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Client {
        self.tag = tag;
        self
    }

    /// How long to wait for answers.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    /// How long to wait for further answers after the first. The time-out counts, too.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Client {
        self.settle = settle;
        self
    }

    /// How many are asked, if there are so many. At least one is.
    #[must_use]
    pub fn coverage(mut self, coverage: usize) -> Client {
        self.coverage = coverage.max(1);
        self
    }

    /// All are asked, and all waited for until the time-out.
    #[must_use]
    pub fn all(mut self) -> Client {
        self.coverage = usize::MAX;
        self.settle = Duration::MAX;
        self.all = true;
        self
    }

    /// Whom it may ask.
    pub fn peers(&self) -> &[IpAddr] {
        &self.peers
    }
}

/// The addresses of the cluster's master candidates, as this node was told last.
pub fn candidates(paths: &Paths) -> Result<Vec<IpAddr>> {
    let path = paths.ssconf("master_candidates_ips");
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::environment(format!(
            "Cannot read '{}', which names the master candidates: {e}; is this machine in a cluster?",
            path.display()
        ))
    })?;
    let wrong = |line: &str| {
        Error::environment(format!("'{line}' in '{}' is not an address", path.display()))
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().map_err(|_| wrong(line))).collect()
}

/// The key of this machine's cluster.
pub fn key(paths: &Paths) -> Result<HmacKey> {
    HmacKey::read(&paths.secret(SecretFile::ConfdHmacKey))
}
