//! Nodes as rows.

use super::World;
use super::hosted::{Hosted, names};
use super::rows::Asked;
use super::storage::Storage;
use crate::config::Config;
use crate::nodes::NodeView;
use crate::replication::Copies;
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::NodeReport;
use roost_proto::objects::{Instance, Node, NodeGroup, ParamMap};
use roost_proto::params::fill;
use roost_proto::query::fields::NodeField as F;
use roost_proto::query::{Cell, Filter, QueryResponse, Row};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let config = &*world.config;
    let nodes = asked.objects(
        || config.nodes.values().map(|n| &**n).collect::<Vec<&Node>>(),
        |node| &node.name,
        |name| config.node(name).map(|n| &**n),
    )?;
    let cx = Cx {
        config,
        seen: &world.seen,
        copies: world.copies.as_ref(),
        storage: Storage::usual(&config.cluster),
        group: config.cluster.volume_group_name.as_deref(),
        hosted: OnceCell::new(),
    };
    asked.answer(nodes.into_iter().map(|node| NodeRow { cx: &cx, node }))
}

/// What the rows of one query share.
#[derive(Debug)]
struct Cx<'a> {
    config: &'a Config,
    seen: &'a HashMap<NodeId, Arc<NodeView>>,
    copies: Option<&'a Copies>,
    /// Where new disks are made unless something else is said.
    storage: Option<Storage<'a>>,
    /// The cluster's volume group.
    group: Option<&'a str>,
    hosted: OnceCell<Hosted<'a>>,
}

#[derive(Debug)]
struct NodeRow<'a> {
    cx: &'a Cx<'a>,
    node: &'a Node,
}

impl<'a> NodeRow<'a> {
    fn group(&self) -> Option<&'a NodeGroup> {
        self.cx.config.groups.get(&self.node.group).map(|group| &**group)
    }

    fn params(&self) -> Option<ParamMap> {
        let cluster = &self.cx.config.cluster;
        self.group().map(|group| fill::ndparams_map(cluster, group, self.node))
    }

    /// A value from the node's own report.
    fn live<T: Into<Value>>(&self, get: impl FnOnce(&NodeReport) -> T) -> Cell {
        self.report().map_or_else(|cell| cell, |report| Cell::new(get(report)))
    }

    /// What the node said of itself, or the cell that says why there is nothing.
    fn report(&self) -> std::result::Result<&'a NodeReport, Cell> {
        if self.node.offline {
            return Err(Cell::OFFLINE);
        }
        if !self.node.vm_capable {
            return Err(Cell::UNAVAILABLE);
        }
        let view = self.cx.seen.get(&self.node.uuid).filter(|view| view.up);
        view.map(|view| &view.report).ok_or(Cell::NO_DATA)
    }

    /// Total or free space of the default storage.
    fn space(&self, pick: impl FnOnce((u64, u64)) -> u64) -> Cell {
        match (self.report(), self.cx.storage) {
            (Err(cell), _) => cell,
            (Ok(report), Some(storage)) => Cell::or_no_data(storage.room(report).map(pick)),
            // Of other storage, nodes report nothing.
            (Ok(_), None) => Cell::UNAVAILABLE,
        }
    }

    /// Physical volumes of the cluster's group: they count only where each is one disk's alone.
    fn spindles(&self, pick: impl FnOnce((u64, u64)) -> u64) -> Cell {
        let params = self.params().unwrap_or_default();
        let counts = params.get("exclusive_storage") == Some(&Value::Bool(true));
        match (self.report(), self.cx.group.filter(|_| counts)) {
            (Err(cell), _) => cell,
            (Ok(report), Some(group)) => {
                Cell::or_no_data(report.spindles.get(group).copied().map(pick))
            }
            (Ok(_), None) => Cell::UNAVAILABLE,
        }
    }

    fn hosted(&self) -> &Hosted<'a> {
        self.cx.hosted.get_or_init(|| Hosted::new(self.cx.config))
    }

    fn primary(&self) -> &[&'a Instance] {
        self.hosted().primary.get(&self.node.uuid).map_or(&[], Vec::as_slice)
    }

    fn secondary(&self) -> &[&'a Instance] {
        self.hosted().secondary.get(&self.node.uuid).map_or(&[], Vec::as_slice)
    }
}

impl Row for NodeRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let n = self.node;
        let master = self.cx.config.master();
        match *field {
            F::Name => Cell::new(n.name.as_str()),
            F::Uuid => Cell::new(n.uuid.to_string()),
            F::PrimaryIp => Cell::new(n.primary_ip.as_str()),
            F::SecondaryIp => Cell::new(n.secondary_ip.as_str()),
            F::Group => Cell::or_no_data(self.group().map(|g| g.name.as_str())),
            F::GroupUuid => Cell::new(n.group.to_string()),
            F::Role => Cell::new(n.role(master).letter()),
            F::Master => Cell::new(n.uuid == master),
            F::MasterCandidate => Cell::new(n.master_candidate),
            F::Drained => Cell::new(n.drained),
            F::Offline => Cell::new(n.offline),
            F::MasterCapable => Cell::new(n.master_capable),
            F::VmCapable => Cell::new(n.vm_capable),
            F::Powered => {
                let params = self.params().unwrap_or_default();
                let helper = params.get("oob_program").and_then(Value::as_str).unwrap_or("");
                // Nobody can tell without an out-of-band helper.
                Cell::or_unavailable((!helper.is_empty()).then_some(n.powered))
            }
            F::PrimaryCount => Cell::new(self.primary().len()),
            F::SecondaryCount => Cell::new(self.secondary().len()),
            F::PrimaryList => Cell::list(names(self.primary())),
            F::SecondaryList => Cell::list(names(self.secondary())),
            F::NdParams => Cell::or_no_data(self.params().map(params_json)),
            F::CustomNdParams => Cell::new(params_json(n.ndparams.clone())),
            F::NdParam(name) => Cell::or_no_data(self.params().and_then(|mut p| p.remove(name))),
            F::ConfigCopy => match self.cx.copies {
                Some(copies) if n.uuid == master || copies.of(n.uuid).is_some() => {
                    Cell::new(copies.tell(n.uuid))
                }
                _ => Cell::UNAVAILABLE,
            },
            F::Accelerators => self.live(|report| serde_json::json!(report.hypervisors)),
            F::BootId => self.live(|report| report.boot_id.clone()),
            F::CpuNodes => self.live(|report| report.cpu_nodes),
            F::CpuOs => self.live(|report| report.cpu_dom0),
            F::CpuSockets => self.live(|report| report.cpu_sockets),
            F::CpuTotal => self.live(|report| report.cpu_total),
            F::DiskTotal => self.space(|(total, _)| total),
            F::DiskFree => self.space(|(_, free)| free),
            F::SpindlesTotal => self.spindles(|(total, _)| total),
            F::SpindlesFree => self.spindles(|(_, free)| free),
            F::MemoryTotal => self.live(|report| report.memory_total),
            F::MemoryNode => self.live(|report| report.memory_dom0),
            F::MemoryFree => self.live(|report| report.memory_free),
            // As in Ganeti: the state is set and used, but not shown here.
            F::HvState | F::DiskState => Cell::UNAVAILABLE,
            F::Ctime => Cell::new(n.ctime),
            F::Mtime => Cell::new(n.mtime),
            F::SerialNo => Cell::new(n.serial_no),
            F::Tags => Cell::list(n.tags.iter().map(String::as_str)),
        }
    }
}

fn params_json(params: ParamMap) -> Value {
    Value::Object(params.into_iter().collect())
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
