//! How the instances of a node leave it: for `gnt-node migrate` and `gnt-node evacuate`.
//!
//! All targets are chosen together, on one account of the nodes' memory, so that not every instance
//! is sent to the node that has most of it now.

use crate::config::Config;
use crate::ops::disks::{health, space};
use crate::ops::{Context, placement};
use roost_proto::capabilities::Mirroring;
use roost_proto::choices::AdminState;
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::objects::{Instance, Node};
use roost_proto::opcodes::{InstanceFailover, InstanceMigrate, OpInput};
use roost_proto::params::fill;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where an instance can go.
#[derive(Debug)]
pub enum Way {
    /// To this node.
    To(NodeId),
    /// To its secondary node.
    Secondary,
    /// Nowhere, and why.
    Stuck(String),
}

/// What is the same for all of them.
#[derive(Debug, Default)]
pub struct How {
    pub mode: Option<roost_proto::choices::MigrationMode>,
    pub live: Option<bool>,
    pub allow_runtime_changes: bool,
    pub ignore_ipolicy: bool,
}

/// The instances whose primary node this is, by name.
pub fn primaries<'a>(config: &'a Config, node: &Node) -> Vec<&'a Arc<Instance>> {
    let mut all: Vec<_> = config.instances_on(node.uuid).collect();
    nicesort::sort_by_key(&mut all, |i| i.name.to_string());
    all
}

/// The other nodes of its group that may get instances.
pub fn candidates(config: &Config, node: &Node) -> Vec<NodeId> {
    placement::candidates(config, Some(node.group), &[node.uuid]).map(|n| n.uuid).collect()
}

/// How much room they have.
pub fn questions(config: &Config, node: &Node) -> Vec<(NodeId, Question)> {
    candidates(config, node).into_iter().map(|id| (id, Question::Node)).collect()
}

/// Finds a way for each, in the given order.
pub fn spread<'a>(
    cx: &Context<'_, '_>,
    node: &Node,
    instances: &[&'a Arc<Instance>],
) -> Vec<(&'a Arc<Instance>, Way)> {
    let config = cx.config();
    let mut account = placement::Account::open(cx, &candidates(config, node));
    let memory = |instance: &Instance| fill::instance_beparams(&config.cluster, instance);
    // The large ones choose first: small ones find their place in the gaps.
    let mut order: Vec<usize> = (0..instances.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(memory(instances[*i]).maxmem));
    let mut ways: Vec<_> = instances.iter().map(|i| (*i, Way::Secondary)).collect();
    for place in order {
        let instance = instances[place];
        ways[place].1 = match config.disk_template(instance) {
            None => Way::Stuck("its disks are of different templates".into()),
            Some(template) => match template.mirroring() {
                Mirroring::Internal => Way::Secondary,
                Mirroring::None => Way::Stuck(format!(
                    "its disks (template '{template}') are only on this node; use 'gnt-instance \
                     move'"
                )),
                Mirroring::External => {
                    let be = memory(instance);
                    // One that does not run needs nothing, but may be started some day.
                    let least = if instance.admin_state == AdminState::Up { be.minmem } else { 0 };
                    match account.take(be.maxmem).or_else(|| account.take(least)) {
                        Some(target) => Way::To(target),
                        None => Way::Stuck(no_room(least, &account.problems)),
                    }
                }
            },
        };
    }
    ways
}

/// The instances whose mirrors are on a node, by name.
pub fn secondaries<'a>(config: &'a Config, node: &Node) -> Vec<&'a Arc<Instance>> {
    let mut all = config.secondary_instances(node.uuid);
    nicesort::sort_by_key(&mut all, |i| i.name.to_string());
    all
}

/// New secondary nodes for instances whose mirrors leave `node`: `remote`, or those with most room,
/// counted down as they fill. Errors: why one cannot go.
pub fn spread_mirrors<'a>(
    cx: &Context<'_, '_>,
    node: &Node,
    instances: &[&'a Arc<Instance>],
    remote: Option<NodeId>,
) -> Vec<(&'a Arc<Instance>, Result<NodeId, String>)> {
    let config = cx.config();
    let mut problems = Vec::new();
    let mut rooms: Vec<(NodeId, BTreeMap<String, u64>)> = Vec::new();
    let mut nodes = candidates(config, node);
    nicesort::sort_by_key(&mut nodes, |id| config.node_name(*id));
    for id in nodes.into_iter().filter(|_| remote.is_none() && !instances.is_empty()) {
        match cx.report(id) {
            Ok(report) => {
                let free = report.volume_groups.iter().map(|(vg, (_, free))| (vg.clone(), *free));
                rooms.push((id, free.collect()));
            }
            Err(error) => problems.push(error.message),
        }
    }
    let mut place = |instance: &Instance| {
        if let Some(remote) = remote {
            return match remote == instance.primary_node {
                true => Err(format!("{} is its primary node", config.node_name(remote))),
                false => Ok(remote),
            };
        }
        let disks = health::stored(config, instance);
        let leaving: Vec<_> = disks.into_iter().filter(|d| d.nodes.contains(&node.uuid)).collect();
        let needed = space::needed(&leaving);
        let left = |(_, free): &(NodeId, BTreeMap<String, u64>)| {
            let left = |(vg, mib): (&&str, &u64)| free.get(*vg)?.checked_sub(*mib);
            needed.iter().map(left).sum::<Option<u64>>()
        };
        let possible = rooms.iter_mut().filter(|(id, _)| *id != instance.primary_node);
        // The first of equals.
        let best = possible.rev().filter_map(|room| Some((left(room)?, room)));
        match best.max_by_key(|(left, _)| *left) {
            Some((_, (id, free))) => {
                for (vg, mib) in &needed {
                    free.entry((*vg).to_owned()).and_modify(|free| *free -= mib);
                }
                Ok(*id)
            }
            None => {
                let mut why = "no other node of its group has room for its mirrors".to_owned();
                if !problems.is_empty() {
                    why = format!("{why} ({})", problems.join("; "));
                }
                Err(why)
            }
        }
    };
    instances.iter().map(|instance| (*instance, place(instance))).collect()
}

fn no_room(memory: u64, problems: &[String]) -> String {
    let mut why = format!("no other node of its group has {memory} MiB of memory left");
    if !problems.is_empty() {
        why = format!("{why} ({})", problems.join("; "));
    }
    why
}

/// The job that moves an instance away from `node`: a migration; a failover, if the node is offline.
pub fn job(node: &Node, instance: &Instance, target: Option<String>, how: &How) -> OpInput {
    if node.offline {
        return OpInput::from(InstanceFailover {
            target_node: target,
            ignore_ipolicy: how.ignore_ipolicy,
            ..InstanceFailover::new(instance.name.as_str())
        });
    }
    OpInput::from(InstanceMigrate {
        mode: how.mode,
        live: how.live,
        target_node: target,
        allow_runtime_changes: how.allow_runtime_changes,
        ignore_ipolicy: how.ignore_ipolicy,
        // One that does not run cannot migrate, but it can go.
        allow_failover: instance.admin_state != AdminState::Up,
        ..InstanceMigrate::new(instance.name.as_str())
    })
}
