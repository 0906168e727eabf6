//! Room for new volumes: how much of which volume group, and whether a node has it.

use super::make;
use crate::config::Config;
use crate::ops::Context;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::objects::{Disk, LogicalId};
use roost_proto::opcodes::DiskSpec;
use serde_json::Value;
use std::collections::BTreeMap;

/// MiB that disks take on one of their nodes, by volume group.
pub fn needed(disks: &[Disk]) -> BTreeMap<&str, u64> {
    let mut needed = BTreeMap::new();
    for disk in disks {
        let volumes = match disk.dev_type {
            DiskTemplate::Plain => std::slice::from_ref(disk),
            DiskTemplate::Drbd => disk.children.as_slice(),
            _ => &[],
        };
        // Thin volumes take room of their pool, and only when they are written.
        let thin = |volume: &&Disk| {
            let pool = volume.params.get(make::THIN_POOL).and_then(Value::as_str);
            pool.is_some_and(|pool| !pool.is_empty())
        };
        for volume in volumes.iter().filter(|volume| !thin(volume)) {
            if let LogicalId::Pair(vg, _) = &volume.logical_id {
                *needed.entry(vg.as_str()).or_default() += volume.size;
            }
        }
    }
    needed
}

/// Nodes have room for new disks, each for its side of all of them. They were asked for their
/// state. Disks that are not on volume groups are made where the room is not ours to count.
pub fn check(cx: &Context<'_, '_>, nodes: &[NodeId], disks: &[Disk]) -> Result<()> {
    for (vg, mib) in needed(disks) {
        for node in nodes {
            check_group(cx, *node, vg, mib)?;
        }
    }
    Ok(())
}

/// MiB that disks which are not made yet will take on a node, by volume group.
pub fn wanted(
    config: &Config,
    node: NodeId,
    template: DiskTemplate,
    specs: &[DiskSpec],
) -> Result<BTreeMap<String, u64>> {
    let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
    if !template.uses_lvm() {
        return Ok(wanted);
    }
    for spec in specs.iter().filter(|spec| spec.adopt.is_none()) {
        if template == DiskTemplate::Plain && make::thin_pool(config, node, spec)?.is_some() {
            continue;
        }
        let vg = make::volume_group(config, spec)?;
        *wanted.entry(vg.to_owned()).or_default() += spec.size.unwrap_or_default();
        if template == DiskTemplate::Drbd {
            let metavg = make::meta_group(config, node, spec, vg)?;
            *wanted.entry(metavg).or_default() += make::META_SIZE;
        }
    }
    Ok(wanted)
}

/// A node has room for its side of disks that are not made yet.
pub fn check_specs(
    cx: &Context<'_, '_>,
    node: NodeId,
    template: DiskTemplate,
    specs: &[DiskSpec],
) -> Result<()> {
    let wanted = wanted(cx.config(), node, template, specs)?;
    wanted.into_iter().try_for_each(|(vg, mib)| check_group(cx, node, &vg, mib))
}

/// A node has `mib` MiB free in a volume group.
pub fn check_group(cx: &Context<'_, '_>, node: NodeId, vg: &str, mib: u64) -> Result<()> {
    let name = cx.config().node_name(node);
    let groups = &cx.report(node)?.volume_groups;
    let Some((_, free)) = groups.get(vg) else {
        let known: Vec<_> = groups.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Error::environment(format!(
            "Volume group '{vg}' not found on node {name}; it has: {known}"
        )));
    };
    if *free >= mib {
        return Ok(());
    }
    Err(Error::resources(format!(
        "Not enough disk space on target node {name} vg {vg}: required {mib} MiB, available {free} \
         MiB"
    )))
}
