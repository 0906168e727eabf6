//! Settings of a group as users give them.

use crate::config::Config;
use roost_proto::choices::{AllocPolicy, DiskTemplate};
use roost_proto::error::Result;
use roost_proto::objects::NodeGroup;
use roost_proto::params::{ParamMap, disk, fill, ipolicy, node, state};
use std::collections::BTreeMap;

/// What a group can be given; absent settings stay.
#[derive(Debug)]
pub struct Settings<'a> {
    pub alloc_policy: Option<AllocPolicy>,
    pub ndparams: Option<&'a ParamMap>,
    pub diskparams: Option<&'a BTreeMap<DiskTemplate, ParamMap>>,
    pub hv_state: Option<&'a ParamMap>,
    pub disk_state: Option<&'a ParamMap>,
    pub ipolicy: Option<&'a ParamMap>,
}

impl Settings<'_> {
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.alloc_policy.is_none()
            && self.ndparams.is_none()
            && self.diskparams.is_none()
            && self.hv_state.is_none()
            && self.disk_state.is_none()
            && self.ipolicy.is_none()
    }

    /// Puts them into a group. Errors: `wrong_input`.
    pub fn put_into(&self, config: &Config, group: &mut NodeGroup) -> Result<()> {
        if let Some(policy) = self.alloc_policy {
            group.alloc_policy = policy;
        }
        if let Some(given) = self.ndparams {
            let given = node::typed(given, node::Level::Group)?;
            group.ndparams = fill::modified(&group.ndparams, &given);
        }
        if let Some(given) = self.diskparams {
            let typed = |(template, given): (&DiskTemplate, &ParamMap)| {
                Ok((*template, disk::typed(*template, given)?))
            };
            let given = given.iter().map(typed).collect::<Result<Vec<_>>>()?;
            group.diskparams = fill::modified_each(&group.diskparams, given);
        }
        if let Some(given) = self.hv_state {
            let given = state::typed_hv_state(given)?;
            group.hv_state_static = state::modified(&group.hv_state_static, &given);
        }
        if let Some(given) = self.disk_state {
            let given = state::typed_disk_state(given)?;
            group.disk_state_static = state::modified(&group.disk_state_static, &given);
        }
        if let Some(given) = self.ipolicy {
            let given = ipolicy::typed(given, ipolicy::Level::Group)?;
            group.ipolicy = fill::modified(&group.ipolicy, &given);
            fill::group_ipolicy(&config.cluster, group).check()?;
        }
        Ok(())
    }
}
