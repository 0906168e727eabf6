//! Networks as rows.

use super::World;
use super::hosted::names;
use super::rows::Asked;
use crate::config::Config;
use roost_proto::error::Result;
use roost_proto::ids::NetworkId;
use roost_proto::nicesort;
use roost_proto::objects::{Instance, Network};
use roost_proto::query::fields::NetworkField as F;
use roost_proto::query::{Cell, Filter, QueryResponse, Row};
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::Ipv4Addr;

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let config = &*world.config;
    let networks = asked.objects(
        || config.networks.values().map(|n| &**n).collect::<Vec<&Network>>(),
        |network| &network.name,
        |name| config.network(name).map(|n| &**n),
    )?;
    let cx = Cx { config, members: OnceCell::new() };
    asked.answer(networks.into_iter().map(|network| NetworkRow { cx: &cx, network }))
}

/// What the rows of one query share.
#[derive(Debug)]
struct Cx<'a> {
    config: &'a Config,
    members: OnceCell<HashMap<NetworkId, Vec<&'a Instance>>>,
}

impl<'a> Cx<'a> {
    /// Instances with a card in each network.
    fn members(&self) -> &HashMap<NetworkId, Vec<&'a Instance>> {
        self.members.get_or_init(|| {
            let mut members = HashMap::<_, Vec<&Instance>>::new();
            for instance in self.config.instances.values() {
                for network in instance.nics.iter().filter_map(|nic| nic.network) {
                    let list = members.entry(network).or_default();
                    // Two cards in one network: still one instance.
                    if list.last().is_none_or(|last| last.uuid != instance.uuid) {
                        list.push(instance);
                    }
                }
            }
            members
        })
    }
}

#[derive(Debug)]
struct NetworkRow<'a> {
    cx: &'a Cx<'a>,
    network: &'a Network,
}

impl<'a> NetworkRow<'a> {
    fn instances(&self) -> &[&'a Instance] {
        self.cx.members().get(&self.network.uuid).map_or(&[], Vec::as_slice)
    }

    /// For each address whether it is taken, by an instance or from outside.
    fn taken(&self) -> impl Iterator<Item = bool> {
        let pool = self.network.reservations.as_deref().unwrap_or_default().as_bytes();
        let outside = self.network.ext_reservations.as_deref().unwrap_or_default().as_bytes();
        let set = |bits: &[u8], i: usize| bits.get(i) == Some(&b'1');
        (0..self.size()).map(move |i| set(pool, i) || set(outside, i))
    }

    fn subnet(&self) -> Option<(Ipv4Addr, u32)> {
        let (address, prefix) = self.network.network.split_once('/')?;
        Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?))
    }

    /// How many addresses there are.
    fn size(&self) -> usize {
        let pool = self.network.reservations.as_ref().or(self.network.ext_reservations.as_ref());
        match (pool, self.subnet()) {
            (Some(bits), _) => bits.len(),
            (None, Some((_, prefix))) => 1_usize.checked_shl(32 - prefix).unwrap_or(usize::MAX),
            (None, None) => 0,
        }
    }

    fn external_reservations(&self) -> String {
        let Some((first, _)) = self.subnet() else { return String::new() };
        let bits = self.network.ext_reservations.as_deref().unwrap_or_default();
        let set = bits.bytes().zip(u32::from(first)..).filter(|(bit, _)| *bit == b'1');
        let addresses: Vec<_> = set.map(|(_, ip)| Ipv4Addr::from(ip).to_string()).collect();
        addresses.join(", ")
    }

    /// `[name, mode, link, vlan]` of each connected group.
    fn groups(&self) -> Vec<Value> {
        let connected = self.cx.config.groups.values();
        let connected =
            connected.filter_map(|group| Some((&**group, group.networks.get(&self.network.uuid)?)));
        let groups = nicesort::sort_many(connected.collect(), |(group, _)| &group.name);
        let row =
            |group: &str, mode: &str, link: &str, vlan: &str| json!([group, mode, link, vlan]);
        groups
            .into_iter()
            .map(|(group, net)| row(&group.name, net.mode.as_str(), &net.link, &net.vlan))
            .collect()
    }
}

impl Row for NetworkRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let n = self.network;
        match *field {
            F::Name => Cell::new(n.name.as_str()),
            F::Uuid => Cell::new(n.uuid.to_string()),
            F::Network => Cell::new(n.network.as_str()),
            F::Gateway => Cell::or_unavailable(n.gateway.as_deref()),
            F::Network6 => Cell::or_unavailable(n.network6.as_deref()),
            F::Gateway6 => Cell::or_unavailable(n.gateway6.as_deref()),
            F::MacPrefix => Cell::or_unavailable(n.mac_prefix.as_deref()),
            F::FreeCount => Cell::new(self.taken().filter(|taken| !taken).count()),
            F::ReservedCount => Cell::new(self.taken().filter(|taken| *taken).count()),
            F::Map => {
                let sign = |taken| if taken { 'X' } else { '.' };
                Cell::new(self.taken().map(sign).collect::<String>())
            }
            F::ExternalReservations => Cell::new(self.external_reservations()),
            F::GroupList => Cell::list(self.groups()),
            F::GroupCount => Cell::new(self.groups().len()),
            F::InstanceList => Cell::list(names(self.instances())),
            F::InstanceCount => Cell::new(self.instances().len()),
            F::Ctime => Cell::new(n.ctime),
            F::Mtime => Cell::new(n.mtime),
            F::SerialNo => Cell::new(n.serial_no),
            F::Tags => Cell::list(n.tags.iter().map(String::as_str)),
        }
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
