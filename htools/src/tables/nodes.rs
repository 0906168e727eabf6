//! Nodes and what is left of them.

use super::{Table, decimals};
use crate::model::{InstanceIdx, NodeIdx};
use crate::names::ShortNames;
use crate::state::Placement;
use std::collections::BTreeMap;

macro_rules! fields {
    ($($variant:ident $name:literal $head:literal $right:literal;)+) => {
        /// A column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum NodeField { $($variant),+ }

        impl NodeField {
            /// All of them.
            pub const ALL: &'static [NodeField] = &[$(NodeField::$variant),+];

            /// Its name in lists of columns.
            pub fn name(self) -> &'static str {
                match self { $(NodeField::$variant => $name),+ }
            }

            fn head(self) -> (&'static str, bool) {
                match self { $(NodeField::$variant => ($head, $right)),+ }
            }
        }
    };
}

fields! {
    Index "idx" "Index" true;
    Name "name" "Name" false;
    FullName "fqdn" "Name" false;
    Status "status" "F" false;
    TotalMemory "tmem" "t_mem" true;
    NodeMemory "nmem" "n_mem" true;
    InstanceMemory "imem" "i_mem" true;
    MissingMemory "xmem" "x_mem" true;
    FreeMemory "fmem" "f_mem" true;
    UnallocatedMemory "umem" "u_mem" true;
    ReservedMemory "rmem" "r_mem" true;
    AvailableMemory "amem" "a_mem" true;
    TotalDisk "tdsk" "t_dsk" true;
    FreeDisk "fdsk" "f_dsk" true;
    TotalCpus "tcpu" "pcpu" true;
    UsedCpus "ucpu" "vcpu" true;
    Primaries "pcnt" "pcnt" true;
    Secondaries "scnt" "scnt" true;
    PrimaryList "plist" "primaries" true;
    SecondaryList "slist" "secondaries" true;
    FreeMemoryShare "pfmem" "p_fmem" true;
    FreeDiskShare "pfdsk" "p_fdsk" true;
    CpuRatio "rcpu" "r_cpu" true;
    CpuLoad "cload" "lCpu" true;
    MemoryLoad "mload" "lMem" true;
    DiskLoad "dload" "lDsk" true;
    NetLoad "nload" "lNet" true;
    PrimaryTags "ptags" "PrimaryTags" false;
    Peers "peermap" "PeerMap" false;
    Spindles "spindle_count" "NodeSpindles" true;
    SpindleLimit "hi_spindles" "MaxSpindles" true;
    InstanceSpindles "inst_spindles" "InstSpindles" true;
}

/// What is shown if nothing else is asked for.
const USUAL: [NodeField; 22] = [
    NodeField::Status,
    NodeField::Name,
    NodeField::TotalMemory,
    NodeField::NodeMemory,
    NodeField::InstanceMemory,
    NodeField::MissingMemory,
    NodeField::FreeMemory,
    NodeField::UnallocatedMemory,
    NodeField::ReservedMemory,
    NodeField::TotalDisk,
    NodeField::FreeDisk,
    NodeField::TotalCpus,
    NodeField::UsedCpus,
    NodeField::Primaries,
    NodeField::Secondaries,
    NodeField::FreeMemoryShare,
    NodeField::FreeDiskShare,
    NodeField::CpuRatio,
    NodeField::CpuLoad,
    NodeField::MemoryLoad,
    NodeField::DiskLoad,
    NodeField::NetLoad,
];

/// The columns of a list of names with commas; none: the usual ones; behind a `+`: besides those. Errors: the
/// name that is no column's, and which there are.
pub fn columns(names: &str) -> Result<Vec<NodeField>, String> {
    let (mut fields, names) = match names.strip_prefix('+') {
        Some(more) => (USUAL.to_vec(), more),
        None if names.is_empty() => return Ok(USUAL.to_vec()),
        None => (vec![], names),
    };
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let found = NodeField::ALL.iter().find(|field| field.name() == name);
        let known =
            || NodeField::ALL.iter().map(|field| field.name()).collect::<Vec<_>>().join(", ");
        fields.push(
            *found.ok_or_else(|| {
                format!("unknown field '{name}' of nodes; there are: {}", known())
            })?,
        );
    }
    Ok(fields)
}

/// The nodes named, in order. Memory in MiB, disk in GiB; free memory (`fmem`) is what the node reported, all
/// else is as the placement has it.
pub fn nodes(
    placement: &Placement,
    names: &ShortNames,
    shown: &[NodeIdx],
    fields: &[NodeField],
) -> Table {
    let held = Held::of(placement);
    let mut table = Table::new(fields.iter().map(|field| field.head()));
    for &node in shown {
        table
            .rows
            .push(fields.iter().map(|field| cell(placement, names, &held, node, *field)).collect());
    }
    table
}

/// By node: the instances on it, the last first.
struct Held {
    primaries: Vec<Vec<InstanceIdx>>,
    secondaries: Vec<Vec<InstanceIdx>>,
}

impl Held {
    fn of(placement: &Placement) -> Held {
        let nothing = vec![vec![]; placement.cluster().nodes.len()];
        let mut held = Held { primaries: nothing.clone(), secondaries: nothing };
        for at in (0..placement.cluster().instances.len()).rev() {
            let index = InstanceIdx::of(at);
            if let Some(list) = held.primaries.get_mut(placement.primary(index).at()) {
                list.push(index);
            }
            if let Some(secondary) = placement.secondary(index) {
                held.secondaries[secondary.at()].push(index);
            }
        }
        held
    }
}

fn list(indices: &[InstanceIdx]) -> String {
    let numbers: Vec<String> = indices.iter().map(|index| index.at().to_string()).collect();
    format!("[{}]", numbers.join(","))
}

fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

fn cell(
    placement: &Placement,
    names: &ShortNames,
    held: &Held,
    index: NodeIdx,
    field: NodeField,
) -> String {
    let (cluster, state) = (placement.cluster(), placement.node(index));
    let node = &cluster.nodes[index.at()];
    let memory = |instances: &[InstanceIdx]| -> i64 {
        let used = instances.iter().map(|index| placement.instance(*index));
        used.filter(|instance| instance.uses_memory()).map(|instance| instance.memory).sum()
    };
    match field {
        NodeField::Index => format!("{:>4}", index.at()),
        NodeField::Name => names.show(&node.name).to_owned(),
        NodeField::FullName => node.name.clone(),
        NodeField::Status => match (node.offline, state.n1_fails) {
            (true, _) => "-".into(),
            (false, true) => "*".into(),
            (false, false) => " ".into(),
        },
        NodeField::TotalMemory => format!("{:>5}", decimals(node.total_memory, 0)),
        NodeField::NodeMemory => format!("{:>5}", node.node_memory),
        NodeField::InstanceMemory => format!("{:>5}", memory(&held.primaries[index.at()])),
        NodeField::MissingMemory => {
            // What the node said that is not there stays away wherever instances go.
            let recorded = node.total_memory as i64 - node.node_memory;
            let given = cluster.instances.iter().filter(|i| i.primary == index && i.uses_memory());
            let used: i64 = given.map(|instance| instance.memory).sum();
            format!("{:>5}", recorded - used - node.free_memory)
        }
        NodeField::FreeMemory => format!("{:>5}", node.free_memory),
        NodeField::UnallocatedMemory => format!("{:>5}", state.unallocated),
        NodeField::ReservedMemory => format!("{:>5}", state.reserved),
        NodeField::AvailableMemory => format!("{:>5}", (state.unallocated - state.reserved).max(0)),
        NodeField::TotalDisk => format!("{:>5}", decimals(node.total_disk / 1024.0, 0)),
        NodeField::FreeDisk => format!("{:>5}", state.free_disk.div_euclid(1024)),
        NodeField::TotalCpus => format!("{:>4}", decimals(node.total_cpus, 0)),
        NodeField::UsedCpus => format!("{:>4}", state.used_vcpus),
        NodeField::Primaries => format!("{:>4}", state.primaries),
        NodeField::Secondaries => format!("{:>4}", state.secondaries),
        NodeField::PrimaryList => list(&held.primaries[index.at()]),
        NodeField::SecondaryList => list(&held.secondaries[index.at()]),
        NodeField::FreeMemoryShare => {
            decimals(share(state.unallocated as f64, node.total_memory), 4)
        }
        NodeField::FreeDiskShare => {
            let (free, total) = match node.exclusive_storage {
                true => (state.free_spindles as f64, node.spindles as f64),
                false => (state.free_disk as f64, node.total_disk),
            };
            // Without a disk there is none to fill up.
            decimals(if total == 0.0 { 1.0 } else { free / total }, 4)
        }
        NodeField::CpuRatio => {
            format!("{:>5}", decimals(share(state.used_vcpus as f64, node.total_cpus), 2))
        }
        NodeField::CpuLoad => decimals(state.cpu_load, 3),
        NodeField::MemoryLoad => decimals(state.memory_load, 3),
        NodeField::DiskLoad => decimals(state.disk_load, 3),
        NodeField::NetLoad => decimals(state.net_load, 3),
        NodeField::PrimaryTags => {
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            for index in &held.primaries[index.at()] {
                for tag in placement.rules().exclusion_tags(&placement.instance(*index).tags) {
                    *counts.entry(tag).or_default() += 1;
                }
            }
            let counts: Vec<String> = counts.iter().map(|(tag, n)| format!("{tag}={n}")).collect();
            counts.join(",")
        }
        NodeField::Peers => {
            let all = (0..cluster.nodes.len()).map(NodeIdx::of);
            let peers = all.map(|peer| (peer.at(), placement.peer_memory(index, peer)));
            let mut peers: Vec<(usize, i64)> = peers.filter(|(_, memory)| *memory > 0).collect();
            peers.sort_by_key(|(_, memory)| -memory);
            let peers: Vec<String> =
                peers.iter().map(|(at, mem)| format!("({at},{mem})")).collect();
            format!("[{}]", peers.join(","))
        }
        NodeField::Spindles => node.spindles.to_string(),
        NodeField::SpindleLimit => format!("{:?}", placement.limits(index).spindles),
        NodeField::InstanceSpindles => format!("{:?}", state.used_spindles as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_named() {
        assert_eq!(columns("name,idx"), Ok(vec![NodeField::Name, NodeField::Index]));
        let usual = columns("").expect("usual");
        assert_eq!((usual.len(), usual.last()), (22, Some(&NodeField::NetLoad)));
        let more = columns("+plist").expect("more");
        assert_eq!((more.len(), more.last()), (23, Some(&NodeField::PrimaryList)));
        let error = columns("name,foo").expect_err("none");
        assert!(error.starts_with("unknown field 'foo' of nodes; there are: idx, name"), "{error}");
    }
}
