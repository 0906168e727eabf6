//! From options to a cluster that can be planned with.
//!
//! ```text
//!   source ─► utilisation ─► selection ─► warnings ─► offline nodes ─► Loaded
//! ```

use super::options::{ExclusionTags, InstanceChoice, NodeLimits, Offline};
use super::sources::{self, SourceOptions, UtilisationOptions};
use super::values::list;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::note;
use roost_htools::balance::Selection;
use roost_htools::model::{Cluster, InstanceIdx, NodeIdx};
use roost_htools::state;
use std::collections::{HashMap, HashSet};

/// What is asked for; tools that lack an option leave its part empty.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub source: SourceOptions,
    pub utilisation: UtilisationOptions,
    pub offline: Offline,
    pub instances: InstanceChoice,
    pub exclusion: ExclusionTags,
    pub limits: NodeLimits,
    /// At 0 and below there are no warnings.
    pub verbosity: i32,
}

/// What a tool works on.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub cluster: Cluster,
    /// For [`state::Placement::new`].
    pub options: state::Options,
    pub selection: Selection,
}

/// Memory that nodes may use unaccounted for before it is worth a word, MiB.
const MEMORY_TOLERANCE: i64 = 512;
/// The same for disk.
const DISK_TOLERANCE: i64 = 1024;

/// What is said to somebody who asks for an empty cluster and for another one.
pub const TWO_SOURCES: &str =
    "Error: --simulate makes a cluster of its own; no other source of data can be given with it.";

/// Loads a cluster and prepares it. Errors: exit code 1 with a word about why.
pub async fn load(cx: &Cx, request: &Request) -> Outcome<Loaded> {
    let SourceOptions { text, master, luxi, request: file, simulate, .. } = &request.source;
    let given = [text.is_some(), master.is_some(), luxi.is_some(), file.is_some()];
    let given = given.into_iter().filter(|given| *given).count();
    if given > 1 {
        return Err(Failure::say(
            "Error: Only one of the rapi, luxi, and data files options should be given.",
        ));
    }
    if given == 1 && !simulate.is_empty() {
        return Err(Failure::say(TWO_SOURCES));
    }
    let failed = |why: String| Failure::say(format!("Error: failed to load data, aborting: {why}"));
    let mut cluster = sources::load(cx, &request.source).await.map_err(failed)?;
    sources::use_utilisation(cx, &mut cluster, &request.utilisation).await?;
    let selection = select(&cluster, &request.instances).map_err(failed)?;
    let missing = inconsistencies(&cluster);
    if request.verbosity > 0 && !missing.is_empty() {
        note!(cx, "Warning: cluster has inconsistent data:");
        missing.iter().rev().for_each(|line| note!(cx, "  - {line}"));
        note!(cx, "");
    }
    set_offline(&mut cluster, &request.offline.offline)?;
    let options = state::Options {
        exclusion_tags: request.exclusion.prefixes(),
        min_disk: request.limits.min_disk.unwrap_or(0.0),
        max_cpu: request.limits.max_cpu,
    };
    Ok(Loaded { cluster, options, selection })
}

/// Haskell's list of strings, as the messages show it.
fn shown(names: &[String]) -> String {
    format!("{names:?}").replace(", ", ",")
}

fn select(cluster: &Cluster, choice: &InstanceChoice) -> Result<Selection, String> {
    let find = |names: &Option<String>| {
        let names = names.as_deref().map(list).unwrap_or_default();
        let found: Vec<Option<InstanceIdx>> =
            names.iter().map(|name| cluster.find_instance(name)).collect();
        let unknown = names.iter().zip(&found).filter(|(_, found)| found.is_none());
        let unknown: Vec<String> = unknown.map(|(name, _)| name.clone()).collect();
        match unknown.is_empty() {
            true => Ok(found.into_iter().flatten().collect::<HashSet<_>>()),
            false => Err(format!("Unknown instance(s): {}", shown(&unknown))),
        }
    };
    Ok(Selection {
        select: find(&choice.select_instances)?,
        exclude: find(&choice.exclude_instances)?,
    })
}

/// Nodes that report less than what is left by their instances.
pub fn inconsistencies(cluster: &Cluster) -> Vec<String> {
    let mut memory: HashMap<NodeIdx, i64> = HashMap::new();
    let mut disk: HashMap<NodeIdx, i64> = HashMap::new();
    for instance in &cluster.instances {
        if instance.uses_memory() {
            *memory.entry(instance.primary).or_default() += instance.memory;
        }
        if instance.template.uses_lvm() && !instance.forthcoming {
            for node in [Some(instance.primary), instance.secondary].into_iter().flatten() {
                *disk.entry(node).or_default() += instance.disk;
            }
        }
    }
    let mut lines = vec![];
    for (at, node) in cluster.nodes.iter().enumerate() {
        let index = NodeIdx::of(at);
        let of = |sums: &HashMap<NodeIdx, i64>| sums.get(&index).copied().unwrap_or(0);
        let no_memory =
            node.total_memory as i64 - node.node_memory - of(&memory) - node.free_memory;
        let no_disk = node.total_disk as i64 - of(&disk) - node.free_disk;
        if no_memory > MEMORY_TOLERANCE || no_disk > DISK_TOLERANCE {
            let (name, no_disk) = (&node.name, no_disk.div_euclid(1024));
            lines.push(format!("node {name} is missing {no_memory} MB ram and {no_disk} GB disk"));
        }
    }
    lines
}

/// Treats the nodes named as offline. Errors: there is no such node.
pub fn set_offline(cluster: &mut Cluster, names: &[String]) -> Outcome {
    let found: Vec<Option<NodeIdx>> = names.iter().map(|name| cluster.find_node(name)).collect();
    let unknown = names.iter().zip(&found).filter(|(_, found)| found.is_none());
    let unknown: Vec<&str> = unknown.map(|(name, _)| name.as_str()).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return Err(Failure::say(format!("Error: wrong node name(s) set as offline: {unknown}\n")));
    }
    found.into_iter().flatten().for_each(|node| cluster.nodes[node.at()].offline = true);
    Ok(())
}
