//! What is the same for all who ask, ready to be sent. Made anew when a node or the cluster changes: that takes as
//! long as there are nodes.

use super::facts::{self, Collector};
use super::id::Id;
use super::table::Slot;
use super::token::put_uint;
use super::{NO_ID, View};
use crate::wire::quote;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct Summary {
    pub version: u64,
    /// Of the cluster object.
    pub serial: u64,
    pub master_id: Id,
    /// None: it is not among the nodes.
    pub master: Option<Slot>,
    pub master_ip: Box<str>,
    pub default_link: Box<str>,
    /// Lists, as JSON.
    pub primary_ips: Vec<u8>,
    pub candidate_ips: Vec<u8>,
    /// Object, as JSON.
    pub collectors: Vec<u8>,
}

/// Those of the reference, whether the configuration has settings for them or not.
const COLLECTORS: [&str; 6] =
    ["cpu-avg-load", "diskstats", "drbd", "inst-status-xen", "lv", "xen-cpu-avg-load"];

impl Default for Id {
    fn default() -> Id {
        NO_ID
    }
}

impl View {
    /// Something has changed.
    pub(super) fn summarize(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        // Both were read before they were stored.
        let Ok(cluster) = facts::cluster(self.cluster()) else { return };
        let version = facts::version(self.top()).unwrap_or_default();
        self.summary = Summary {
            version,
            serial: self.cluster().serial,
            master_id: cluster.master_node,
            master: self.nodes.find(cluster.master_node),
            primary_ips: self.ips(|_| true),
            candidate_ips: self.ips(|node| node.candidate),
            collectors: collectors(&cluster),
            master_ip: cluster.master_ip,
            default_link: cluster.default_link,
        };
    }

    /// Descending by UUID, as the reference's daemon has them.
    fn ips(&self, wanted: impl Fn(&facts::Node) -> bool) -> Vec<u8> {
        let mut out = vec![b'['];
        for slot in self.nodes.present().into_iter().rev() {
            let Some(node) = self.sides[slot as usize].facts.as_ref().filter(|n| wanted(n)) else {
                continue;
            };
            if out.len() > 1 {
                out.push(b',');
            }
            quote(&node.primary_ip, &mut out);
        }
        out.push(b']');
        out.shrink_to_fit();
        out
    }
}

fn collectors(cluster: &facts::Cluster) -> Vec<u8> {
    let mut all: BTreeMap<&str, Collector> =
        COLLECTORS.iter().map(|name| (*name, Collector::default())).collect();
    all.extend(cluster.collectors.iter().map(|(name, collector)| (&**name, *collector)));
    if let Some(xen) = all.get_mut("inst-status-xen") {
        xen.active &= cluster.has_xen;
    }
    let mut out = vec![b'{'];
    for (name, collector) in all {
        if out.len() > 1 {
            out.push(b',');
        }
        quote(name, &mut out);
        out.extend_from_slice(match collector.active {
            true => b":{\"active\":true,\"interval\":",
            false => b":{\"active\":false,\"interval\":",
        });
        put_uint(collector.interval, &mut out);
        out.push(b'}');
    }
    out.push(b'}');
    out
}
