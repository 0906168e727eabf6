//! Node groups.

use super::{AllocPolicy, Policy};

/// A node group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    pub uuid: String,
    pub alloc_policy: AllocPolicy,
    pub tags: Vec<String>,
    /// UUIDs of networks it is connected to.
    pub networks: Vec<String>,
    pub policy: Policy,
    /// Whether the policy is its own, and not the default.
    pub own_policy: bool,
}
