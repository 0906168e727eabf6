//! What collectors see besides their machine: where things are, and what confd says of the cluster.

use crate::helper::Helper;
use roost_proto::error::Result;
use roost_proto::paths::Paths;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    paths: Paths,
    helper: Helper,
    cluster: RwLock<Arc<ClusterView>>,
}

/// What the cluster says of this node; the last that was heard. All empty outside a cluster, and until
/// confd has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    /// This node's name; None: it is in no cluster.
    pub node: Option<String>,
    pub enabled_hypervisors: Vec<String>,
    /// DRBD minors of this node and the instances they belong to.
    pub drbd: Vec<(u32, String)>,
    /// Instances that have this node as primary or secondary.
    pub guests: Vec<Guest>,
}

/// An instance of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    pub name: String,
    pub uuid: String,
    /// `up`, `down`, `offline`.
    pub admin_state: String,
    pub hypervisor: String,
    /// Whether this node is its primary.
    pub primary: bool,
    /// Volume group and name of its LVM volumes.
    pub volumes: Vec<(String, String)>,
    /// When its configuration was last changed, since 1970.
    pub mtime: Duration,
}

impl World {
    /// Outside a cluster, until told otherwise.
    pub fn new(paths: Paths, helper: Helper) -> World {
        World(Arc::new(Inner { paths, helper, cluster: RwLock::default() }))
    }

    /// Where things are.
    pub fn paths(&self) -> &Paths {
        &self.0.paths
    }

    /// What the cluster says.
    pub fn cluster(&self) -> Arc<ClusterView> {
        Arc::clone(&self.0.cluster.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// The cluster says something else now.
    pub fn set_cluster(&self, view: ClusterView) {
        *self.0.cluster.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(view);
    }

    /// Has a piece of work done that only root may do.
    pub async fn privileged(&self, task: crate::helper::Task) -> Result<Vec<u8>> {
        self.0.helper.ask(&self.0.paths, task).await
    }
}
