//! The candidate pool: nodes that hold the whole configuration and may become master.
//!
//! As many as the cluster says, if there are enough nodes that can: neither offline nor drained,
//! and capable.
//!
//! ```text
//!   too few    the first by name of those that can                      ──► candidate
//!   too many   who cannot be one, who does not answer, whose copy lags,  ──► regular
//!              then the last by name; never the master
//! ```
//!
//! Single nodes that come and go keep the pool from being too small (`gnt-node`); it becomes smaller
//! only when its size is set (`gnt-cluster modify`) or asked for (`gnt-cluster redist-conf`): who made a
//! node a candidate by hand meant it.

use crate::config::{Change, Config, Object};
use crate::ops::Context;
use crate::replication::Copies;
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::objects::{Cluster, Node};

/// How many candidates there are, and should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    pub now: usize,
    pub should: usize,
}

fn possible(node: &Node) -> bool {
    !node.offline && !node.drained && node.master_capable
}

/// Counts, among the nodes for which `counted` holds.
pub fn count(config: &Config, size: usize, counted: impl Fn(NodeId) -> bool) -> Pool {
    let nodes = || config.nodes.values().filter(|n| possible(n) && counted(n.uuid));
    Pool { now: nodes().filter(|n| n.master_candidate).count(), should: nodes().count().min(size) }
}

/// Whether a node that becomes able to be a candidate should be one, as the others are.
pub fn needs(config: &Config, node: NodeId) -> bool {
    let size = config.cluster.candidate_pool_size as usize;
    let others = count(config, size, |id| id != node);
    others.now < (others.should + 1).min(size)
}

/// The nodes to promote so that the pool has `size` again when those for which `counted` does not
/// hold are not in it: in the order of their names.
pub fn promotions(
    config: &Config,
    size: usize,
    counted: impl Fn(NodeId) -> bool + Copy,
) -> Vec<Node> {
    let pool = count(config, size, counted);
    let mut free: Vec<_> = config
        .nodes
        .values()
        .filter(|n| possible(n) && counted(n.uuid) && !n.master_candidate)
        .collect();
    nicesort::sort_by_key(&mut free, |n| n.name.to_string());
    let missing = pool.should.saturating_sub(pool.now);
    let promoted = |n: &std::sync::Arc<Node>| Node { master_candidate: true, ..(**n).clone() };
    free.into_iter().take(missing).map(promoted).collect()
}

/// The nodes to demote so that the pool has at most `size`: in the order of their names. Candidates
/// that cannot be any are among them in any case, the master never. `lags` says of a candidate that
/// its copy of the state is not the newest.
pub fn demotions(
    config: &Config,
    size: usize,
    away: impl Fn(NodeId) -> bool,
    lags: impl Fn(NodeId) -> bool,
) -> Vec<Node> {
    let mut all: Vec<_> = config.nodes.values().filter(|n| n.master_candidate).collect();
    let too_many = all.len().saturating_sub(size);
    all.retain(|n| n.uuid != config.master());
    let unfit = all.iter().filter(|n| !possible(n)).count();
    nicesort::sort_by_key(&mut all, |n| n.name.to_string());
    all.reverse();
    // Stable: those that are as useful as each other stay in this order.
    all.sort_by_key(|n| (possible(n), !away(n.uuid), !lags(n.uuid)));
    all.truncate(too_many.max(unfit));
    nicesort::sort_by_key(&mut all, |n| n.name.to_string());
    all.into_iter().map(|n| Node { master_candidate: false, ..(**n).clone() }).collect()
}

/// Brings the pool to its size in both directions, says how, and makes the changes.
pub fn balance(cx: &mut Context<'_, '_>, cluster: &mut Cluster, size: usize) -> Vec<Change> {
    let config = cx.config();
    let missing = promotions(config, size, |_| true);
    let away = |id| cx.seen().get(&id).is_some_and(|view| !view.up);
    let lags = |id| {
        let is_level =
            |copies: &Copies| copies.of(id).is_some() && copies.tell(id).as_str() == "level";
        cx.copies().is_some_and(|copies| !is_level(copies))
    };
    let surplus = demotions(config, size, away, lags);
    let pool = count(config, size, |_| true);
    if pool.now > size {
        cx.info(format!("Note: more nodes are candidates ({}) than desired ({size})", pool.now));
    }
    let mut changes = demote(cx, cluster, surplus);
    changes.extend(promote(cx, cluster, missing));
    changes
}

/// Says who was demoted, and makes the changes.
fn demote(cx: &mut Context<'_, '_>, cluster: &mut Cluster, nodes: Vec<Node>) -> Vec<Change> {
    if !nodes.is_empty() {
        let names: Vec<_> = nodes.iter().map(|n| n.name.as_str()).collect();
        cx.info(format!("Demoted nodes from master candidate role: {}", names.join(", ")));
    }
    let mut changes = Vec::new();
    for node in nodes {
        record_certificate(cx, cluster, &node);
        changes.push(Change::Update(Object::Node(Box::new(node))));
    }
    changes
}

/// Says who was promoted, and makes the changes.
pub fn promote(cx: &mut Context<'_, '_>, cluster: &mut Cluster, nodes: Vec<Node>) -> Vec<Change> {
    if nodes.is_empty() {
        return vec![];
    }
    let names: Vec<_> = nodes.iter().map(|n| n.name.as_str()).collect();
    cx.info(format!("Promoted nodes to master candidate role: {}", names.join(", ")));
    let mut changes = Vec::new();
    for node in nodes {
        record_certificate(cx, cluster, &node);
        changes.push(Change::Update(Object::Node(Box::new(node))));
    }
    changes
}

/// Keeps the list of candidates' certificates as the node's role says.
pub fn record_certificate(cx: &mut Context<'_, '_>, cluster: &mut Cluster, node: &Node) {
    let joined = cx.joined(&node.name).filter(|joined| joined.uuid == node.uuid);
    if !node.master_candidate {
        let current = cluster.candidate_certs.remove(&node.uuid);
        cluster.crypto.former_certs.remove(&node.uuid);
        // The first node of a cluster never joined: it is known nowhere else when it comes back.
        if let (Some(current), None) = (current, joined) {
            cluster.crypto.certs.entry(node.uuid).or_insert(current);
        }
        return;
    }
    // It was renewed since the node joined.
    if let Some(renewed) = cluster.crypto.certs.get(&node.uuid) {
        cluster.candidate_certs.insert(node.uuid, renewed.clone());
        return;
    }
    match joined {
        Some(joined) => {
            cluster.candidate_certs.insert(node.uuid, joined.fingerprint.clone());
        }
        _ if cluster.candidate_certs.contains_key(&node.uuid) => {}
        _ => cx.warn(format!(
            "The certificate of node {} is not known; let it join again ('gnt-node add --readd')",
            node.name
        )),
    }
}

/// The cluster's change, if it changed.
pub fn cluster_change(config: &Config, cluster: Cluster) -> Option<Change> {
    (cluster != *config.cluster).then(|| Change::Update(Object::Cluster(Box::new(cluster))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    #[test]
    fn the_pool_is_filled_by_name() {
        let mut site = Site::new(&["node1", "node10", "node2", "node3"]);
        site.node("node3", |n| n.drained = true);
        assert_eq!(count(&site.config, 10, |_| true), Pool { now: 1, should: 3 });
        let names = |size| {
            let all = promotions(&site.config, size, |_| true);
            all.iter().map(|n| n.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(10), ["node2", "node10"]);
        assert_eq!(names(2), ["node2"]);
        assert_eq!(names(1), [] as [&str; 0]);
        let without = promotions(&site.config, 2, |id| id != node_id("node2"));
        assert_eq!(without[0].name.as_str(), "node10");
        assert!(needs(&site.config, node_id("node3")));
        site.cluster(|c| c.candidate_pool_size = 1);
        assert!(!needs(&site.config, node_id("node3")));
        assert!(needs(&site.config, node_id("node1")), "without it there would be none");
    }

    #[test]
    fn the_least_useful_are_demoted_first() {
        let mut site = Site::new(&["node1", "node2", "node3", "node10", "node11"]);
        let names = |site: &Site, size, away: &[&str], lags: &[&str]| {
            let is = |names: &[&str], id| names.iter().any(|name| node_id(name) == id);
            let all = demotions(&site.config, size, |id| is(away, id), |id| is(lags, id));
            all.iter().map(|n| n.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&site, 0, &[], &[]), [] as [&str; 0], "there is only the master");
        for name in ["node2", "node3", "node10", "node11"] {
            site.node(name, |n| n.master_candidate = true);
        }
        assert_eq!(names(&site, 5, &["node2"], &["node3"]), [] as [&str; 0]);
        assert_eq!(names(&site, 3, &[], &[]), ["node10", "node11"], "the last by name");
        assert_eq!(names(&site, 3, &["node2"], &["node3"]), ["node2", "node3"]);
        assert_eq!(names(&site, 4, &["node2"], &["node3"]), ["node2"], "away is worse than late");
        assert_eq!(names(&site, 1, &[], &[]).len(), 4);
        assert_eq!(names(&site, 0, &["node1"], &[]).len(), 4, "never the master");
        // As it must not be, but a configuration may say so.
        site.node("node3", |n| n.drained = true);
        assert_eq!(names(&site, 10, &[], &[]), ["node3"], "it cannot be one");
        assert_eq!(names(&site, 4, &["node2"], &[]), ["node3"]);
        assert_eq!(names(&site, 3, &["node2"], &[]), ["node2", "node3"]);
    }

    /// Growing again brings back whom shrinking took.
    #[test]
    fn both_directions_meet() {
        let mut site = Site::new(&["node1", "node2", "node3", "node4", "node5"]);
        let candidates = |site: &Site| {
            let all = site.config.nodes.values().filter(|n| n.master_candidate);
            let mut names: Vec<_> = all.map(|n| n.name.to_string()).collect();
            names.sort();
            names
        };
        for size in [5, 3, 1, 3, 5, 2] {
            let demoted = demotions(&site.config, size, |_| false, |_| false);
            let promoted = promotions(&site.config, size, |_| true);
            assert!(demoted.is_empty() || promoted.is_empty());
            for node in demoted.into_iter().chain(promoted) {
                let name = node.name.to_string();
                site.node(&name, |n| *n = node);
            }
            let all = ["node1", "node2", "node3", "node4", "node5"];
            assert_eq!(candidates(&site), all[..size]);
        }
    }
}
