//! Our own allocator: `roost_htools`, in this process.

use super::allocator::Settings;
use super::cluster::{self, Snapshot};
use super::moves::{How, Moved, Moves};
use super::request::NewInstance;
use super::{Asking, Request, Several};
use crate::ops::Context;
use roost_htools::allocate::{self, Evacuation, NoAllocation, Rules};
use roost_htools::fail::FailMode;
use roost_htools::model::{Cluster, DiskTemplate, GroupIdx, InstanceIdx, MinMax, NodeIdx};
use roost_htools::redundancy;
use roost_htools::state::{Options, Outcome, Placement};
use roost_proto::capabilities::Mirroring;
use roost_proto::choices::EvacMode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{InstanceId, NodeId};
use std::sync::Arc;

/// How many nodes a message tells of.
const TOLD: usize = 8;

/// What is searched, and by which rules.
struct Search {
    snapshot: Snapshot,
    placement: Placement,
    rules: Rules,
}

impl Search {
    fn new(cx: &Context<'_, '_>, asking: &Asking) -> Search {
        let config = cx.config();
        let mut snapshot = cluster::planned(cx, asking.storage(config));
        if asking.ignore_ipolicy {
            let cluster = Arc::make_mut(&mut snapshot.cluster);
            cluster.groups.iter_mut().for_each(|group| allow_all(&mut group.policy));
        }
        let settings = Settings::of(config);
        let allowed = asking.nodes.iter().filter_map(|id| snapshot.node(*id));
        let rules = Rules {
            restrict_to: Some(allowed.collect()),
            capacity_checks: !settings.no_capacity_checks,
            redundancy: redundancy::Options {
                // What is broken already does not become worse.
                accept_existing: true,
                ignore_groups: single(&snapshot.cluster),
            },
            ignore_soft_errors: settings.ignore_soft_errors || asking.ignore_soft_errors,
        };
        let placement = Placement::new(snapshot.cluster.clone(), &Options::default());
        Search { snapshot, placement, rules }
    }

    fn ids(&self, nodes: impl IntoIterator<Item = NodeIdx>) -> Vec<NodeId> {
        nodes.into_iter().map(|node| self.snapshot.node_id(node)).collect()
    }

    fn instance(&self, id: InstanceId) -> Result<InstanceIdx> {
        let found = self.snapshot.instance(id);
        found.ok_or_else(|| Error::wrong_state("The instance is being removed by another job"))
    }

    /// Why an instance has no place, with what our own cluster adds.
    fn refusal(&self, asking: &Asking, new: Option<InstanceIdx>, why: &NoAllocation) -> Error {
        let mut text = format!("Request failed: {why}");
        let nodes = self.rules.restrict_to.iter().flatten().copied();
        let mut told: Vec<String> = Vec::new();
        for node in nodes {
            let name = &self.placement.cluster().nodes[node.at()].name;
            if let Some(mode) = new.and_then(|new| self.tried(new, node).err()) {
                let rule = new.filter(|_| mode == FailMode::Rule);
                let rule = rule.and_then(|new| self.placement.refusing_rule(new, node, None));
                told.push(match rule {
                    Some(rule) => format!("{name}: {mode}, placement rule '{}'", rule.spec.name),
                    None => format!("{name}: {}", words(mode)),
                });
            }
        }
        let more = told.len().saturating_sub(TOLD);
        told.truncate(TOLD);
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        if why.failures.of(FailMode::N1) > 0 {
            let all: Vec<NodeIdx> = (0..self.snapshot.nodes.len()).map(NodeIdx::of).collect();
            let broken = redundancy::non_redundant(&self.placement, &all, &self.rules.redundancy);
            told.push(match broken.first() {
                Some(broken) => {
                    format!("already {}", broken.explain(self.placement.cluster()))
                }
                None => "FailN1: not every node could fail any more".to_owned(),
            });
            told.push(
                "to do without that check use 'gnt-cluster modify --default-iallocator-params \
                 no-capacity-checks'"
                    .to_owned(),
            );
        }
        if !told.is_empty() {
            text = format!("{text} ({})", told.join("; "));
        }
        asking.failed(&text)
    }

    /// Whether an instance, mirrored, is itself what its group's policy does not allow.
    fn outside_policy(&self, instance: InstanceIdx) -> Option<String> {
        let (cluster, placement) = (self.placement.cluster(), &self.placement);
        let mut mirrored = placement.instance(instance).clone();
        mirrored.template = DiskTemplate::Drbd;
        let primary = placement.primary(instance);
        let group = cluster.group_of(primary);
        let exclusive = cluster.nodes[primary.at()].exclusive_storage;
        let mode = group.policy.admits(&mirrored, exclusive).err()?;
        Some(format!(
            "; the instance itself is outside the instance policy of group '{}' ({mode}): \
             --ignore-ipolicy does it anyway",
            group.name
        ))
    }

    /// Whether an instance could be alone on a node.
    fn tried(&self, new: InstanceIdx, node: NodeIdx) -> std::result::Result<(), FailMode> {
        let cluster = self.placement.cluster();
        let exclusive = cluster.nodes[node.at()].exclusive_storage;
        cluster.group_of(node).policy.admits(self.placement.instance(new), exclusive)?;
        let force = (self.rules.ignore_soft_errors, false);
        self.placement.begin(new).place(node, None, force, &mut Outcome::default())
    }

    fn add(&mut self, new: &NewInstance) -> (InstanceIdx, allocate::Request) {
        let index = self.placement.add(new.model());
        let group = new.group.and_then(|group| self.snapshot.group(group));
        (index, allocate::Request { nodes: new.nodes(), group })
    }
}

/// Every size on every template.
fn allow_all(policy: &mut roost_htools::model::Policy) {
    policy.templates = DiskTemplate::ALL.to_vec();
    for MinMax { min, max } in &mut policy.ranges {
        (min.memory, min.cpus, min.disk, min.disks, min.spindles) = (0, 0, 0, 0, 0);
        let most = i64::MAX;
        (max.memory, max.cpus, max.disk, max.disks, max.spindles) = (most, most, most, most, most);
    }
}

/// Groups in which there is nobody to take over, as everybody knows.
fn single(cluster: &Cluster) -> Vec<GroupIdx> {
    let at_work = |group: &GroupIdx| {
        cluster.nodes_of(*group).filter(|node| !cluster.nodes[node.at()].offline).count()
    };
    (0..cluster.groups.len()).map(GroupIdx::of).filter(|group| at_work(group) < 2).collect()
}

/// A failed check, for people.
fn words(mode: FailMode) -> String {
    let what = match mode {
        FailMode::Mem => "not enough memory",
        FailMode::Disk => "not enough disk space, or a template that is not allowed",
        FailMode::Cpu => "too many virtual CPUs",
        FailMode::N1 => "not every node could fail any more",
        FailMode::Tags => "an instance with the same exclusion tag is there",
        FailMode::Mig => "no migration there",
        FailMode::DiskCount => "too few or too many disks",
        FailMode::Spindles => "not enough spindles",
        _ => return mode.to_string(),
    };
    format!("{mode}, {what}")
}

/// Single nodes.
pub fn nodes(cx: &Context<'_, '_>, asking: &Asking) -> Result<Vec<NodeId>> {
    let mut search = Search::new(cx, asking);
    match &asking.request {
        Request::Allocate(new) => {
            let (index, request) = search.add(new);
            match allocate::allocate(&search.placement, index, &request, &search.rules) {
                Ok(found) => Ok(search.ids(found.nodes())),
                Err(why) => Err(search.refusal(asking, Some(index), &why)),
            }
        }
        Request::AllocateSecondary(instance) => {
            let index = search.instance(instance.uuid)?;
            match allocate::allocate_secondary(&search.placement, index, &search.rules) {
                Ok((found, _)) => Ok(search.ids(found.secondary)),
                Err(why) => {
                    let mut error = search.refusal(asking, None, &why);
                    error.message.extend(search.outside_policy(index));
                    Err(error)
                }
            }
        }
        Request::Relocate(instance, from) => {
            let index = search.instance(instance.uuid)?;
            search.close_others(index);
            let from: Vec<NodeIdx> = search.snapshot.node(*from).into_iter().collect();
            match allocate::relocate(&search.placement, index, &from, &search.rules) {
                Ok((node, _)) => Ok(search.ids([node])),
                Err(why) => Err(search.refusal(asking, None, &why)),
            }
        }
        _ => Err(Error::internal("This request is not about single nodes")),
    }
}

impl Search {
    /// Nodes that may not be chosen take nothing: where the search itself is not told which may.
    fn close_others(&mut self, instance: InstanceIdx) {
        let own = self.placement.instance(instance);
        let mut kept = self.rules.restrict_to.clone().unwrap_or_default();
        kept.extend(std::iter::once(own.primary).chain(own.secondary));
        let cluster = Arc::make_mut(&mut self.snapshot.cluster);
        let mut lost = vec![];
        for (at, node) in cluster.nodes.iter_mut().enumerate() {
            let index = NodeIdx::of(at);
            lost.extend(node.offline.then_some(index));
            node.offline |= !kept.contains(&index);
        }
        self.placement = Placement::new(self.snapshot.cluster.clone(), &Options::default());
        // What is on closed nodes stays there, and counts for placement rules.
        self.placement.discount(&lost);
    }
}

/// Several new instances, each after those before it.
pub fn several(cx: &Context<'_, '_>, asking: &Asking) -> Result<Several> {
    let Request::MultiAllocate(all) = &asking.request else {
        return Err(Error::internal("This request is not about new instances"));
    };
    let mut search = Search::new(cx, asking);
    let wanted: Vec<_> = all.iter().map(|new| search.add(new)).collect();
    let rules = search.rules.clone();
    let found = allocate::allocate_all(&mut search.placement, &wanted, &rules);
    let mut several = Several::default();
    for ((new, (index, _)), found) in all.iter().zip(&wanted).zip(found) {
        match found {
            Ok(found) => several.placed.push((new.name.clone(), search.ids(found.nodes()))),
            Err(why) => {
                let why = search.refusal(asking, Some(*index), &why).message;
                several.failed.push((new.name.clone(), why));
            }
        }
    }
    Ok(several)
}

/// Moves away from nodes, or to other groups.
pub fn moves(cx: &Context<'_, '_>, asking: &Asking, how: &How) -> Result<Moves> {
    let search = Search::new(cx, asking);
    let index = |instances: &[Arc<roost_proto::objects::Instance>]| {
        instances.iter().map(|i| search.instance(i.uuid)).collect::<Result<Vec<_>>>()
    };
    let (placement, rules) = (&search.placement, &search.rules);
    let done = match &asking.request {
        Request::Evacuate(instances, mode) => {
            allocate::evacuate(placement, &index(instances)?, *mode, rules)
        }
        Request::ChangeGroup(instances, groups) => {
            let groups: Vec<GroupIdx> =
                groups.iter().filter_map(|group| search.snapshot.group(*group)).collect();
            let rules = Rules { restrict_to: None, ..rules.clone() };
            allocate::change_group(placement, &index(instances)?, &groups, &rules)
        }
        _ => return Err(Error::internal("This request is not about moves")),
    };
    search.told(cx, &[done], how)
}

/// All instances away from a node, whatever they have there: those that run there, then mirrors; with
/// `leaves_mirrors` also those that are there only because their instance has left.
pub fn leave(
    cx: &Context<'_, '_>,
    asking: &Asking,
    (primaries, secondaries): (&[InstanceId], &[InstanceId]),
    leaves_mirrors: bool,
    how: &How,
) -> Result<Moves> {
    let search = Search::new(cx, asking);
    let index =
        |ids: &[InstanceId]| ids.iter().map(|id| search.instance(*id)).collect::<Result<Vec<_>>>();
    let (first, mut rest) = (index(primaries)?, index(secondaries)?);
    let gone = allocate::evacuate(&search.placement, &first, EvacMode::PrimaryOnly, &search.rules);
    let mirrored = |instance: &InstanceIdx| {
        search.placement.instance(*instance).template.mirroring() == Mirroring::Internal
    };
    if leaves_mirrors {
        rest.extend(gone.moved.iter().map(|moved| moved.instance).filter(mirrored));
    }
    let rebuilt =
        allocate::evacuate(&gone.placement, &rest, EvacMode::SecondaryOnly, &search.rules);
    search.told(cx, &[gone, rebuilt], how)
}

impl Search {
    /// What was found, as jobs: steps of the same instance in one.
    fn told(&self, cx: &Context<'_, '_>, done: &[Evacuation], how: &How) -> Result<Moves> {
        let cluster = self.placement.cluster();
        let mut all: Vec<Moved> = Vec::new();
        let mut failed: Vec<(String, String)> = Vec::new();
        for evacuation in done {
            for moved in &evacuation.moved {
                let id = self.snapshot.instance_id(moved.instance);
                let nodes = std::iter::once(moved.to.primary).chain(moved.to.secondary);
                let (group, nodes) =
                    (cluster.groups[moved.group.at()].name.clone(), self.ids(nodes));
                let steps = moved.steps.iter().copied();
                match all.iter_mut().find(|other| other.instance == id) {
                    Some(other) => {
                        other.steps.extend(steps);
                        other.nodes = nodes;
                    }
                    None => {
                        let steps = steps.collect();
                        all.push(Moved { instance: id, group, nodes, steps });
                    }
                }
            }
            for (instance, why) in &evacuation.failed {
                failed.push((cluster.instances[instance.at()].name.clone(), why.clone()));
            }
        }
        // One that goes only half of its way stays.
        all.retain(|moved| {
            let name = cx.config().instances.get(&moved.instance).map(|i| i.name.to_string());
            !failed.iter().any(|(other, _)| Some(other) == name.as_ref())
        });
        Moves::of(cx.config(), &self.snapshot, all, failed, how)
    }
}
