//! Nodes on their way in: they have a certificate, but are not in the configuration yet.

use crate::state::{Commit, State};
use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

const PREFIX: &str = "joined/";

/// A machine that showed a join token and got a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    pub name: String,
    pub uuid: NodeId,
    pub address: String,
    /// Ganeti's fingerprint of its certificate.
    pub fingerprint: String,
}

/// All of them, by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct JoinedNodes(Arc<RwLock<BTreeMap<String, Joined>>>);

impl JoinedNodes {
    /// Reads them from the documents of a store.
    pub fn load(documents: &[(Key, String)]) -> Result<JoinedNodes> {
        let mut all = BTreeMap::new();
        for (key, body) in documents {
            if key.space == Space::Meta && key.id.starts_with(PREFIX) {
                let joined: Joined = serde_json::from_str(body)
                    .map_err(|e| Error::internal(format!("{} cannot be read: {e}", key.id)))?;
                all.insert(joined.name.clone(), joined);
            }
        }
        Ok(JoinedNodes(Arc::new(RwLock::new(all))))
    }

    /// Remembers one, durably.
    pub async fn add(&self, state: &State, joined: Joined) -> Result<()> {
        let key = Key::new(Space::Meta, format!("{PREFIX}{}", joined.name));
        let body = serde_json::to_string(&joined)
            .map_err(|e| Error::internal(format!("unstorable node: {e}")))?;
        state.commit(Commit { puts: vec![(key, body)], ..Commit::default() }).await?;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(joined.name.clone(), joined);
        Ok(())
    }

    /// All of them.
    pub fn all(&self) -> Vec<Joined> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The one with this UUID.
    pub fn by_id(&self, node: NodeId) -> Option<Joined> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.values().find(|joined| joined.uuid == node).cloned()
    }
}
