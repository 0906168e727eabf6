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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{files, pki};
    use roost_proto::paths::Paths;

    #[tokio::test]
    async fn who_notices_at_the_same_time_agrees() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        let node = NodeId(uuid::Uuid::from_u128(7));
        let authority = pki::new_authority("c").unwrap();
        let pair = pki::new_node(&authority, node).unwrap();
        files::write(&paths.authority(), authority.certificate.as_bytes(), 0o644).unwrap();
        files::write(&paths.certificate(), pair.certificate.as_bytes(), 0o644).unwrap();
        files::write(&paths.key(), pair.key.as_bytes(), 0o600).unwrap();
        let lines = Lines::new(Tls::read(&paths).unwrap());
        assert!(!lines.change_certificate(node, Own::Current), "there is no other");
        assert_eq!(lines.shown(node), Own::Current);

        files::write(&paths.former_certificate(), pair.certificate.as_bytes(), 0o644).unwrap();
        files::write(&paths.former_key(), pair.key.as_bytes(), 0o600).unwrap();
        let lines = Lines::new(Tls::read(&paths).unwrap());
        for _ in 0..2 {
            assert!(lines.change_certificate(node, Own::Current));
            assert_eq!(lines.shown(node), Own::Former);
        }
        assert_eq!(lines.shown(NodeId(uuid::Uuid::from_u128(8))), Own::Current);
        lines.channel(node, "192.0.2.1", 1811).unwrap();
        assert_eq!(lines.channels.lock().unwrap()[&(node, 1811)].own, Own::Former);
        assert!(lines.change_certificate(node, Own::Former));
        lines.channel(node, "192.0.2.1", 1811).unwrap();
        assert_eq!(lines.channels.lock().unwrap()[&(node, 1811)].own, Own::Current);
    }
}
