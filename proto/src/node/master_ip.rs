//! The master IP: the address that the cluster's name stands for and that follows the master.

use crate::error::{Error, Result};
use crate::names::{ClusterName, NodeName};
use crate::objects::Cluster;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Everything a node needs to know to take the address or to give it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterIp {
    pub ip: IpAddr,
    /// The device that carries it.
    pub netdev: String,
    /// Bits of its network.
    pub netmask: u32,
    /// The site's own script does it, not the node.
    #[serde(default)]
    pub external_script: bool,
    /// Names that hooks are told.
    pub cluster: ClusterName,
    pub master: NodeName,
}

impl MasterIp {
    /// That of a cluster. Errors: its address is none.
    pub fn of(cluster: &Cluster, master: &NodeName) -> Result<MasterIp> {
        let ip = cluster.master_ip.parse().map_err(|_| {
            Error::wrong_state(format!(
                "The master IP '{}' of cluster {} is not an address; give the cluster's name one \
                 and run 'gnt-cluster rename'",
                cluster.master_ip, cluster.cluster_name
            ))
        })?;
        Ok(MasterIp {
            ip,
            netdev: cluster.master_netdev.clone(),
            netmask: cluster.master_netmask,
            external_script: cluster.use_external_mip_script,
            cluster: cluster.cluster_name.clone(),
            master: master.clone(),
        })
    }

    /// 4 or 6.
    pub fn version(&self) -> u8 {
        if self.ip.is_ipv4() { 4 } else { 6 }
    }
}

/// What a node knows of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpReport {
    /// It is one of the node's own.
    pub here: bool,
    /// Some other machine answers to it; absent if that was not asked, or cannot be found out.
    #[serde(default)]
    pub answers: Option<bool>,
}

/// What a name stands for, as a node's resolver sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedName {
    /// The full name.
    pub name: String,
    pub ip: IpAddr,
    /// The node itself or some other machine has the address already.
    pub taken: bool,
}
