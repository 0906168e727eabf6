//! Networks: address pools.

use super::ParamMap;
use crate::ids::NetworkId;
use crate::names::NetworkName;
use serde::{Deserialize, Serialize};

/// An address pool. The two bitmaps are strings of `0` and `1`, one for each address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub uuid: NetworkId,
    pub name: NetworkName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_prefix: Option<String>,
    /// IPv4, as `10.0.0.0/24`.
    pub network: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network6: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<String>,
    /// Addresses of instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservations: Option<String>,
    /// Addresses kept free of instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext_reservations: Option<String>,
    pub ctime: f64,
    pub mtime: f64,
    pub serial_no: u64,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(flatten)]
    pub extra: ParamMap,
}
