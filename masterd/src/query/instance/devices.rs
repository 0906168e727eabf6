//! Cells about the disks and network cards of instances.

use super::InstanceRow;
use roost_proto::choices::{DiskTemplate, NicMode};
use roost_proto::objects::{Disk, Network, Nic};
use roost_proto::query::Cell;
use serde_json::Value;

/// MiB of DRBD's own data, for each disk.
const DRBD_META: u64 = 128;

impl<'a> InstanceRow<'a> {
    pub(super) fn disks(&self) -> impl Iterator<Item = &'a Disk> {
        let config = self.cx.config;
        self.instance.disks.iter().filter_map(|id| config.disks.get(id).map(|d| &**d))
    }

    /// A list with one value for each disk.
    pub(super) fn disk_list<T: Into<Value>>(&self, get: impl Fn(&Disk) -> T) -> Cell {
        Cell::list(self.disks().map(get))
    }

    /// A value of one disk; unavailable without the disk or the value.
    pub(super) fn disk<T: Into<Value>>(&self, index: u8, get: impl Fn(&Disk) -> Option<T>) -> Cell {
        Cell::or_unavailable(self.disks().nth(index.into()).and_then(get))
    }

    /// MiB on each of the instance's nodes.
    pub(super) fn disk_usage(&self) -> u64 {
        let usage = |disk: &Disk| match disk.dev_type {
            DiskTemplate::Drbd => disk.size + DRBD_META,
            DiskTemplate::Diskless | DiskTemplate::BlockDev => 0,
            _ => disk.size,
        };
        self.disks().map(usage).sum()
    }

    pub(super) fn disk_template(&self) -> &'static str {
        self.cx.config.disk_template(self.instance).map_or("mixed", DiskTemplate::as_str)
    }

    /// A list with one value for each network card.
    pub(super) fn nic_list<T: Into<Value>>(&self, get: impl Fn(&'a Nic) -> T) -> Cell {
        Cell::list(self.instance.nics.iter().map(get))
    }

    /// A value of one network card; unavailable without the card or the value.
    pub(super) fn nic<T: Into<Value>>(
        &self,
        index: u8,
        get: impl Fn(&'a Nic) -> Option<T>,
    ) -> Cell {
        Cell::or_unavailable(self.instance.nics.get(usize::from(index)).and_then(get))
    }

    pub(super) fn nic_mode<'b>(&'b self, nic: &'b Nic) -> &'b str {
        text(nic, "mode").unwrap_or(self.cx.bases.nic().mode.as_str())
    }

    pub(super) fn nic_link<'b>(&'b self, nic: &'b Nic) -> &'b str {
        text(nic, "link").unwrap_or(&self.cx.bases.nic().link)
    }

    pub(super) fn nic_vlan<'b>(&'b self, nic: &'b Nic) -> &'b str {
        text(nic, "vlan").unwrap_or(&self.cx.bases.nic().vlan)
    }

    /// The link, if it is a bridge.
    pub(super) fn nic_bridge<'b>(&'b self, nic: &'b Nic) -> Option<&'b str> {
        (self.nic_mode(nic) == NicMode::Bridged.as_str()).then(|| self.nic_link(nic))
    }

    pub(super) fn nic_network(&self, nic: &Nic) -> Option<&'a Network> {
        self.cx.config.networks.get(nic.network.as_ref()?).map(|n| &**n)
    }
}

fn text<'b>(nic: &'b Nic, name: &str) -> Option<&'b str> {
    nic.nicparams.get(name).and_then(Value::as_str)
}
