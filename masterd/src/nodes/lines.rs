//! Connections that are kept, one for each node and port, and which of our certificates each shows.
//!
//! ```text
//!              files of certificates change: a new connection
//!   current ◄──────────────────────────────────┐
//!      │  not accepted                         │
//!      └────────► former ──not accepted──► current …
//! ```
//!
//! While certificates are being renewed, a node that was away may know only the former one.

use super::client;
use crate::tls::{Own, Tls};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tonic::transport::Channel;

/// See the module.
#[derive(Debug)]
pub struct Lines {
    tls: Tls,
    channels: Mutex<HashMap<(NodeId, u16), Line>>,
    /// Nodes to which the former certificate is shown, and for which generation of the files.
    former: Mutex<HashMap<NodeId, u64>>,
}

/// A connection, and what it was made for.
#[derive(Debug)]
struct Line {
    address: String,
    own: Own,
    generation: u64,
    channel: Channel,
}

impl Lines {
    /// None yet.
    pub fn new(tls: Tls) -> Lines {
        Lines { tls, channels: Mutex::default(), former: Mutex::default() }
    }

    /// The connection to a node; made when it is first used.
    pub fn channel(&self, node: NodeId, address: &str, port: u16) -> Result<Channel> {
        let generation = self.tls.generation();
        let own = match self.former().get(&node) {
            Some(then) if *then == generation => Own::Former,
            _ => Own::Current,
        };
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = channels.get(&(node, port))
            && line.address == address
            && (line.own, line.generation) == (own, generation)
        {
            return Ok(line.channel.clone());
        }
        let channel = client::channel(&self.tls, own, node, address, port)?;
        let line = Line { address: address.to_owned(), own, generation, channel: channel.clone() };
        channels.insert((node, port), line);
        Ok(channel)
    }

    /// A node did not accept us: the other certificate is shown from now on. Result: whether there
    /// is another.
    pub fn change_certificate(&self, node: NodeId) -> bool {
        if !self.tls.has_former() {
            return false;
        }
        let generation = self.tls.generation();
        let mut former = self.former();
        if former.remove(&node) != Some(generation) {
            former.insert(node, generation);
        }
        true
    }

    fn former(&self) -> MutexGuard<'_, HashMap<NodeId, u64>> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
