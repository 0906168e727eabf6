//! The configuration and what nodes report, as the cluster that `roost_htools` plans for.
//!
//! ```text
//!   planned    nodes: fresh answers        instances: as they are to be    for jobs
//!   expected   nodes: what they said last  instances: as nodes see them    for what goes on by itself
//! ```
//!
//! Both are as it is going to be: with what jobs under way will have made, less the memory they were promised.
//!
//! Groups, nodes and instances are in nice order of their names, as in all lists: whoever asks a tool gets
//! the same numbers.

use crate::config::Config;
use crate::jobs::plan::Plan;
use crate::nodes::NodeView;
use crate::ops::Context;
use crate::ops::disks::space;
use crate::ops::under_way;
use crate::placement_rules;
use crate::query::storage::Storage;
use crate::query::{self, Place};
use roost_htools::model::{
    self, Cluster, Disk, DiskTemplate, GroupIdx, InstanceIdx, InstanceSpec, MinMax, NodeIdx,
    Policy, Status, Utilisation,
};
use roost_proto::choices::AdminState;
use roost_proto::error::Result;
use roost_proto::ids::{GroupId, InstanceId, NodeId};
use roost_proto::nicesort;
use roost_proto::node::{Answer, NodeReport, Question};
use roost_proto::objects::{Disk as StoredDisk, Instance, Node, NodeGroup};
use roost_proto::params::ipolicy::ISpec;
use roost_proto::params::{FilledBe, IPolicy, ParamMap, fill};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// A cluster to plan for, and which of our objects its parts are.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub cluster: Arc<Cluster>,
    /// In the order of the cluster's groups, nodes, instances.
    pub groups: Vec<GroupId>,
    pub nodes: Vec<NodeId>,
    pub instances: Vec<InstanceId>,
    /// Why nothing is known of nodes that should be at work.
    pub problems: BTreeMap<NodeId, String>,
    node_index: HashMap<NodeId, NodeIdx>,
    instance_index: HashMap<InstanceId, InstanceIdx>,
}

impl Snapshot {
    /// Where a node is in the cluster.
    pub fn node(&self, id: NodeId) -> Option<NodeIdx> {
        self.node_index.get(&id).copied()
    }

    /// Where an instance is in the cluster.
    pub fn instance(&self, id: InstanceId) -> Option<InstanceIdx> {
        self.instance_index.get(&id).copied()
    }

    /// Where a group is in the cluster.
    pub fn group(&self, id: GroupId) -> Option<GroupIdx> {
        self.groups.iter().position(|group| *group == id).map(GroupIdx::of)
    }

    /// Which node that is.
    pub fn node_id(&self, index: NodeIdx) -> NodeId {
        self.nodes[index.at()]
    }

    /// Which instance that is.
    pub fn instance_id(&self, index: InstanceIdx) -> InstanceId {
        self.instances[index.at()]
    }
}

/// What is known of a node that should be at work.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    pub report: &'a NodeReport,
    /// MiB of its free memory that others were promised.
    pub promised: u64,
}

/// How instances are told.
#[derive(Clone, Copy)]
pub enum Instances<'a> {
    /// As they are to be, with all the memory they may get: what allocation counts on.
    Wanted,
    /// As nodes see them, with the memory they have.
    Seen(&'a HashMap<NodeId, Arc<NodeView>>),
}

impl std::fmt::Debug for Instances<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Instances::Wanted => "Wanted",
            Instances::Seen(_) => "Seen",
        })
    }
}

/// The storage whose room counts where nothing else is asked for: the volume group if there are disks on
/// volume groups, for only their room is counted, else what new disks are made on.
pub fn usual_storage(config: &Config) -> Option<Storage<'_>> {
    let lvm = config.cluster.enabled_disk_templates.iter().find(|template| template.uses_lvm());
    let of = lvm.and_then(|template| Storage::of(&config.cluster, *template));
    of.or_else(|| Storage::usual(&config.cluster))
}

/// What is known of nodes while planning: what they were asked for, of others what they said last; and
/// what jobs under way were promised.
#[derive(Debug)]
pub struct Known<'b> {
    asked: HashMap<NodeId, &'b Result<Answer>>,
    seen: &'b HashMap<NodeId, Arc<NodeView>>,
    promised: HashMap<NodeId, u64>,
}

impl<'b> Known<'b> {
    /// By a plan's answers.
    pub fn of(cx: &Context<'_, 'b>) -> Known<'b> {
        let asked = cx.answers().iter().filter(|(_, q, _)| matches!(q, Question::Node));
        let asked = asked.map(|(node, _, answer)| (*node, answer)).collect();
        Known { asked, ..Known::told(cx.seen(), cx.active()) }
    }

    /// By what nodes said last alone.
    fn told(seen: &'b HashMap<NodeId, Arc<NodeView>>, active: &[Arc<Plan>]) -> Known<'b> {
        Known { asked: HashMap::new(), seen, promised: under_way::promised(active) }
    }

    /// Of a node that should be at work. Errors: why nothing is known.
    pub fn figures(&self, node: &Node) -> std::result::Result<Figures<'b>, String> {
        let promised = self.promised.get(&node.uuid).copied().unwrap_or(0);
        let report = match self.asked.get(&node.uuid) {
            Some(Ok(Answer::Node(report))) => &**report,
            Some(Err(error)) => return Err(error.message.clone()),
            _ => match self.seen.get(&node.uuid).filter(|view| view.up) {
                Some(view) => &view.report,
                None => return Err(format!("node {} does not answer", node.name)),
            },
        };
        Ok(Figures { report, promised })
    }

    /// MiB a guest had last on a node.
    pub fn guest_memory(&self, node: NodeId, name: &str) -> u64 {
        let guest = self.seen.get(&node).and_then(|view| view.guests.get(name));
        guest.filter(|guest| guest.state.is_running()).map_or(0, |guest| guest.memory)
    }
}

/// The cluster as it is going to be when all that is under way has ended: with what jobs will have made, and
/// without the memory they were promised.
pub fn planned(cx: &Context<'_, '_>, storage: Option<Storage<'_>>) -> Snapshot {
    let known = Known::of(cx);
    make(&going_to_be(cx), storage, Instances::Wanted, |node| known.figures(node))
}

/// The same for whoever asks no node, with instances as nodes see them: for what goes on by itself.
pub fn expected(
    config: &Config,
    active: &[Arc<Plan>],
    seen: &HashMap<NodeId, Arc<NodeView>>,
) -> Snapshot {
    let (config, known) = (under_way::going_to_be(config, active), Known::told(seen, active));
    let storage = usual_storage(&config);
    make(&config, storage, Instances::Seen(seen), |node| known.figures(node))
}

/// The configuration with what plans under way are about to change.
pub fn going_to_be(cx: &Context<'_, '_>) -> Config {
    under_way::going_to_be(cx.config(), cx.active())
}

/// The cluster with what `figures` knows of nodes that should be at work, or why it knows nothing: those count
/// as offline. `storage` is whose room is counted.
pub fn make<'r>(
    config: &Config,
    storage: Option<Storage<'_>>,
    told: Instances<'_>,
    figures: impl Fn(&Node) -> std::result::Result<Figures<'r>, String>,
) -> Snapshot {
    let mut groups: Vec<&Arc<NodeGroup>> = config.groups.values().collect();
    nicesort::sort_by_key(&mut groups, |group| group.name.to_string());
    let mut nodes: Vec<&Arc<Node>> = config.nodes.values().collect();
    nicesort::sort_by_key(&mut nodes, |node| node.name.to_string());
    let instances: Vec<&Arc<Instance>> = config.instances.values().collect();
    let instances = nicesort::sort_many(instances, |instance| instance.name.as_str());
    let group_ids: Vec<GroupId> = groups.iter().map(|group| group.uuid).collect();
    let group_index: HashMap<GroupId, GroupIdx> =
        group_ids.iter().enumerate().map(|(at, id)| (*id, GroupIdx::of(at))).collect();
    let node_index: HashMap<NodeId, NodeIdx> =
        nodes.iter().enumerate().map(|(at, node)| (node.uuid, NodeIdx::of(at))).collect();

    let mut cluster = Cluster {
        tags: config.cluster.tags.clone(),
        policy: policy(&fill::cluster_ipolicy(&config.cluster)),
        groups: groups.iter().map(|group| one_group(config, group)).collect(),
        ..Cluster::default()
    };
    let mut problems = BTreeMap::new();
    for node in &nodes {
        let at_work = !node.offline && !node.drained && node.vm_capable;
        let known = match figures(node) {
            _ if node.offline || !node.vm_capable => None,
            Ok(known) => Some(known),
            Err(problem) => {
                if at_work {
                    problems.insert(node.uuid, problem);
                }
                None
            }
        };
        let group = group_index.get(&node.group).copied().unwrap_or(GroupIdx(0));
        cluster.nodes.push(one_node(config, (node, group), storage, known, at_work));
    }
    let one = Placing {
        config,
        be: fill::beparams(&config.cluster, &ParamMap::new()),
        group: match usual_storage(config) {
            Some(Storage::Group(group)) => Some(group),
            _ => None,
        },
        nodes: &node_index,
        told,
        running: running(told),
    };
    cluster.instances = instances.iter().map(|instance| one.instance(instance)).collect();
    cluster.rules = placement_rules::resolved(config, &cluster);
    let instance_ids: Vec<InstanceId> = instances.iter().map(|instance| instance.uuid).collect();
    Snapshot {
        cluster: Arc::new(cluster),
        groups: group_ids,
        nodes: nodes.iter().map(|node| node.uuid).collect(),
        instance_index: instance_ids
            .iter()
            .enumerate()
            .map(|(at, id)| (*id, InstanceIdx::of(at)))
            .collect(),
        instances: instance_ids,
        problems,
        node_index,
    }
}

fn one_group(config: &Config, group: &NodeGroup) -> model::Group {
    model::Group {
        name: group.name.to_string(),
        uuid: group.uuid.to_string(),
        alloc_policy: group.alloc_policy,
        tags: group.tags.clone(),
        networks: group.networks.keys().map(ToString::to_string).collect(),
        policy: policy(&fill::group_ipolicy(&config.cluster, group)),
        own_policy: !group.ipolicy.is_empty(),
    }
}

/// A policy in the library's words.
pub fn policy(policy: &IPolicy) -> Policy {
    Policy {
        standard: spec(&policy.std),
        ranges: policy
            .minmax
            .iter()
            .map(|pair| MinMax { min: spec(&pair.min), max: spec(&pair.max) })
            .collect(),
        templates: policy.disk_templates.clone(),
        vcpu_ratio: policy.vcpu_ratio,
        spindle_ratio: policy.spindle_ratio,
    }
}

fn spec(spec: &ISpec) -> InstanceSpec {
    InstanceSpec {
        memory: signed(spec.memory_size),
        cpus: signed(spec.cpu_count),
        disk: signed(spec.disk_size),
        disks: signed(spec.disk_count),
        nics: signed(spec.nic_count),
        spindles: signed(spec.spindle_use),
    }
}

/// No figure of a real cluster is near the end of its type.
pub(super) fn signed(number: u64) -> i64 {
    const MOST: u64 = 1 << 40;
    number.min(MOST) as i64
}

fn one_node(
    config: &Config,
    (node, group): (&Node, GroupIdx),
    storage: Option<Storage<'_>>,
    known: Option<Figures<'_>>,
    at_work: bool,
) -> model::Node {
    let stored_group = config.groups.get(&node.group);
    let params = stored_group.map(|group| fill::ndparams(&config.cluster, group, node));
    let exclusive = params.as_ref().is_some_and(|params| params.exclusive_storage);
    let counted = params.as_ref().map_or(1, |params| params.spindle_count);
    let mut new = model::Node {
        name: node.name.to_string(),
        group,
        total_memory: 0.0,
        node_memory: 0,
        free_memory: 0,
        total_disk: 0.0,
        free_disk: 0,
        total_cpus: 0.0,
        node_cpus: 0,
        cpu_speed: params.as_ref().map_or(1.0, |params| params.cpu_speed),
        spindles: if exclusive { 0 } else { signed(counted) },
        free_spindles: 0,
        exclusive_storage: exclusive,
        offline: known.is_none() || !at_work,
        master: node.uuid == config.master(),
        tags: node.tags.clone(),
    };
    let Some(Figures { report, promised }) = known else { return new };
    new.total_memory = report.memory_total as f64;
    new.node_memory = signed(report.memory_dom0);
    new.free_memory = signed(report.memory_free) - signed(promised);
    new.total_cpus = report.cpu_total as f64;
    new.node_cpus = signed(report.cpu_dom0);
    let room = storage.and_then(|storage| storage.room(report));
    (new.total_disk, new.free_disk) = match room {
        Some((total, free)) => (total as f64, signed(free)),
        // What is not counted is not what is missing.
        None => (0.0, signed(u64::MAX)),
    };
    if let Some(Storage::Group(vg)) = storage.filter(|_| exclusive) {
        let (total, free) = report.spindles.get(vg).copied().unwrap_or((0, 0));
        (new.spindles, new.free_spindles) = (signed(total), signed(free));
    }
    new
}

/// Names of guests that run anywhere, where that is told.
fn running<'a>(told: Instances<'a>) -> HashSet<&'a str> {
    let Instances::Seen(seen) = told else { return HashSet::new() };
    let guests = seen.values().filter(|view| view.up).flat_map(|view| &view.guests);
    guests.filter(|(_, g)| g.state.is_running()).map(|(name, _)| name.as_str()).collect()
}

/// What instances are told with.
struct Placing<'a> {
    config: &'a Config,
    /// The cluster's backend parameters.
    be: FilledBe,
    /// The volume group whose room is counted.
    group: Option<&'a str>,
    nodes: &'a HashMap<NodeId, NodeIdx>,
    told: Instances<'a>,
    running: HashSet<&'a str>,
}

impl Placing<'_> {
    fn instance(&self, instance: &Instance) -> model::Instance {
        let (config, be) = (self.config, overlay(&self.be, &instance.beparams));
        let stored = config.disks_of(instance);
        let template = config.disk_template(instance).unwrap_or_else(|| stuck(&stored));
        let index = |id: NodeId| self.nodes.get(&id).copied();
        let secondary = match template {
            DiskTemplate::Drbd => config.secondaries(instance).first().copied().and_then(index),
            _ => None,
        };
        let (status, memory) = self.condition(instance);
        model::Instance {
            name: instance.name.to_string(),
            memory: signed(memory.unwrap_or(be.maxmem)),
            disk: stored.iter().map(|disk| room(disk, self.group)).sum(),
            disks: stored
                .iter()
                .map(|disk| Disk {
                    size: signed(disk.size),
                    spindles: disk.spindles.map(i64::from),
                })
                .collect(),
            vcpus: i64::from(be.vcpus),
            status,
            auto_balance: be.auto_balance,
            primary: index(instance.primary_node).unwrap_or(NodeIdx::NONE),
            secondary,
            template,
            tags: instance.tags.clone(),
            spindle_use: i64::from(be.spindle_use),
            forthcoming: instance.forthcoming,
            utilisation: Utilisation::ONE,
            networks: instance
                .nics
                .iter()
                .filter_map(|nic| nic.network.map(|network| network.to_string()))
                .collect(),
        }
    }

    /// How it is, and the MiB it has where that is told.
    fn condition(&self, instance: &Instance) -> (Status, Option<u64>) {
        let seen = match self.told {
            Instances::Wanted => {
                let status = match instance.admin_state {
                    AdminState::Up => Status::Running,
                    AdminState::Down => Status::AdminDown,
                    AdminState::Offline => Status::AdminOffline,
                };
                return (status, None);
            }
            Instances::Seen(seen) => seen,
        };
        let name = instance.name.as_str();
        let node = self.config.nodes.get(&instance.primary_node);
        let view = seen.get(&instance.primary_node).filter(|view| view.up);
        let guest = view.and_then(|view| view.guests.get(name));
        let place = match (view, guest) {
            _ if node.is_none_or(|node| node.offline) => Place::NodeOffline,
            (None, _) => Place::NodeDown,
            (_, Some(guest)) if guest.state.is_running() => Place::Here(guest),
            _ if self.running.contains(name) => Place::Elsewhere,
            (_, Some(guest)) => Place::Here(guest),
            (_, None) => Place::Nowhere,
        };
        let may_shut_down = || {
            let hv = fill::instance_hvparams(&self.config.cluster, instance);
            hv.get("user_shutdown").and_then(Value::as_bool).unwrap_or(false)
        };
        let status = query::status(&self.config.cluster, instance, place, may_shut_down);
        let memory = guest.filter(|guest| guest.state.is_running()).map(|guest| guest.memory);
        // The words are the same ones.
        (Status::parse(status.as_str()).unwrap_or(Status::AdminDown), memory)
    }
}

/// The parameters of an instance over the cluster's.
fn overlay(cluster: &FilledBe, own: &ParamMap) -> FilledBe {
    let mut be = cluster.clone();
    let number = |key| own.get(key).and_then(Value::as_u64);
    let small = |key| number(key).and_then(|number| u32::try_from(number).ok());
    let flag = |key| own.get(key).and_then(Value::as_bool);
    be.maxmem = number("maxmem").unwrap_or(be.maxmem);
    be.minmem = number("minmem").unwrap_or(be.minmem);
    be.vcpus = small("vcpus").unwrap_or(be.vcpus);
    be.spindle_use = small("spindle_use").unwrap_or(be.spindle_use);
    be.auto_balance = flag("auto_balance").unwrap_or(be.auto_balance);
    be.always_failover = flag("always_failover").unwrap_or(be.always_failover);
    be
}

/// What an instance counts as whose disks are of several templates: one that stays where it is.
fn stuck(disks: &[Arc<StoredDisk>]) -> DiskTemplate {
    match disks.iter().any(|disk| disk.dev_type.uses_lvm()) {
        true => DiskTemplate::Plain,
        false => DiskTemplate::File,
    }
}

/// MiB that a disk takes on one of its nodes: of the volume group that is counted, if it is on any; in others
/// there is as much as is checked there.
pub fn room(disk: &StoredDisk, group: Option<&str>) -> i64 {
    if !disk.dev_type.uses_lvm() {
        return signed(disk.size);
    }
    let needed = space::needed(std::slice::from_ref(disk));
    group.and_then(|group| needed.get(group)).map_or(0, |mib| signed(*mib))
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
