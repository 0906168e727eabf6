//! Which nodes cannot be down together.
//!
//! ```text
//!   drbd instance on (p, s):             p ── s      one side of the mirror has to stay
//!   two with the same secondary s:       p ── q      both would run on s then
//! ```
//!
//! The second kind does not matter when the instances are down anyway (offline maintenance). Source: Ganeti's
//! reference on htools, hroller.

use crate::model::{Cluster, NodeIdx};
use std::collections::HashSet;
use std::fmt;

/// A vertex: the position of a node in the cluster.
pub(super) type Vertex = u32;

/// See the module. Every node between the first and the last of those asked for is a vertex, as in the
/// reference: which colours the others get depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    first: Vertex,
    /// By vertex: its neighbours, once for each reason; itself, where it is primary of something with a mirror.
    neighbours: Vec<Vec<Vertex>>,
}

impl Graph {
    /// Of the nodes wanted, which are in order; nothing if there are none.
    pub fn of(cluster: &Cluster, wanted: &[NodeIdx], offline_maintenance: bool) -> Option<Graph> {
        let (first, last) = (wanted.first()?.0, wanted.last()?.0);
        let mut graph = Graph { first, neighbours: vec![vec![]; (last - first) as usize + 1] };
        let members: HashSet<Vertex> = wanted.iter().map(|node| node.0).collect();
        let mut edges = vec![];
        for instance in &cluster.instances {
            if let Some(secondary) = instance.secondary {
                let (one, other) = (instance.primary.0, secondary.0);
                edges.extend([(one, other), (other, one)]);
            }
        }
        if !offline_maintenance {
            let mut known: HashSet<(Vertex, Vertex)> = edges.iter().copied().collect();
            for group in primaries_by_secondary(cluster) {
                for &one in &group {
                    let fresh = group.iter().map(|&other| (one, other));
                    edges.extend(fresh.filter(|edge| known.insert(*edge)));
                }
            }
        }
        for (from, to) in edges {
            if members.contains(&from) && members.contains(&to) {
                graph.neighbours[(from - first) as usize].push(to);
            }
        }
        // Shown newest first, as the reference does.
        graph.neighbours.iter_mut().for_each(|list| list.reverse());
        Some(graph)
    }

    /// All of them, in order.
    pub(super) fn vertices(&self) -> impl DoubleEndedIterator<Item = Vertex> + use<> {
        self.first..self.first + self.neighbours.len() as u32
    }

    pub(super) fn neighbours(&self, vertex: Vertex) -> &[Vertex] {
        &self.neighbours[(vertex - self.first) as usize]
    }
}

/// For each node that has mirrors: the primaries of these, newest instance first.
fn primaries_by_secondary(cluster: &Cluster) -> Vec<Vec<Vertex>> {
    let mut groups = vec![vec![]; cluster.nodes.len()];
    for instance in cluster.instances.iter().rev().filter(|instance| !instance.forthcoming) {
        if let Some(secondary) = instance.secondary {
            let group: &mut Vec<Vertex> = &mut groups[secondary.at()];
            // A further instance of the same primary adds no edge.
            if !group.contains(&instance.primary.0) {
                group.push(instance.primary.0);
            }
        }
    }
    groups
}

impl fmt::Display for Graph {
    /// As the reference shows it to people who want to know everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.first as usize + self.neighbours.len() - 1;
        write!(f, "array ({},{last}) [", self.first)?;
        for (at, vertex) in self.vertices().enumerate() {
            let list: Vec<String> = self.neighbours(vertex).iter().map(u32::to_string).collect();
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}({vertex},[{}])", list.join(","))?;
        }
        f.write_str("]")
    }
}
