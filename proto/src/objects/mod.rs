//! The configuration: what we decided, as opposed to what nodes observe.
//!
//! Field names and shapes are those of Ganeti's `config.data`, so that one loads into these types
//! and is written out again without loss: fields we do not know are kept in `extra`. Optional
//! fields are absent when unset; times are seconds since 1970 as floating point numbers;
//! `serial_no` starts at 1 and grows with every change of the object.

mod balancer;
mod cluster;
mod config_data;
mod crypto;
mod disk;
mod filter;
mod group;
mod instance;
mod network;
mod nic;
mod node;
mod placement_rule;

pub use balancer::Balancer;
pub use cluster::{Cluster, CollectorConfig};
pub use config_data::{CONFIG_VERSION, ConfigData};
pub use crypto::Crypto;
pub use disk::{Disk, DiskMode, LogicalId};
pub use filter::{FilterAction, FilterRule};
pub use group::{GroupNetwork, NodeGroup};
pub use instance::Instance;
pub use network::Network;
pub use nic::Nic;
pub use node::{Node, NodeRole};
pub use placement_rule::PlacementRule;

use serde_json::Value;
use std::collections::BTreeMap;

/// A set of parameters, by name.
pub type ParamMap = BTreeMap<String, Value>;
