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
        let (generation, own) = (self.tls.generation(), self.shown(node));
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

    /// The certificate that a node is shown now.
    pub fn shown(&self, node: NodeId) -> Own {
        match self.former().get(&node) {
            Some(then) if *then == self.tls.generation() => Own::Former,
            _ => Own::Current,
        }
    }

    /// A node did not accept us when it was shown `shown`: from now on it is the other one. (Several
    /// may notice at the same time.) Result: whether there is another.
    pub fn change_certificate(&self, node: NodeId, shown: Own) -> bool {
        if !self.tls.has_former() {
            return false;
        }
        match shown {
            Own::Current => self.former().insert(node, self.tls.generation()),
            Own::Former => self.former().remove(&node),
        };
        true
    }

    fn former(&self) -> MutexGuard<'_, HashMap<NodeId, u64>> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
