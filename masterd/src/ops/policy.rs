//! How instances that exist stand to instance policies.

use crate::config::Config;
use roost_proto::ids::GroupId;
use roost_proto::nicesort;
use roost_proto::objects::Instance;
use roost_proto::params::{IPolicy, InstanceSpec, fill};

/// The figures of a stored instance that policies look at.
pub fn spec(config: &Config, instance: &Instance) -> InstanceSpec {
    let be = fill::instance_beparams(&config.cluster, instance);
    InstanceSpec {
        memory: be.maxmem,
        vcpus: u64::from(be.vcpus),
        nics: instance.nics.len() as u64,
        spindle_use: u64::from(be.spindle_use),
        disks: config.disks_of(instance).iter().map(|d| (d.dev_type, d.size)).collect(),
    }
}

/// Names of the instances of a group that break its new policy in a way they did not break the
/// old one.
pub fn newly_broken(config: &Config, group: GroupId, old: &IPolicy, new: &IPolicy) -> Vec<String> {
    let mut names = Vec::new();
    for node in config.members(group) {
        for instance in config.instances_on(node.uuid) {
            let spec = spec(config, instance);
            let known = old.violations(&spec);
            if new.violations(&spec).iter().any(|v| !known.contains(v)) {
                names.push(instance.name.to_string());
            }
        }
    }
    nicesort::sort(&mut names);
    names
}

/// The warning about them.
pub fn warning(broken: &[String]) -> Option<String> {
    (!broken.is_empty()).then(|| {
        format!(
            "After the ipolicy change the following instances violate them: {}",
            broken.join(", ")
        )
    })
}
