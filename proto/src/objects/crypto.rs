//! Whom the nodes of a cluster trust, and which version of a shared secret is the current one.
//!
//! ```text
//!   authorities   [signs now, still trusted, …]     nodes: ca.pem
//!   certs         node ─► certificate it should have
//!   former_certs  candidate ─► certificates it had  nodes: ssconf_master_candidates_certs
//!   secrets       file ─► version                   nodes: rapi.pem, hmac.key, …
//! ```
//!
//! Nothing in here is secret: certificates and fingerprints are public, and a version only names
//! a secret that is kept elsewhere.

use crate::ids::NodeId;
use crate::secrets::SecretFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Crypto {
    /// Certificates (PEM) of the authorities all nodes trust. The first one signs; the others go
    /// when no node needs them any more.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// Fingerprint of the certificate a node was given last, where it was renewed.
    #[serde(default)]
    pub certs: BTreeMap<NodeId, String>,
    /// Fingerprints of certificates that candidates had before: obeyed until all nodes know the
    /// new ones.
    #[serde(default)]
    pub former_certs: BTreeMap<NodeId, Vec<String>>,
    /// The current version of each shared secret.
    #[serde(default)]
    pub secrets: BTreeMap<SecretFile, String>,
}

impl Crypto {
    /// Nothing was recorded: as in clusters of older versions.
    pub fn is_empty(&self) -> bool {
        *self == Crypto::default()
    }

    /// Something old is still trusted beside its replacement.
    pub fn overlaps(&self) -> bool {
        self.authorities.len() > 1 || !self.former_certs.is_empty()
    }

    /// Nothing of a node that has left remains.
    pub fn forget_node(&mut self, node: NodeId) {
        self.certs.remove(&node);
        self.former_certs.remove(&node);
    }
}
