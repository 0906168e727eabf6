//! What a node group has.

use super::ipolicy::PolicyOptions;
use crate::values::{self, Ident, Params};
use clap::Args;
use roost_proto::choices::{AllocPolicy, DiskTemplate};
use roost_proto::error::Result;
use roost_proto::params::ParamMap;
use std::collections::BTreeMap;

/// A group's settings; `default` as a value falls back to the cluster's.
#[derive(Args, Clone, Debug)]
pub struct GroupOptions {
    #[command(flatten)]
    policy: PolicyOptions,
    /// Whether allocators use it: preferred, last_resort, unallocable
    #[arg(long, value_name = "POLICY")]
    pub alloc_policy: Option<AllocPolicy>,
    /// Node parameters: KEY=VALUE,…
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    node_parameters: Option<Params>,
    /// Disk parameters: TEMPLATE:KEY=VALUE,…; repeat for more
    #[arg(short = 'D', long, value_name = "TEMPLATE:PARAMS", value_parser = values::ident)]
    disk_parameters: Vec<Ident>,
    /// What hypervisors take: NAME:KEY=VALUE,…
    #[arg(long, value_name = "NAME:PARAMS", value_parser = values::ident)]
    hypervisor_state: Vec<Ident>,
    /// What storage is reserved: TYPE/ID:KEY=VALUE,…
    #[arg(long, value_name = "TYPE/ID:PARAMS", value_parser = values::ident)]
    disk_state: Vec<Ident>,
}

impl GroupOptions {
    /// Node parameters.
    pub fn ndparams(&self) -> Option<ParamMap> {
        self.node_parameters.clone().map(|params| params.0)
    }

    /// Disk parameters.
    pub fn diskparams(&self) -> Result<Option<BTreeMap<DiskTemplate, ParamMap>>> {
        values::by_template(&self.disk_parameters)
    }

    /// Hypervisors' needs.
    pub fn hv_state(&self) -> Result<Option<ParamMap>> {
        values::by_any_name(&self.hypervisor_state)
    }

    /// Reserved storage.
    pub fn disk_state(&self) -> Result<Option<ParamMap>> {
        values::disk_state(&self.disk_state)
    }

    /// The policy's parts.
    pub fn ipolicy(&self) -> Result<Option<ParamMap>> {
        let policy = self.policy.policy()?;
        Ok((!policy.is_empty()).then_some(policy))
    }
}
