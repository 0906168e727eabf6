//! The configuration in memory: an immutable snapshot.
//!
//! A snapshot is cheap to keep and to clone (its maps share what they have in common), so every
//! reader holds one for as long as it likes and never waits for a writer. It changes in one way:
//! [`Config::apply`] makes the next one from a list of [`Change`]s, or says why they do not fit.

mod change;
mod index;
mod lookup;
mod replay;
mod ssconf;

pub use change::{Change, Object, ObjectKey, Rejected};
pub use index::Indexes;
pub use ssconf::{RELEASE, candidate_certs};

use crate::store::{Contents, Key, Space};
use roost_proto::ids::{DiskId, FilterId, GroupId, InstanceId, NetworkId, NodeId, RuleId, Serial};
use roost_proto::objects::{
    Cluster, Disk, FilterRule, Instance, Network, Node, NodeGroup, PlacementRule,
};
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// A map that shares structure with its earlier versions.
pub type Map<K, V> = RedBlackTreeMapSync<K, Arc<V>>;

/// The configuration at one serial.
#[derive(Clone, Debug)]
pub struct Config {
    pub serial: Serial,
    /// The last commit that changed an object; as far as is known, after a start.
    pub changed: Serial,
    pub cluster: Arc<Cluster>,
    pub nodes: Map<NodeId, Node>,
    pub groups: Map<GroupId, NodeGroup>,
    pub instances: Map<InstanceId, Instance>,
    pub disks: Map<DiskId, Disk>,
    pub networks: Map<NetworkId, Network>,
    pub filters: Map<FilterId, FilterRule>,
    pub rules: Map<RuleId, PlacementRule>,
    /// Derived from the above.
    pub index: Indexes,
}

/// Why stored documents do not make a configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the store holds no cluster")]
    NoCluster,
    #[error("{space} {id} cannot be read: {detail}", space = key.space.as_str(), id = key.id)]
    Unreadable { key: Key, detail: String },
    #[error("the stored configuration contradicts itself: {0}")]
    Inconsistent(#[from] Rejected),
}

impl Config {
    /// A configuration with nothing but a cluster.
    pub fn new(cluster: Cluster) -> Config {
        Config {
            serial: Serial(0),
            changed: Serial(0),
            cluster: Arc::new(cluster),
            nodes: Map::new_sync(),
            groups: Map::new_sync(),
            instances: Map::new_sync(),
            disks: Map::new_sync(),
            networks: Map::new_sync(),
            filters: Map::new_sync(),
            rules: Map::new_sync(),
            index: Indexes::default(),
        }
    }

    /// Reads the configuration out of what a store holds, and checks it.
    pub fn load(contents: &Contents) -> Result<Config, LoadError> {
        let (key, body) = contents
            .documents
            .iter()
            .find(|(key, _)| key.space == Space::Cluster)
            .ok_or(LoadError::NoCluster)?;
        let Object::Cluster(cluster) = replay::parse(key, body)? else {
            return Err(LoadError::NoCluster);
        };
        let mut config = Config::new(*cluster);
        (config.serial, config.changed) = (contents.serial, contents.serial);
        // Referred-to objects first, so that each insertion can be checked.
        for space in [
            Space::NodeGroup,
            Space::Network,
            Space::Node,
            Space::Disk,
            Space::Instance,
            Space::Filter,
            Space::Rule,
        ] {
            for (key, body) in contents.documents.iter().filter(|(key, _)| key.space == space) {
                config.insert(replay::parse(key, body)?)?;
            }
        }
        config.check_references()?;
        Ok(config)
    }
}
