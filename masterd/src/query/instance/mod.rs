//! Instances as rows.

mod console;
mod devices;
mod hosts;
mod params;
mod status;

pub use console::console_dict;
pub use status::{Place, Status, status};

use super::World;
use super::rows::Asked;
use crate::config::Config;
use hosts::{Host, Hosts};
use params::{Bases, Shared, merged, own};
use roost_proto::choices::AdminState;
use roost_proto::error::Result;
use roost_proto::node::GuestReport;
use roost_proto::objects::{Instance, Node, NodeGroup};
use roost_proto::params::fill;
use roost_proto::query::fields::InstanceField as F;
use roost_proto::query::{Cell, Filter, QueryResponse, Row};
use serde_json::Value;
use std::cell::OnceCell;

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let config = &*world.config;
    let instances = asked.objects(
        || config.instances.values().map(|i| &**i).collect::<Vec<&Instance>>(),
        |instance| &instance.name,
        |name| config.instance(name).map(|i| &**i),
    )?;
    let cx = Cx { config, hosts: Hosts::new(world), bases: Bases::new(&config.cluster) };
    asked.answer(instances.into_iter().map(|instance| InstanceRow::new(&cx, instance)))
}

/// What the rows of one query share.
#[derive(Debug)]
struct Cx<'a> {
    config: &'a Config,
    hosts: Hosts<'a>,
    bases: Bases<'a>,
}

/// An instance with what its primary node says of it.
#[derive(Debug)]
struct InstanceRow<'a> {
    cx: &'a Cx<'a>,
    instance: &'a Instance,
    host: Option<Host<'a>>,
    guest: OnceCell<Found<'a>>,
}

/// The guest on the primary node, if there is one; or the cell that says why nobody knows.
type Found<'a> = std::result::Result<Option<&'a GuestReport>, Cell>;

impl<'a> InstanceRow<'a> {
    fn new(cx: &'a Cx<'a>, instance: &'a Instance) -> InstanceRow<'a> {
        let host = cx.hosts.get(instance.primary_node);
        InstanceRow { cx, instance, host, guest: OnceCell::new() }
    }

    fn guest(&self) -> &Found<'a> {
        self.guest.get_or_init(|| match self.host {
            Some(host) if host.node.offline => Err(Cell::OFFLINE),
            Some(Host { view: Some(view), .. }) => Ok(view.guests.get(self.instance.name.as_str())),
            _ => Err(Cell::NO_DATA),
        })
    }

    /// A value of a running guest.
    fn live<T: Into<Value>>(&self, get: impl FnOnce(&GuestReport) -> T) -> Cell {
        match self.guest() {
            Err(cell) => cell.clone(),
            Ok(guest) => Cell::or_unavailable(guest.filter(|g| g.state.is_running()).map(get)),
        }
    }

    fn place(&self) -> Place<'a> {
        match self.guest() {
            Err(cell) if *cell == Cell::OFFLINE => Place::NodeOffline,
            Err(_) => Place::NodeDown,
            Ok(Some(guest)) if guest.state.is_running() => Place::Here(guest),
            Ok(_) if self.cx.hosts.run(&self.instance.name) => Place::Elsewhere,
            Ok(Some(guest)) => Place::Here(guest),
            Ok(None) => Place::Nowhere,
        }
    }

    fn status(&self) -> Status {
        let cluster = &self.cx.config.cluster;
        status(cluster, self.instance, self.place(), || self.hv_flag("user_shutdown"))
    }

    fn group(&self) -> Option<&'a NodeGroup> {
        self.cx.config.groups.get(&self.host?.node.group).map(|group| &**group)
    }

    /// A list with one value for each secondary node.
    fn secondaries<T: Into<Value>>(&self, get: impl Fn(&'a Node) -> Option<T>) -> Cell {
        let nodes = self.cx.config.secondaries(self.instance);
        Cell::list(nodes.iter().filter_map(|id| self.cx.hosts.get(*id)).filter_map(|h| get(h.node)))
    }

    fn group_of(&self, node: &Node) -> Option<&'a NodeGroup> {
        self.cx.config.groups.get(&node.group).map(|group| &**group)
    }

    /// The hypervisor parameters below its own.
    fn hv_params(&self) -> Shared {
        self.cx.bases.hv(self.instance)
    }

    fn hv_flag(&self, name: &str) -> bool {
        let base = self.hv_params();
        let value = self.instance.hvparams.get(name).or_else(|| base.get(name));
        value.and_then(Value::as_bool).unwrap_or(false)
    }

    /// A hypervisor parameter; unavailable if the hypervisor has none of that name.
    fn hv(&self, name: &str) -> Cell {
        let base = self.hv_params();
        Cell::or_unavailable(
            base.get(name).map(|below| self.instance.hvparams.get(name).unwrap_or(below).clone()),
        )
    }

    fn be(&self, name: &str) -> Cell {
        let value = self.instance.beparams.get(name).or_else(|| self.cx.bases.be().get(name));
        Cell::or_unavailable(value.cloned())
    }
}

impl Row for InstanceRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let i = self.instance;
        match *field {
            F::Name => Cell::new(i.name.as_str()),
            F::Uuid => Cell::new(i.uuid.to_string()),
            F::Os => Cell::new(i.os.as_str()),
            F::Hypervisor => Cell::new(i.hypervisor.as_str()),
            F::PrimaryNode => Cell::or_no_data(self.host.map(|host| host.node.name.as_str())),
            F::PrimaryGroup => Cell::or_no_data(self.group().map(|g| g.name.as_str())),
            F::PrimaryGroupUuid => Cell::or_no_data(self.group().map(|g| g.uuid.to_string())),
            F::SecondaryNodes => self.secondaries(|node| Some(node.name.as_str())),
            F::SecondaryGroups => {
                self.secondaries(|node| self.group_of(node).map(|g| g.name.as_str()))
            }
            F::SecondaryGroupUuids => self.secondaries(|node| Some(node.group.to_string())),
            F::AdminState => Cell::new(i.admin_state.as_str()),
            F::AdminStateSource => Cell::new(i.admin_state_source.as_str()),
            F::AdminUp => Cell::new(i.admin_state == AdminState::Up),
            F::DisksActive => Cell::new(i.disks_active),
            F::Status => Cell::new(self.status().as_str()),
            F::OperState => match self.guest() {
                Err(cell) => cell.clone(),
                Ok(guest) => Cell::new(guest.is_some_and(|g| g.state.is_running())),
            },
            F::OperRam => self.live(|guest| guest.memory),
            F::OperVcpus => self.live(|guest| guest.vcpus),
            F::Console => self.live(|_| self.console()),
            F::NetworkPort => Cell::or_unavailable(i.network_port),
            F::DiskTemplate => Cell::new(self.disk_template()),
            F::DiskUsage => Cell::new(self.disk_usage()),
            F::DiskCount => Cell::new(i.disks.len()),
            F::DiskSizes => self.disk_list(|disk| disk.size),
            F::DiskSpindlesAll => self.disk_list(|disk| disk.spindles),
            F::DiskNames => self.disk_list(|disk| disk.name.clone()),
            F::DiskUuids => self.disk_list(|disk| disk.uuid.to_string()),
            F::DiskSize(n) => self.disk(n, |disk| Some(disk.size)),
            F::DiskSpindles(n) => self.disk(n, |disk| disk.spindles),
            F::DiskName(n) => self.disk(n, |disk| disk.name.clone()),
            F::DiskUuid(n) => self.disk(n, |disk| Some(disk.uuid.to_string())),
            F::NicCount => Cell::new(i.nics.len()),
            F::NicMacs => self.nic_list(|nic| nic.mac.as_str()),
            F::NicIps => self.nic_list(|nic| nic.ip.as_deref()),
            F::NicNames => self.nic_list(|nic| nic.name.as_deref()),
            F::NicUuids => self.nic_list(|nic| nic.uuid.to_string()),
            F::NicModes => self.nic_list(|nic| self.nic_mode(nic)),
            F::NicVlans => self.nic_list(|nic| self.nic_vlan(nic)),
            F::NicBridges => self.nic_list(|nic| self.nic_bridge(nic)),
            F::NicLinks => self.nic_list(|nic| self.nic_link(nic)),
            F::NicNetworks => self.nic_list(|nic| nic.network.map(|id| id.to_string())),
            F::NicNetworkNames => {
                self.nic_list(|nic| self.nic_network(nic).map(|n| n.name.as_str()))
            }
            F::NicIp(n) => self.nic(n, |nic| nic.ip.as_deref()),
            F::NicUuid(n) => self.nic(n, |nic| Some(nic.uuid.to_string())),
            F::NicMac(n) => self.nic(n, |nic| Some(nic.mac.as_str())),
            F::NicName(n) => self.nic(n, |nic| nic.name.as_deref()),
            F::NicNetwork(n) => self.nic(n, |nic| nic.network.map(|id| id.to_string())),
            F::NicMode(n) => self.nic(n, |nic| Some(self.nic_mode(nic))),
            F::NicLink(n) => self.nic(n, |nic| Some(self.nic_link(nic))),
            F::NicVlan(n) => self.nic(n, |nic| Some(self.nic_vlan(nic))),
            F::NicNetworkName(n) => {
                self.nic(n, |nic| self.nic_network(nic).map(|n| n.name.as_str()))
            }
            F::NicBridge(n) => self.nic(n, |nic| self.nic_bridge(nic)),
            F::HvParams => Cell::new(merged(&self.hv_params(), &i.hvparams)),
            F::BeParams => Cell::new(merged(self.cx.bases.be(), &i.beparams)),
            F::OsParams => {
                Cell::new(own(&fill::osparams(&self.cx.config.cluster, &i.os, &i.osparams)))
            }
            F::CustomHvParams => Cell::new(own(&i.hvparams)),
            F::CustomBeParams => Cell::new(own(&i.beparams)),
            F::CustomOsParams => Cell::new(own(&i.osparams)),
            F::CustomNicParams => self.nic_list(|nic| own(&nic.nicparams)),
            F::BeMaxMem => self.be("maxmem"),
            F::BeMinMem => self.be("minmem"),
            F::BeVcpus => self.be("vcpus"),
            F::BeAutoBalance => self.be("auto_balance"),
            F::BeAlwaysFailover => self.be("always_failover"),
            F::BeSpindleUse => self.be("spindle_use"),
            F::Ctime => Cell::new(i.ctime),
            F::Mtime => Cell::new(i.mtime),
            F::SerialNo => Cell::new(i.serial_no),
            F::Forthcoming => Cell::new(i.forthcoming),
            F::Tags => Cell::list(i.tags.iter().map(String::as_str)),
            F::HvParam(name) => self.hv(name),
        }
    }
}

#[cfg(test)]
mod tests;
