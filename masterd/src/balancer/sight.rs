//! How node groups are at this moment: pure.
//!
//! ```text
//!   jobs ───────► Work: groups whose instances others move, instances that jobs are at
//!   nodes ──────► have all of a group told their figures, and after the last move?
//!   config, plans under way ─► as it is going to be ─► Scene ─► score
//! ```
//!
//! Work under way is allowed for in two ways. Instances that are being made or removed count as they are going to
//! be, with the memory that they were promised. Where instances are being moved the group is left alone, because
//! their memory is in two places, and a plan made meanwhile would be one for a cluster that is about to be another.

use super::decide::Sight;
use crate::config::Config;
use crate::jobs::plan::Plan;
use crate::nodes::NodeView;
use crate::ops::placement::cluster::{self, Snapshot};
use roost_htools::model::{InstanceIdx, Status};
use roost_htools::score::{self, Scorer};
use roost_htools::state::{Options, Placement};
use roost_proto::balancer::{OFF_TAG, REASON};
use roost_proto::ids::{GroupId, InstanceId, JobId, NodeId};
use roost_proto::job::JobRecord;
use roost_proto::objects::{Instance, Node};
use roost_proto::opcodes::OpCode;
use roost_proto::params::fill;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Figures that are older do not count, milliseconds: nodes tell them every five seconds.
const FRESH: u64 = 30_000;

/// Everything there is to see.
#[derive(Debug)]
pub struct World {
    pub config: Arc<Config>,
    pub seen: HashMap<NodeId, Arc<NodeView>>,
    /// Plans of opcodes under way.
    pub active: Vec<Arc<Plan>>,
    /// Jobs that have not ended.
    pub jobs: Vec<Arc<JobRecord>>,
    /// By [`crate::clock::forward_millis`].
    pub clock: u64,
}

/// What jobs are at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Groups whose instances are moved, and by which job: the first.
    pub groups: BTreeMap<GroupId, JobId>,
    /// Instances that have a job, whatever it does.
    pub instances: HashSet<InstanceId>,
}

/// A job of the balancer: the mark of its move.
pub fn mark_of(record: &JobRecord) -> Option<u64> {
    let trails = record.ops.iter().filter_map(|op| op.input.get("reason")?.as_array());
    let ours = trails.flatten().find(|entry| entry[0] == REASON)?;
    let text = ours.get(1)?.as_str()?;
    text.split(';').find_map(|part| part.strip_prefix("move=")?.parse().ok())
}

impl Work {
    /// Of jobs that have not ended. Ours are not counted among those that move.
    pub fn of(config: &Config, jobs: &[Arc<JobRecord>]) -> Work {
        let mut work = Work::default();
        for job in jobs {
            let ours = mark_of(job).is_some();
            for op in job.ops.iter().filter(|op| !op.status.is_final()) {
                let text = |key: &str| op.input.get(key).and_then(Value::as_str);
                let instance = text("instance_name").and_then(|name| config.instance(name).ok());
                work.instances.extend(instance.map(|instance| instance.uuid));
                let moves = text("OP_ID").and_then(OpCode::info).is_some_and(|info| info.moves);
                if ours || !moves {
                    continue;
                }
                let nodes = ["node_name", "target_node", "remote_node"].map(text);
                let nodes = nodes.into_iter().flatten().filter_map(|name| config.node(name).ok());
                let mut groups: Vec<GroupId> = nodes.map(|node| node.group).collect();
                groups.extend(instance.into_iter().flat_map(|found| groups_of(config, found)));
                let targets = op.input.get("target_groups").and_then(Value::as_array);
                let targets = targets.into_iter().flatten().filter_map(Value::as_str);
                let named = targets.chain(text("group_name"));
                groups.extend(named.filter_map(|name| config.group(name).ok()).map(|g| g.uuid));
                for group in groups {
                    work.groups.entry(group).or_insert(job.id);
                }
            }
        }
        work
    }
}

fn groups_of(config: &Config, instance: &Instance) -> Vec<GroupId> {
    let nodes = [instance.primary_node].into_iter().chain(config.secondaries(instance));
    nodes.filter_map(|node| config.nodes.get(&node)).map(|node| node.group).collect()
}

/// Why nothing can be said of a group, or done with it, if so. `since`: only what nodes told after that counts.
pub fn obstacle(world: &World, work: &Work, group: GroupId, since: u64) -> Option<Sight> {
    let found = world.config.groups.get(&group)?;
    if found.tags.iter().any(|tag| tag == OFF_TAG) {
        return Some(Sight::Excluded);
    }
    if let Some(job) = work.groups.get(&group) {
        return Some(Sight::Busy(format!("job {job}, which moves instances")));
    }
    let wanted = world.config.members(group).filter(|node| !node.offline && node.vm_capable);
    let mut late = None;
    for node in wanted {
        let view = world.seen.get(&node.uuid).filter(|view| view.up);
        match view.map_or(0, |view| view.told) {
            told if told == 0 || world.clock.saturating_sub(told) > FRESH => {
                return Some(Sight::Unknown(format!("node {} has not reported lately", node.name)));
            }
            told if told <= since => late = Some(node),
            _ => {}
        }
    }
    let report = |node: &Arc<Node>| Sight::Busy(format!("a new report of node {}", node.name));
    late.map(report)
}

/// The cluster, ready to be planned for.
#[derive(Debug)]
pub struct Scene {
    pub snapshot: Snapshot,
    pub placement: Placement,
    /// Instances that stay where they are.
    pub still: HashSet<InstanceIdx>,
}

impl Scene {
    /// As it is going to be.
    pub fn new(world: &World, work: &Work) -> Scene {
        let snapshot = cluster::expected(&world.config, &world.active, &world.seen);
        let placement = Placement::new(snapshot.cluster.clone(), &Options::default());
        let mut still = HashSet::new();
        for (at, model) in snapshot.cluster.instances.iter().enumerate() {
            let index = InstanceIdx::of(at);
            let id = snapshot.instance_id(index);
            // Who is being made is not there yet for jobs.
            let known = world.config.instances.get(&id);
            let stays = known.is_none_or(|instance| {
                work.instances.contains(&id)
                    || instance.tags.iter().any(|tag| tag == OFF_TAG)
                    || !goes_quietly(&world.config, instance, model.status)
            });
            if stays {
                still.insert(index);
            }
        }
        Scene { snapshot, placement, still }
    }

    /// How a group is.
    pub fn sight(&self, group: GroupId) -> Sight {
        let Some(index) = self.snapshot.group(group) else {
            return Sight::Unknown("it is being removed".into());
        };
        let nodes: Vec<_> = self.snapshot.cluster.nodes_of(index).collect();
        let unavoidable = score::unavoidable(&self.placement, &nodes);
        Sight::Known { score: Scorer::new(&self.placement, nodes).now(), unavoidable }
    }
}

/// Whether nobody notices that an instance is moved: it runs where it should and can migrate, or it is stopped.
fn goes_quietly(config: &Config, instance: &Instance, status: Status) -> bool {
    match status {
        Status::Running => !fill::instance_beparams(&config.cluster, instance).always_failover,
        Status::AdminDown | Status::UserDown => true,
        _ => false,
    }
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
