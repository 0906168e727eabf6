//! Virtual network cards.

use super::ParamMap;
use crate::ids::{NetworkId, NicId};
use serde::{Deserialize, Serialize};

/// A network card of an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nic {
    pub uuid: NicId,
    pub mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkId>,
    /// mode, link, vlan: those that differ from the cluster's.
    #[serde(default)]
    pub nicparams: ParamMap,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(flatten)]
    pub extra: ParamMap,
}
